"""A name, a path or a key that nothing can have is one sentence with its code, by whatever way."""

from __future__ import annotations

import base64
from collections.abc import Callable
from typing import Any

import pytest
from apis import HOME, Answer, Api, at, form, log, part

BAD: dict[str, Callable[[Api], str]] = {
    "a name of 300 characters": lambda api: f"{api.logs}/{'a' * 300}.ulg",
    "a name of 128 characters of two bytes": lambda api: f"{api.logs}/{'ä' * 128}.ulg",
    "a folder of 300 characters": lambda api: f"{api.logs}/{'d' * 300}/a.ulg",
    "a path that is too long": lambda api: f"{api.logs}/{'d/' * 3000}a.ulg",
    "half a pair of surrogates": lambda api: f"{api.logs}/\ud800.ulg",
    "a NUL": lambda api: f"{api.logs}/a\0.ulg",
}
NAMES = {
    "300 characters": f"{'a' * 300}.ulg",
    "200 characters of two bytes": f"{'ä' * 200}.ulg",
    "4000 characters": f"{'a' * 4000}.ulg",
    "half a pair of surrogates": "\ud800.ulg",
    "none": "",
}
LONG_KEY = f"{HOME}{'k' * 1100}.ulg"


def told(answer: Answer) -> str:
    assert answer.status == 400, answer
    sentence = str(answer.json["error"])
    assert len(sentence) < 400
    assert sentence.endswith(".")
    return answer.code


@pytest.mark.parametrize("bad", BAD)
@pytest.mark.parametrize("more", [{}, {"session_id": "s-1"}], ids=["log", "log of a session"])
@pytest.mark.guarantee(
    "attack",
    "a name, a path or a key is given that no file and no object can have",
    "one sentence and a code; never a trace",
)
def test_a_path_that_no_file_can_have_is_refused(api: Api, bad: str, more: dict[str, Any]) -> None:
    rows = api.rows()

    answer = api.post("/outbox", {"path": BAD[bad](api), **more})

    assert told(answer) in {"bad_name", "bad_path"}
    assert api.rows() == rows


@pytest.mark.parametrize("name", list(NAMES)[:3])
def test_a_posted_log_with_a_name_that_no_file_can_have_is_refused(api: Api, name: str) -> None:
    content = log()
    assert told(api.upload(content, NAMES[name])) == "bad_name"
    custom = form(part("custom_filename", NAMES[name].encode()), part("file", content, "a.ulg"))
    assert told(api.send(custom)) == "bad_name"
    assert api.spool() == []


@pytest.mark.parametrize("name", NAMES)
def test_a_file_with_a_name_that_no_file_can_have_is_not_handed_over(api: Api, name: str) -> None:
    asked = {"session_id": "s-1", "name": NAMES[name]}
    assert told(api.post("/bucket/presign-upload", {**asked, "size": 3})) == "bad_name"
    content = base64.b64encode(b"abc").decode()
    assert told(api.post("/bucket/complete-upload", {**asked, "content": content})) == "bad_name"


KEYS: dict[str, Callable[[Api], Answer]] = {
    "head": lambda api: api.get(f"/bucket/head/{at(LONG_KEY)}"),
    "download": lambda api: api.get(f"/bucket/download/{at(LONG_KEY)}"),
    "presign": lambda api: api.get(f"/bucket/presign/{at(LONG_KEY)}"),
    "delete": lambda api: api.delete(f"/bucket/delete/{at(LONG_KEY)}"),
    "list": lambda api: api.get("/bucket/list", prefix=LONG_KEY),
    "move from": lambda api: api.post(
        "/bucket/move", {"source_key": LONG_KEY, "dest_key": f"{HOME}a.ulg"}
    ),
    "move to": lambda api: api.post(
        "/bucket/move", {"source_key": f"{HOME}a.ulg", "dest_key": LONG_KEY}
    ),
    "enqueue": lambda api: api.post("/outbox", {"path": f"{api.logs}/a.ulg", "key": LONG_KEY}),
    "complete": lambda api: api.post(
        "/bucket/complete-upload", {"session_id": "s-1", "s3_key": LONG_KEY}
    ),
}


@pytest.mark.parametrize("way", KEYS)
def test_a_key_that_no_object_can_have_is_refused(api: Api, way: str) -> None:
    assert told(KEYS[way](api)) == "bad_input"
