"""The bucket stands in the path or in the host name: as set, and as the server takes it."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import AsyncIterator
from typing import Any

import pytest
import pytest_asyncio
from aiohttp import web

from petal_s3.admin.administrator_calls import calls_for
from petal_s3.admin.bucket_settings import region_of
from petal_s3.admin.bucket_setup import DesiredBucket, setup_steps
from petal_s3.admin.checkup import checkup
from petal_s3.core.settings import AddressStyle, Settings
from petal_s3.core.settings_loading import check_settings
from petal_s3.errors import S3IntegrationError
from petal_s3.objects.ownership import KeyOwnership
from petal_s3.s3 import presign
from petal_s3.s3.client import S3
from petal_s3.s3.s3_settings import S3Settings
from petal_s3.service.service import Service

KEY, BODY = "flight_logs/drone-001/a.ulg", b"0123456789" * 100_000
LISTING = (
    "<ListBucketResult><Name>logs</Name><Prefix>{prefix}</Prefix><KeyCount>0</KeyCount>"
    "<MaxKeys>1</MaxKeys><IsTruncated>false</IsTruncated></ListBucketResult>"
)
REFUSAL = (
    "<Error><Code>SecondLevelDomainForbidden</Code><Message>Please use virtual hosted style to"
    " access.</Message></Error>"
)


class OneStyle:
    """A server that takes the bucket in its host name only, or in the path only."""

    def __init__(self, style: AddressStyle) -> None:
        self.style = style
        self.port = 0
        self.asked: list[str] = []
        self.may_go_on = asyncio.Event()
        self.may_go_on.set()

    @property
    def url(self) -> str:
        return f"http://s3.test:{self.port}"

    async def answer(self, request: web.Request) -> web.StreamResponse:
        virtual = request.host == f"logs.s3.test:{self.port}"
        self.asked.append("virtual" if virtual else "path")
        if virtual != (self.style == "virtual"):
            return web.Response(status=403, text=REFUSAL, content_type="application/xml")
        key = request.path.lstrip("/") if virtual else request.path.removeprefix("/logs/")
        if key == KEY:
            return await self.object(request)
        listing = LISTING.format(prefix=request.query.get("prefix", ""))
        headers = {"x-amz-request-id": "1", "x-amz-bucket-region": "us-east-1"}
        return web.Response(text=listing, content_type="application/xml", headers=headers)

    async def object(self, request: web.Request) -> web.StreamResponse:
        """Half of it at once, the rest when it may."""
        response = web.StreamResponse(headers={"ETag": '"abc"', "x-amz-request-id": "1"})
        response.content_length = len(BODY)
        await response.prepare(request)
        await response.write(BODY[: len(BODY) // 2])
        await self.may_go_on.wait()
        await response.write(BODY[len(BODY) // 2 :])
        return response


@pytest.fixture(autouse=True)
def _names(monkeypatch: pytest.MonkeyPatch) -> None:
    """``s3.test`` and all names below it are this machine."""
    resolve = socket.getaddrinfo

    def resolved(host: Any, *more: Any, **named: Any) -> Any:
        here = isinstance(host, str) and host.endswith("s3.test")
        return resolve("127.0.0.1" if here else host, *more, **named)

    monkeypatch.setattr(socket, "getaddrinfo", resolved)
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "AKIA1")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "s3cr3t")


@pytest_asyncio.fixture(params=["path", "virtual"])
async def server(request: pytest.FixtureRequest) -> AsyncIterator[OneStyle]:
    made = OneStyle(request.param)
    app = web.Application()
    app.router.add_route("*", "/{path:.*}", made.answer)
    runner = web.AppRunner(app, access_log=None, shutdown_timeout=0.01)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    made.port = runner.addresses[0][1]
    yield made
    await runner.cleanup()


def settings_for(server: OneStyle, style: str, tmp_path: Any) -> Settings:
    return check_settings(
        {
            "bucket_name": "logs",
            "endpoint_url": server.url,
            "address_style": style,
            "machine_id": "drone-001",
            "state_dir": tmp_path / "state",
        }
    )


def client(server: OneStyle, style: AddressStyle) -> S3:
    return S3(S3Settings("logs", endpoint_url=server.url, address_style=style), None)


@pytest.mark.parametrize("style", ["path", "virtual"])
async def test_the_bucket_is_addressed_as_it_is_set(server: OneStyle, style: AddressStyle) -> None:
    s3 = client(server, style)
    takes = server.style == style
    try:
        if takes:
            assert (await s3.page("flight_logs/")).objects == []
        else:
            with pytest.raises(S3IntegrationError):
                await s3.page("flight_logs/")
    finally:
        await s3.close()
    assert set(server.asked) == {style}


async def test_without_a_setting_the_style_that_the_server_takes_is_learnt(
    server: OneStyle,
) -> None:
    s3 = client(server, "auto")
    try:
        assert (await s3.page("flight_logs/")).objects == []
        assert s3.capabilities.lacks("path_addresses") == (server.style == "virtual")
        server.asked.clear()
        assert (await s3.page("flight_logs/")).objects == []
    finally:
        await s3.close()
    assert server.asked == [server.style], "it is not asked in the other way again"


async def test_where_a_style_is_set_the_setting_is_named_and_no_other_style_is_tried(
    server: OneStyle,
) -> None:
    other: AddressStyle = "path" if server.style == "virtual" else "virtual"
    s3 = client(server, other)
    try:
        with pytest.raises(S3IntegrationError) as caught:
            await s3.page("flight_logs/")
    finally:
        await s3.close()
    assert "PETAL_S3_ADDRESS_STYLE" in caught.value.message
    assert "SecondLevelDomainForbidden" in caught.value.message
    assert "permission" not in caught.value.message
    assert set(server.asked) == {other}


@pytest.mark.parametrize("style", ["path", "virtual"])
async def test_a_url_for_others_is_addressed_as_it_is_set(
    server: OneStyle, style: AddressStyle
) -> None:
    s3 = client(server, style)
    try:
        url = (await presign.get_url(s3, KEY, 60)).url
    finally:
        await s3.close()
    host = "logs.s3.test" if style == "virtual" else "s3.test"
    path = KEY if style == "virtual" else f"logs/{KEY}"
    assert url.startswith(f"http://{host}:{server.port}/{path}?")


async def test_the_next_call_takes_the_other_style_and_one_under_way_ends_as_it_began(
    server: OneStyle,
) -> None:
    other: AddressStyle = "path" if server.style == "virtual" else "virtual"
    server.may_go_on.clear()
    s3 = client(server, server.style)
    try:
        async with s3.read(KEY) as (info, blocks):
            s3.server.use_style(other)
            with pytest.raises(S3IntegrationError):
                await s3.page("flight_logs/")
            server.may_go_on.set()
            got = b"".join([block async for block in blocks])
        assert (info.size, got) == (len(BODY), BODY)
        s3.server.use_style(server.style)
        assert (await s3.page("flight_logs/")).objects == []
    finally:
        await s3.close()
    assert set(server.asked) == {"path", "virtual"}


async def test_a_client_that_was_closed_is_made_anew(server: OneStyle) -> None:
    s3 = client(server, server.style)
    for _ in range(2):
        assert (await s3.page("flight_logs/")).objects == []
        await s3.close()
        await s3.close()


async def test_service_check_and_bucket_setup_address_it_as_it_is_set(
    server: OneStyle, tmp_path: Any
) -> None:
    settings = settings_for(server, server.style, tmp_path)
    service = Service(settings)
    try:
        assert (await service.s3.page("flight_logs/")).objects == []
    finally:
        await service.s3.close()
    async with calls_for(settings, "logs") as (calls,):
        assert await region_of(calls) == "us-east-1"
    ownership = KeyOwnership("flight_logs/", ("drone-001",), "logs")
    found = {one.check: one.state async for one in checkup(settings, ownership)}
    assert found["bucket"] == "ok"
    assert set(server.asked) == {server.style}


@pytest.mark.parametrize("server", ["virtual"], indirect=True)
async def test_bucket_setup_names_the_setting_where_the_path_is_not_taken(
    server: OneStyle, tmp_path: Any
) -> None:
    settings = settings_for(server, "auto", tmp_path)
    desired = DesiredBucket("logs", "us-east-1", "AES256", "flight_logs/", on_aws=False)
    (step,) = [one async for one in setup_steps(settings, desired)]
    assert (step.name, step.outcome) == ("bucket", "failed")
    assert "set PETAL_S3_ADDRESS_STYLE" in step.reason
    assert "permission" not in step.reason


def test_another_style_is_refused_with_what_is_expected(monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(S3IntegrationError) as caught:
        check_settings({"bucket_name": "logs", "address_style": "hosted"})
    assert caught.value.message == (
        "PETAL_S3_ADDRESS_STYLE is 'hosted': 'auto', 'path' or 'virtual' is expected."
    )
