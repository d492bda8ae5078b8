"""A process that can open no more files knows nothing new: it buries nothing and blames nobody."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest
from lab import BUCKET, DEADLINE_S, SMALL, Lab

from petal_s3.demo.logs import write_ulog

LOGS = 12


@pytest.mark.guarantee(
    "device",
    "no file descriptor is left, or too few, for scan, /proc, source, token service or S3",
    "no log is taken for gone or finished and no link for down; each is sent once, as soon as"
    " files can be opened again",
)
def test_out_of_descriptors_nothing_is_buried_or_lost_and_it_goes_on(
    lab: Lab, tmp_path: Path
) -> None:
    lab.begin(SMALL)
    lab.path.unlink()
    staged = tmp_path / "staged"
    staged.mkdir()
    for number in range(LOGS):
        write_ulog(staged / f"{number:02}.ulg", 20_000, seed=number)
    contents = {path.name: path.read_bytes() for path in staged.iterdir()}
    busy = lab.logs / "busy.ulg"
    write_ulog(busy, SMALL)

    with busy.open("ab"):  # only /proc tells that it is not finished
        child = subprocess.run(
            [
                *(sys.executable, str(Path(__file__).with_name("few_files_child.py"))),
                *(json.dumps(lab.settings()), str(staged), str(lab.logs)),
            ],
            stdout=subprocess.PIPE,
            timeout=2 * DEADLINE_S,
            check=True,
        )
    found = json.loads(child.stdout)
    rounds = found["rounds"]

    *starved, last = rounds
    assert [rounds[name]["codes"] for name in starved] == [["too_many_files"]] * len(starved)
    assert rounds[last]["codes"] == []
    assert len(starved) >= 5  # the token service and S3 need one each
    assert rounds["source"]["met"] == [["queued", "too_many_files"]]
    assert rounds["scan"]["met"] == rounds["/proc"]["met"] == []
    assert all(one["link"] != "down" and one["state"] == "verified" for one in rounds.values())
    assert found["asked"] == ["too_many_files"]
    assert [said for said in found["said"] if "oo many open files" not in said] == []
    assert {name: "verified" for name in contents if (lab.logs / name).exists()} == dict(
        found["rows"]
    )
    assert len(lab.ledger.requests("PutObject")) == len(found["rows"])
    for item in lab.cloud.list_objects_v2(Bucket=BUCKET)["Contents"]:
        body = lab.cloud.get_object(Bucket=BUCKET, Key=item["Key"])["Body"].read()
        assert body == contents[item["Key"].rsplit("_", 1)[1]]
