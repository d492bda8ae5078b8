"""Of botocore's data files what a request needs is kept, and nothing else."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import botocore
import pytest
from botocore.loaders import JSONFileLoader

from petal_s3.s3.data_files import SERVICES, DataFiles, parsed

DATA = Path(botocore.__file__).parent / "data"
SERVICE = DATA / "s3/2006-03-01/service-2"


def undocumented(value: Any) -> Any:
    if isinstance(value, dict):
        return {
            name: "" if name == "documentation" and isinstance(inner, str) else undocumented(inner)
            for name, inner in value.items()
        }
    return [undocumented(one) for one in value] if isinstance(value, list) else value


def test_the_description_of_s3_is_whole_but_for_its_documentation() -> None:
    ours, theirs = DataFiles().load_file(str(SERVICE)), JSONFileLoader().load_file(str(SERVICE))
    assert "documentation" in json.dumps(theirs)
    expected = undocumented(theirs)
    del expected["documentation"]
    assert ours == expected
    assert list(ours["shapes"]) == list(theirs["shapes"])


def test_of_all_addresses_of_aws_those_of_s3_and_of_credentials_are_kept() -> None:
    name = str(DATA / "endpoints")
    ours, theirs = DataFiles().load_file(name), JSONFileLoader().load_file(name)
    assert len(ours["partitions"]) == len(theirs["partitions"])
    for mine, all_of_it in zip(ours["partitions"], theirs["partitions"], strict=True):
        kept = {name: one for name, one in all_of_it["services"].items() if name in SERVICES}
        assert "s3" in kept
        assert mine == {**all_of_it, "services": kept}


@pytest.mark.parametrize("name", ["s3/2006-03-01/endpoint-rule-set-1", "partitions"])
def test_other_files_are_read_as_they_are(name: str) -> None:
    path = str(DATA / name)
    assert DataFiles().load_file(path) == undocumented(JSONFileLoader().load_file(path))


def test_a_file_that_is_not_there_is_none() -> None:
    assert DataFiles().load_file(str(DATA / "nothing")) is None


@pytest.mark.parametrize(
    "text",
    ["{}", "[]", '{"a": {}, "b": [ ]}', ' {"*" :1,\n"b": {"documentation" : {"c": 2}}} ', "7"],
)
def test_it_reads_json_as_any_reader_does(text: str) -> None:
    everything = {"*": {"*": {"*": None}}}
    assert parsed(text, everything) == parsed(text, None) == json.loads(text)


@pytest.mark.parametrize("text", ['{"a": }', '{"a": 1', "{", "[1", '{"a" 1}x'])
def test_what_is_no_json_is_refused(text: str) -> None:
    with pytest.raises(ValueError):
        parsed(text, {"*": {"*": None}})
