"""A YAML file of another program is changed where it must be, and nowhere else."""

from __future__ import annotations

from typing import Any

import pytest
import yaml

from petal_s3.host.yaml_editing import rewritten

WRITTEN = """\
# Ours since May.
---
# Proxies first.

enabled_proxies:
    - redis
    # for the dashboard
    - "bucket"  # both spellings

petals:
    a: 'a:A'
    b: "b:B" # the second

# Loaded at once:
startup_petals: [a, b] # in this order
flag: yes
mode: 0640
base: &base {q: 1}
copy: *base
long: "%s"
# the end
""" % ("word " * 40)


def changed(text: str, **new: Any) -> str:
    """The text after these entries are set."""
    old = yaml.safe_load(text) or {}
    found = rewritten(text, old, {**old, **new})
    assert yaml.safe_load(found) == {**old, **new}
    return found


def test_an_entry_is_added_to_a_mapping_and_nothing_else_changes() -> None:
    found = changed(WRITTEN, petals={"a": "a:A", "b": "b:B", "ours": "o:O"})
    assert found == WRITTEN.replace("# the second\n", "# the second\n    ours: o:O\n")


def test_an_item_is_added_to_a_list_and_nothing_else_changes() -> None:
    found = changed(WRITTEN, enabled_proxies=["redis", "bucket", "ours"])
    assert found == WRITTEN.replace("# both spellings\n", "# both spellings\n    - ours\n")
    found = changed(WRITTEN, startup_petals=["a", "b", "ours"])
    assert found == WRITTEN.replace("[a, b]", "[a, b, ours]")


def test_a_value_is_replaced_and_nothing_else_changes() -> None:
    assert changed(WRITTEN, mode="open") == WRITTEN.replace("0640", "open")


def test_a_new_entry_comes_last() -> None:
    assert changed(WRITTEN, more=["x"]) == f"{WRITTEN}more:\n    - x\n"


@pytest.mark.parametrize(
    "new",
    [
        {"petals": {"a": "a:A"}},
        {"petals": {}},
        {"petals": {}, "startup_petals": []},
        {"enabled_proxies": ["redis"]},
        {"startup_petals": ["b"]},
    ],
)
def test_a_removed_entry_takes_no_comment_of_the_next_one_along(new: dict[str, Any]) -> None:
    found = changed(WRITTEN, **new)
    kept = [line for line in WRITTEN.splitlines() if line.startswith("#")]
    assert [line for line in found.splitlines() if line.startswith("#")] == kept
    assert "\n\n# Loaded at once:\nstartup_petals" in found


def test_what_was_added_can_be_removed_again() -> None:
    old = yaml.safe_load(WRITTEN)
    new = {**old, "petals": {**old["petals"], "ours": "o:O"}, "startup_petals": ["a", "b", "ours"]}
    assert rewritten(rewritten(WRITTEN, old, new), new, old) == WRITTEN


def test_lines_after_a_block_stay_when_it_is_emptied_at_the_end() -> None:
    assert changed("a: 1\nb:\n- x\n# the end\n", b=[]) == "a: 1\nb: []\n# the end\n"


def test_line_ends_of_windows_stay() -> None:
    assert changed("a: 1\r\n# two\r\nb: [x]\r\n", b=["x", "y"]) == "a: 1\r\n# two\r\nb: [x, y]\r\n"


@pytest.mark.parametrize("text", ["", "# only a comment\n", "---\n", "# above\n---\n# below\n"])
def test_a_file_without_entries_keeps_what_it_has(text: str) -> None:
    assert changed(text, a=1) == f"{text}a: 1\n"


@pytest.mark.parametrize("value", ["on", "no", "12:30", "1e3", "0640", "", "~", "a: b", "# x"])
def test_a_string_stays_a_string_for_those_who_read_yaml_1_1(value: str) -> None:
    changed("a: 1\n", b=value, c=[value], d={"e": value})


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("a: { b: 1,  c: 2 }\nz: [ x ]\n", "a: {b: 1, c: 2}\nz: [x]\n"),
        ("a:   1  \n", "a: 1\n"),
        ("a: [x]   # beside\n", "a: [x]   # beside\n"),
        ("a:\n  b: 1\nc:\n    d: 1\n", "a:\n  b: 1\nc:\n  d: 1\n"),
    ],
)
def test_spaces_and_mixed_indentation_become_uniform(text: str, found: str) -> None:
    """The one thing that ruamel.yaml does not keep."""
    assert changed(text, new=True) == f"{found}new: true\n"


def test_a_text_that_cannot_be_edited_is_written_anew() -> None:
    assert changed("# gone\na: 1\na: 2\n", b=3) == "a: 2\nb: 3\n"
