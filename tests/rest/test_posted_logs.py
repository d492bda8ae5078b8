"""A log that was posted is told from one that this machine recorded, in both servers."""

from __future__ import annotations

from apis import Api, log, until


def metadata(api: Api, key: str) -> dict[str, str]:
    return dict(api.get(f"/bucket/head/{key}").json["metadata"])


def test_a_posted_log_says_so_in_its_row_and_its_object(api: Api) -> None:
    told = api.upload(log(), "posted.ulg").json

    assert api.row(told["id"])["received_by"] == "rest"
    assert metadata(api, told["s3_key"])["received-by"] == "rest"


def test_a_file_that_was_named_over_rest_was_not_found_by_a_scan(api: Api) -> None:
    path = api.logs / "named.ulg"
    path.write_bytes(log())
    row = api.post("/outbox", {"path": str(path)}).json
    assert row["received_by"] in {"rest", "scan"}  # a scan may have been quicker
    api.in_state(row["id"], "verified")


def test_a_recorded_log_says_so(api: Api) -> None:
    (api.logs / "recorded.ulg").write_bytes(log())
    api.post("/landed")
    found = until(lambda: named(api, "recorded.ulg"))
    assert found["received_by"] == "scan"
    done = api.in_state(found["id"], "verified")
    assert metadata(api, done["key"])["received-by"] == "scan"


def named(api: Api, name: str) -> dict[str, object] | None:
    rows = api.get("/outbox", limit=1000).json["rows"]
    return next((row for row in rows if row["path"].endswith(f"/{name}")), None)
