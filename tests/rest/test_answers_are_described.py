"""Every key that an operation answers stands in OpenAPI, and every key there is answered."""

from __future__ import annotations

import base64
import contextlib
import itertools
import json
import sqlite3
import time
import urllib.request
from collections.abc import Callable, Iterator, Mapping
from typing import Any

import pytest
from apis import Answer, Api, log, on_card, until
from pydantic import BaseModel

from petal_s3.service.views.rows import RowView
from petal_s3.service.views.status import StatusView
from petal_s3.web.routes import ROUTES
from petal_s3.web.routing import Route

PREFIX = "/petals/petal-s3"
# A listing of the card needs an autopilot: tests/rest/test_card_over_rest.py.
DESCRIBED = {
    route.name: route
    for route in ROUTES
    if isinstance(route.answer, type) and route.name != "card_scan"
}
ABSENT = {".card"}
"""What an answer leaves out where there is none."""
_numbers = itertools.count(1)


def uploaded(api: Api) -> dict[str, Any]:
    return api.stored(log(), f"described-{next(_numbers)}.ulg")


def waiting(api: Api) -> int:
    """A row that was given up before it was sent."""
    told = api.upload(log(), f"described-{next(_numbers)}.ulg", wait="false")
    return int(told.json["id"])


def enqueue(api: Api) -> Answer:
    path = api.logs / f"described-{next(_numbers)}.ulg"
    path.write_bytes(log())
    return api.post("/outbox", {"path": str(path)})


def pinned(api: Api) -> Answer:
    row_id = waiting(api)
    api.post(f"/outbox/{row_id}/pin")
    return api.delete(f"/outbox/{row_id}/pin")


def resend(api: Api) -> Answer:
    """A log of the log directories whose object somebody has deleted."""
    told = enqueue(api).json
    key = api.in_state(told["id"], "verified")["key"]
    api.s3.delete_object(Bucket=api.bucket, Key=key)
    return api.post(f"/outbox/{told['id']}/resend")


def listed(api: Api) -> Answer:
    uploaded(api)
    return api.get("/bucket/list")


def rows(api: Api) -> Answer:
    """A page with a proven row, and one with none."""
    uploaded(api)
    waiting(api)
    return api.get("/outbox")


def move(api: Api) -> Answer:
    key = uploaded(api)["s3_key"]
    return api.post("/bucket/move", {"source_key": key, "dest_key": f"{key[:-4]}-moved.ulg"})


def presign_upload(api: Api) -> Answer:
    return api.post("/bucket/presign-upload", {"session_id": "s", "name": "a.pdf", "size": 10})


def complete_upload(api: Api) -> Answer:
    content = base64.b64encode(b"%PDF-1.7").decode()
    asked = {"session_id": "s", "name": "a.pdf", "content": content}
    return api.post("/bucket/complete-upload", asked)


def card_fetch(api: Api) -> Answer:
    return api.post(f"/card/{on_card(api)}/fetch")


def card(api: Api) -> Answer:
    on_card(api)
    return api.get("/card")


def history(api: Api) -> Answer:
    with contextlib.closing(sqlite3.connect(api.state / "outbox.db", timeout=20)) as outbox:
        outbox.execute("INSERT INTO sample VALUES (NULL, ?, 1, 2)", (int(time.time()),))
        outbox.commit()
    return api.get("/history")


ANSWERS: Mapping[str, Callable[[Api], Answer]] = {
    "status": lambda api: api.get("/status"),
    "health": lambda api: api.get("/health"),
    "info": lambda api: api.get("/bucket/info"),
    "card": card,
    "card_fetch": card_fetch,
    "landed": lambda api: api.post("/landed"),
    "flight": lambda api: api.post("/flight", {"armed": False}),
    "rows": rows,
    "history": history,
    "journal": lambda api: api.get(f"/outbox/{uploaded(api)['id']}/journal"),
    "row": lambda api: api.get(f"/outbox/{uploaded(api)['id']}"),
    "enqueue": enqueue,
    "retry": lambda api: api.post(f"/outbox/{waiting(api)}/retry"),
    "resend": resend,
    "pin": lambda api: api.post(f"/outbox/{waiting(api)}/pin"),
    "unpin": pinned,
    "dismiss": lambda api: api.post("/outbox/dismiss", {"state": "dead"}),
    "cancel": lambda api: api.delete(f"/outbox/{waiting(api)}"),
    "upload": lambda api: api.upload(log(), f"described-{next(_numbers)}.ulg"),
    "list": listed,
    "head": lambda api: api.get(f"/bucket/head/{uploaded(api)['s3_key']}"),
    "presign": lambda api: api.get(f"/bucket/presign/{uploaded(api)['s3_key']}"),
    "move": move,
    "delete": lambda api: api.delete(f"/bucket/delete/{uploaded(api)['s3_key']}"),
    "presign_upload": presign_upload,
    "complete_upload": complete_upload,
    "end_session": lambda api: api.post("/bucket/end-session", {"session_id": "s"}),
}


def test_every_operation_is_asked_here() -> None:
    assert set(ANSWERS) == set(DESCRIBED)


@pytest.mark.parametrize("name", sorted(DESCRIBED))
def test_an_answer_has_the_keys_of_its_description_and_no_others(api: Api, name: str) -> None:
    route = DESCRIBED[name]
    answer = ANSWERS[name](api)
    assert answer.status == route.status
    schema, others = _described(api, route)
    assert list(differences(schema, others, answer.json)) == []


def test_an_upload_that_is_not_waited_for_answers_a_row(api: Api) -> None:
    row = api.upload(log(), f"described-{next(_numbers)}.ulg", wait="false").json
    schema, others = _of(RowView)
    assert list(differences(schema, others, row)) == []


def test_events_have_the_keys_of_a_status_and_of_a_row(api: Api) -> None:
    found: dict[str, Any] = {}
    with urllib.request.urlopen(f"{api.url}/events", timeout=20) as stream:
        api.upload(log(), f"described-{next(_numbers)}.ulg", wait="false")

        def heard() -> bool:
            line = stream.readline().decode()
            if line.startswith("event: "):
                found[line[7:].strip()] = json.loads(stream.readline()[6:])
            return {"status", "progress"} <= set(found)

        until(heard)
    for event, model in (("status", StatusView), ("progress", RowView)):
        assert list(differences(*_of(model), found[event])) == []


def test_a_missing_key_an_extra_key_and_a_nested_one_are_found() -> None:
    schema, others = _of(RowView)
    row = {name: None for name in RowView.model_fields}
    assert list(differences(schema, others, row)) == []
    del row["reason"]
    assert list(differences(schema, others, {**row, "more": 1, "receipt": {"etag": ""}})) == [
        ".more: not described",
        ".reason: not answered",
        *(f".receipt.{name}: not answered" for name in ("checksum", "proof", "size")),
        ".receipt.verified_at: not answered",
    ]


Schema = Mapping[str, Any]


def _of(model: type[BaseModel]) -> tuple[Schema, Schema]:
    """The schema of a model, and those that it refers to."""
    found = model.model_json_schema(mode="serialization")
    return found, found.get("$defs", {})


def _described(api: Api, route: Route) -> tuple[Schema, Schema]:
    """What the host says in its OpenAPI; the stand-alone server has the models alone."""
    if not api.prefix:
        assert isinstance(route.answer, type)
        return _of(route.answer)
    with urllib.request.urlopen(api.url.removesuffix(PREFIX) + "/openapi.json") as got:
        whole = json.load(got)
    path = PREFIX + route.path.replace(":path}", "}")
    said = whole["paths"][path][route.method.lower()]["responses"][str(route.status)]
    return said["content"]["application/json"]["schema"], whole["components"]["schemas"]


def differences(schema: Schema, others: Schema, value: Any, at: str = "") -> Iterator[str]:
    """Where the keys of an answer are not those of its schema, all the way down."""
    schema = _resolved(schema, others)
    if isinstance(value, list):
        for item in value:
            yield from differences(schema["items"], others, item, f"{at}[]")
    elif isinstance(value, dict) and "properties" in schema:
        known = schema["properties"]
        yield from (f"{at}.{name}: not described" for name in sorted(set(value) - set(known)))
        yield from (
            f"{at}.{name}: not answered" for name in sorted(set(known) - set(value) - _absent(at))
        )
        for name in sorted(set(value) & set(known)):
            yield from differences(known[name], others, value[name], f"{at}.{name}")
    elif isinstance(value, dict):  # keys that are data, like the states in counts
        for name, inner in value.items():
            yield from differences(schema["additionalProperties"], others, inner, f"{at}.{name}")


def _absent(at: str) -> set[str]:
    """Names that may be left out there."""
    return {name.removeprefix(f"{at}.") for name in ABSENT if name.rpartition(".")[0] == at}


def _resolved(schema: Schema, others: Schema) -> Schema:
    """The schema itself: not a reference to it, nor a choice between it and null."""
    for one in schema.get("anyOf", ()):
        if one != {"type": "null"}:
            return _resolved(one, others)
    if "$ref" in schema:
        return dict(others[schema["$ref"].rpartition("/")[2]])
    return schema
