"""Listing, ranges and URLs of a machine's own objects, however many there are."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import aiohttp
import pytest
from robot import BUCKET, HOME
from wired import KEY, OTHER, Wired, noise

from petal_s3.demo.faults import Answer, Fault
from petal_s3.errors import BadInput, NotS3, S3FileNotFoundError
from petal_s3.objects import objects
from tests.support.mind import Many

HERE = Path(__file__).parent


# -- listing


async def test_one_call_lists_more_than_a_thousand(wired: Wired) -> None:
    """S3 gives 1,000 at once; who asks for more gets more."""
    wired.server.mind.many = many = Many(HOME, 3456)

    answer = await wired.proxy.list_files(max_keys=2500)

    assert [file["key"] for file in answer["files"]] == [many.key(n) for n in range(2500)]
    assert (answer["total_count"], answer["is_truncated"]) == (2500, True)
    assert len(wired.asked("ListObjectsV2")) == 3


async def test_tokens_lead_through_all_pages_without_a_gap(wired: Wired) -> None:
    wired.server.mind.many = many = Many(HOME, 3456)
    found, token, pages = [], None, 0

    while pages == 0 or token is not None:
        answer = await wired.proxy.list_files(max_keys=1500, token=token)
        found += [file["key"] for file in answer["files"]]
        token, pages = answer["next_token"], pages + 1

    assert found == [many.key(n) for n in range(3456)]
    assert pages == 3
    assert answer["is_truncated"] is False


@pytest.mark.parametrize("count", [0, 1, 999, 1000, 1001, 2000])
async def test_a_listing_ends_where_the_objects_end(wired: Wired, count: int) -> None:
    wired.server.mind.many = Many(HOME, count)

    answer = await wired.proxy.list_files(max_keys=5000)

    assert (answer["total_count"], answer["next_token"]) == (count, None)
    assert len({file["key"] for file in answer["files"]}) == count


@pytest.mark.parametrize("token", ["x" * 4097, "a\nb", "\0", "zzz"])
async def test_what_is_no_token_is_not_sent(wired: Wired, token: str) -> None:
    answer = await wired.proxy.list_files(token=token)

    assert answer["status"] == 400
    assert wired.asked("ListObjectsV2") == []


async def test_walking_through_a_hundred_thousand_objects_takes_no_more_memory_than_a_page(
    tmp_path: Path,
) -> None:
    """In a process of its own, so that only the walk is weighed."""
    done = subprocess.run(
        [sys.executable, str(HERE / "walker.py"), str(tmp_path)],
        check=True,
        capture_output=True,
        text=True,
        env={**os.environ, "PYTHONPATH": f"{HERE.parents[1]}:{HERE}"},
    )
    told = json.loads(done.stdout)

    assert told["count"] == told["different"] == 100_000
    assert told["requests"] == 100
    assert told["grown"] < 4 << 20  # a hundred thousand of them would take 60 MB


@pytest.mark.guarantee(
    "answers",
    "a listing names the same next page for ever",
    "an error, not an endless loop",
)
async def test_a_listing_that_does_not_end_is_not_followed(wired: Wired) -> None:
    def endless(answer: Answer) -> Answer:
        body = answer.body.replace(b"<IsTruncated>false", b"<IsTruncated>true")
        again = b"<NextContinuationToken>again</NextContinuationToken></ListBucketResult>"
        return answer.but(body=body.replace(b"</ListBucketResult>", again))

    wired.put(KEY, b"x")
    wired.server.always("ListObjectsV2", Fault("endless", twist=endless))

    with pytest.raises(NotS3, match="does not end"):
        async for _ in wired.objects.walk():
            pass

    assert len(wired.asked("ListObjectsV2")) <= 3


# -- ranges


async def test_a_range_of_64_kib_is_one_request_for_64_kib_once_the_size_is_known(
    wired: Wired,
) -> None:
    body = wired.put(KEY, noise(1 << 20))
    before = wired.link.down_bytes

    found = await wired.proxy.get_file_range(KEY, 100_000, 100_000 + 65_535)

    assert found == body[100_000 : 100_000 + 65_536]
    assert wired.ops() == ["HeadObject", "GetObject"]
    assert wired.asked("GetObject")[0].range == "bytes=100000-165535"
    assert 65_536 < wired.link.down_bytes - before < 65_536 + 2000


@pytest.mark.parametrize(("first", "last"), [(0, 0), (0, 999), (999, 999), (990, 2000), (500, 501)])
async def test_a_range_has_both_its_ends(wired: Wired, first: int, last: int) -> None:
    body = wired.put(KEY, noise(1000))

    assert await wired.proxy.get_file_range(KEY, first, last) == body[first : last + 1]
    assert wired.asked("GetObject")[0].range == f"bytes={first}-{min(last, 999)}"


@pytest.mark.parametrize(("first", "last"), [(-1, 5), (5, 4)])
async def test_what_is_no_range_is_not_asked_for(wired: Wired, first: int, last: int) -> None:
    with pytest.raises(BadInput):
        await wired.proxy.get_file_range(KEY, first, last)

    assert wired.server.ledger.requests() == []


async def test_a_range_is_cut_to_the_object_before_it_is_too_long(
    wired: Wired, monkeypatch: pytest.MonkeyPatch
) -> None:
    body = wired.put(KEY, noise(1001))
    assert await wired.proxy.get_file_range(KEY, 0, 10**8) == body

    monkeypatch.setattr(objects, "MAX_RANGE_BYTES", 1000)
    assert await wired.proxy.get_file_range(KEY, 1, 10**8) == body[1:]
    with pytest.raises(BadInput, match="at most 1000 bytes"):
        await wired.proxy.get_file_range(KEY, 0, 10**8)


@pytest.mark.parametrize("size", [0, 1000])
async def test_a_range_behind_the_end_is_a_416(wired: Wired, size: int) -> None:
    wired.put(KEY, noise(size))

    with pytest.raises(BadInput) as refused:
        await wired.proxy.get_file_range(KEY, 1000, 2000)

    assert (refused.value.status, refused.value.code) == (416, "no_such_range")
    assert wired.asked("GetObject") == []


async def test_a_range_of_what_is_not_there_is_not_found(wired: Wired) -> None:
    with pytest.raises(S3FileNotFoundError):
        await wired.proxy.get_file_range(KEY, 0, 10)


async def test_a_range_is_resumed_where_it_was_cut(wired: Wired) -> None:
    body = wired.put(KEY, noise(4 << 20))
    wired.server.plan("GetObject", Fault("cut", cut_answer_at=2 << 20))

    found = await wired.proxy.get_file_range(KEY, 1000, (4 << 20) - 1000)

    assert found == body[1000 : (4 << 20) - 999]
    first, second = (one.range for one in wired.asked("GetObject"))
    assert first == f"bytes=1000-{(4 << 20) - 1000}"
    assert int(second.removeprefix("bytes=").split("-")[0]) > 1000 + (1 << 20)


# -- URLs


async def test_a_url_reads_the_object_and_nothing_else(wired: Wired) -> None:
    body = wired.put(KEY, noise(5000))
    wired.put(OTHER, b"another")
    made = await wired.proxy.generate_presigned_url(KEY)

    async with aiohttp.ClientSession() as http, http.get(made["url"]) as answer:
        assert (answer.status, await answer.read()) == (200, body)
    assert made["method"] == "GET"
    assert made["headers"] == {}
    assert f"/{BUCKET}/{KEY}?" in made["url"]


@pytest.mark.guarantee(
    "attack",
    "a URL that adds an object is used where one stands, or without its condition",
    "412, or no valid signature: what is there is never overwritten",
)
@pytest.mark.threat("wifi")
async def test_a_url_for_put_adds_an_object_and_overwrites_none(wired: Wired) -> None:
    made = await wired.proxy.generate_presigned_url(KEY, method="PUT")

    async with aiohttp.ClientSession() as http:

        async def put(body: bytes, headers: dict[str, str]) -> int:
            async with http.put(made["url"], data=body, headers=headers) as answer:
                return answer.status

        bare = await put(b"without the condition", {})
        first = await put(b"the first", made["headers"])
        second = await put(b"the second", made["headers"])

    assert (bare, first, second) == (403, 200, 412)
    assert wired.things[KEY].body == b"the first"


@pytest.mark.parametrize("hours", [0.5, 24, 1e9, float("inf")])
@pytest.mark.threat(
    "stolen",
    "URLs are signed ahead, for years",
    "they end with the session that signs them, and say so",
)
async def test_a_url_never_claims_to_outlive_the_credentials(wired: Wired, hours: float) -> None:
    wired.server.tokens.life_s = 1000

    made = await wired.proxy.generate_presigned_url(KEY, hours)

    assert 900 < made["expires_in"] <= 1000


@pytest.mark.parametrize("hours", [0, -1, 1e-9, float("nan")])
async def test_a_url_lives_at_least_a_second(wired: Wired, hours: float) -> None:
    assert (await wired.proxy.generate_presigned_url(KEY, hours))["status"] == 400


async def test_a_url_is_made_to_read_or_to_add_and_for_nothing_else(wired: Wired) -> None:
    for method in ("DELETE", "get", "", "POST"):
        answer = await wired.proxy.generate_presigned_url(KEY, method=method)
        assert answer["status"] == 400
