"""Every route of both servers asks the guard: what is not allowed to ask does nothing and learns
nothing. The routes are those that the servers have, so that none can be forgotten."""

from __future__ import annotations

import contextlib
import json
import re
import socket
import urllib.request
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

import pytest
from apis import HOME, Answer, Api, in_host, log, parsed, standing

from petal_s3.demo.services import EmbeddedS3
from petal_s3.web.routes import ROUTES

TOKEN = "a-token-of-forty-characters-or-so-0123456"
LISTED = "http://dashboard.example:3000"
ADDRESS = "{address}"  # what the server is asked by
MACHINE = socket.gethostname()
_SETTINGS = {"rest_read_only": "true", "api_origins": f"{LISTED}, https://robot.example"}
PREFIX = "/petals/petal-s3"


@dataclass(frozen=True)
class Case:
    """What a request says of who sends it, and the code with which it is refused; empty: it is not.

    ``changing``: the code for requests that change something. ``alone``: that of the stand-alone
    server, which is bound to loopback, where it is another one.
    """

    name: str
    code: str
    headers: dict[str, str] = field(default_factory=dict)
    changing: str | None = None
    alone: str | None = None
    host: str = ADDRESS

    def expected(self, method: str, *, alone: bool) -> str:
        if alone and self.alone is not None:
            return self.alone
        return self.code if method == "GET" or self.changing is None else self.changing


BEARER = {"Authorization": f"Bearer {TOKEN}"}
OPEN = [
    Case("a program", ""),
    Case("a name of loopback", "", host="localhost:{port}"),
    Case("its own page", "", {"Origin": "http://" + ADDRESS, "Sec-Fetch-Site": "same-origin"}),
    Case("an address that was typed in", "", {"Sec-Fetch-Site": "none"}),
    Case("another address of the machine", "", host="192.0.2.7:{port}", alone="foreign_host"),
    Case("its IPv6 address", "", host="[2001:db8::7]:{port}", alone="foreign_host"),
    Case("the machine's name", "", host=MACHINE, alone="foreign_host"),
    Case("its name by mDNS", "", host=f"{MACHINE}.local:{{port}}", alone="foreign_host"),
    Case("a name that means us now", "foreign_host", host="evil.example:{port}"),
    Case("a name like ours", "foreign_host", host=f"{MACHINE}.evil.example"),
    Case("a name like an address", "foreign_host", host="127.0.0.1.evil.example"),
    Case("no host", "foreign_host", host=""),
    Case("a host that is none", "foreign_host", host="127.0.0.1]"),
    Case("a foreign page", "foreign_page", {"Origin": "http://evil.example"}),
    Case("a page without origin", "foreign_page", {"Origin": "null"}),
    Case("an empty origin", "foreign_page", {"Origin": ""}),
    Case("a page of another port", "foreign_page", {"Origin": "http://127.0.0.1:1"}),
    Case("a page of its address by TLS", "foreign_page", {"Origin": "https://" + ADDRESS}),
    Case("a page of an extension", "foreign_page", {"Origin": "chrome-extension://" + ADDRESS}),
    Case("a page that is not listed", "foreign_page", {"Origin": LISTED}),
    Case("another site", "foreign_page", {"Sec-Fetch-Site": "cross-site"}),
    Case("another server of the site", "foreign_page", {"Sec-Fetch-Site": "same-site"}),
    Case("a word that is not known", "foreign_page", {"Sec-Fetch-Site": "any"}),
    Case(
        "its own origin from elsewhere",
        "foreign_page",
        {"Origin": "http://" + ADDRESS, "Sec-Fetch-Site": "cross-site"},
    ),
]
LOCKED = [
    Case("no token", "no_token"),
    Case("another kind of login", "no_token", {"Authorization": f"Basic {TOKEN}"}),
    Case("a page that is listed, no token", "no_token", {"Origin": LISTED}),
    Case("the token", "", BEARER, changing="read_only"),
    Case(
        "a page that is listed",
        "",
        {**BEARER, "Origin": LISTED, "Sec-Fetch-Site": "cross-site"},
        changing="read_only",
    ),
    Case("a name that is listed", "", BEARER, changing="read_only", host="robot.example"),
    Case(
        "its own page by that name",
        "",
        {**BEARER, "Origin": "https://robot.example", "Sec-Fetch-Site": "same-origin"},
        changing="read_only",
        host="robot.example",
    ),
    Case("a foreign page with the token", "foreign_page", {**BEARER, "Origin": "http://x.example"}),
    Case("a foreign name with the token", "foreign_host", BEARER, host="evil.example"),
]
PUBLIC = {(one.method, one.path) for one in ROUTES if one.public}
GUARDS = {"foreign_host", "foreign_page", "no_token", "too_many_tokens", "read_only"}


@pytest.fixture(scope="module", params=["stand-alone", "host"])
def open_api(
    request: pytest.FixtureRequest, _s3_server: EmbeddedS3, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Api]:
    """A server that asks for no token."""
    with _api(request.param, _s3_server, tmp_path_factory.mktemp("open")) as api:
        yield api


@pytest.fixture(scope="module", params=["stand-alone", "host"])
def locked_api(
    request: pytest.FixtureRequest, _s3_server: EmbeddedS3, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Api]:
    """A server that asks for a token, changes nothing, and knows other names and pages."""
    directory = tmp_path_factory.mktemp("locked")
    with _api(request.param, _s3_server, directory, TOKEN, **_SETTINGS) as api:
        yield api


@contextlib.contextmanager
def _api(
    server: str, s3: EmbeddedS3, directory: Path, token: str = "", **settings: str
) -> Iterator[Api]:
    if server == "host":
        pytest.importorskip("petal_app_manager")
        env = {f"PETAL_S3_{name.upper()}": value for name, value in settings.items()}
        headers = {"Authorization": f"Bearer {token}"} if token else {}
        with in_host(s3, directory, headers=headers, PETAL_S3_API_TOKEN=token, **env) as api:
            yield api
    else:
        with standing(s3, directory, token=token or None, signed=True, **settings) as stand:
            routes = stand.server.application.router.routes()
            mounted = {(route.method, route.resource.canonical) for route in routes}  # type: ignore[union-attr]
            assert mounted == {(one.method, _plain(one.path)) for one in ROUTES}
            yield stand.api


def _plain(path: str) -> str:
    return path.replace(":path}", "}")


def routes_of(api: Api) -> list[tuple[str, str]]:
    """Method and path of every route that the server has, below its prefix."""
    if not api.prefix:
        return [(route.method, _plain(route.path)) for route in ROUTES]
    with urllib.request.urlopen(api.url.removesuffix(PREFIX) + "/openapi.json") as answer:
        paths = json.load(answer)["paths"]
    mounted = [
        (method.upper(), path.removeprefix(PREFIX))
        for path, methods in paths.items()
        if path.startswith(PREFIX)
        for method in methods
    ]
    assert sorted(mounted) == sorted((one.method, _plain(one.path)) for one in ROUTES)
    return mounted


def said(api: Api, case: Case, method: str, path: str) -> Answer:
    """The answer; of one that does not end only what comes at first."""
    host, port = api.address
    target = path.replace("{row_id}", "999999").replace("{s3_key}", f"{HOME}none.ulg")
    target = target.replace("{name}", "page.js")
    words = {"address": f"{host}:{port}", "port": port}
    headers = {"Host": case.host, **case.headers, "Content-Length": "0", "Connection": "close"}
    lines = [f"{method} {api.prefix}{target} HTTP/1.1"]
    lines += [f"{name}: {value.format(**words)}" for name, value in headers.items()]
    text = "".join(f"{line}\r\n" for line in [*lines, ""]).encode()
    with socket.create_connection(api.address, timeout=20) as wire:
        wire.sendall(text)
        got = b""
        while b"\r\n\r\n" not in got or not parsed(got).body:
            block = wire.recv(65536)
            if not block:
                break
            got += block
        answer = parsed(got)
        left = int(answer.headers.get("content-length", 0)) - len(answer.body)
        while left > 0 and (block := wire.recv(65536)):
            got, left = got + block, left - len(block)
    return parsed(got)


def code_of(answer: Answer) -> str:
    """The code with which the guard has refused; empty where something else has answered."""
    code = str(json.loads(answer.body)["code"]) if answer.status in {401, 403, 429} else ""
    return code if code in GUARDS else ""


def assert_guarded(api: Api, case: Case) -> None:
    rows, held = api.rows(), api.stored_keys()
    for method, path in routes_of(api):
        answer = said(api, case, method, path)
        assert answer.headers["cross-origin-resource-policy"] == "same-origin", (method, path)
        assert answer.headers["x-content-type-options"] == "nosniff", (method, path)
        expected = case.expected(method, alone=not api.prefix)
        if (method, path) in PUBLIC and expected in {"no_token", "read_only"}:
            expected = ""  # it tells nothing and changes nothing
        assert code_of(answer) == expected, (method, path, answer)
        if expected:
            assert answer.status == (401 if expected == "no_token" else 403)
            assert set(answer.json) == {"error", "code", "status"}
        assert answer.status < 500 or answer.status == 503, answer
    assert (api.rows(), api.stored_keys()) == (rows, held)


@pytest.mark.guarantee(
    "attack",
    "a page of another site of which the browser tells, or a name that suddenly means the robot,"
    " asks either server, by whatever method and path",
    "403 with a stable code for every route, and nothing is done; its own page and programs may"
    " ask",
)
@pytest.mark.parametrize("case", OPEN, ids=lambda case: case.name)
@pytest.mark.threat("page")
def test_every_route_of_both_servers_asks_the_guard(open_api: Api, case: Case) -> None:
    assert_guarded(open_api, case)


@pytest.mark.guarantee(
    "attack",
    "whoever reaches the port of the host, or of the stand-alone server, asks without the token",
    "401 for every route; PETAL_S3_REST_READ_ONLY refuses every change with 403",
)
@pytest.mark.parametrize("case", LOCKED, ids=lambda case: case.name)
@pytest.mark.threat("wifi")
def test_the_token_and_read_only_count_in_both_servers(locked_api: Api, case: Case) -> None:
    assert_guarded(locked_api, case)


@pytest.mark.threat(
    "wifi",
    "they ask for a URL to put an object to, where REST is read only",
    "403: that is a change",
)
def test_a_url_to_put_a_log_to_is_a_change(locked_api: Api) -> None:
    told = locked_api.plain("GET", f"/bucket/presign/{HOME}a.ulg?method=PUT")
    assert (told.status, told.code) == (403, "read_only")
    assert locked_api.plain("GET", f"/bucket/presign/{HOME}a.ulg").status == 200


FOLLOWED = {"Sec-Fetch-Site": "cross-site", "Sec-Fetch-Mode": "navigate"}


def test_a_link_of_another_site_leads_to_the_page_and_to_nothing_else(open_api: Api) -> None:
    followed = {**FOLLOWED, "Sec-Fetch-Dest": "document"}
    assert open_api.plain("GET", "/", headers=followed).status == 200
    if open_api.prefix:
        assert open_api.plain("GET", "", headers=followed).status == 307
    for path, headers in (
        ("/status", followed),
        (f"/bucket/download/{HOME}a.ulg", followed),
        ("/", {**FOLLOWED, "Sec-Fetch-Dest": "iframe"}),
        ("/", {**followed, "Sec-Fetch-Mode": "no-cors"}),
        ("/", {**followed, "Origin": "http://evil.example"}),
    ):
        told = open_api.plain("GET", path, headers=headers)
        assert (told.status, told.code) == (403, "foreign_page"), (path, headers)
    told = open_api.plain("POST", "/logout", headers=followed)
    assert (told.status, told.code) == (403, "foreign_page")


def test_what_needs_no_token_tells_nothing() -> None:
    page = {("GET", "/"), ("GET", "/static/{name}")}
    assert page | {("POST", "/login"), ("POST", "/logout")} == PUBLIC


def test_a_wrong_token_is_refused_in_both_servers(locked_api: Api) -> None:
    for token in (TOKEN[:-1], f"{TOKEN}x", "x", "\xff"):
        headers = {"Authorization": f"Bearer {token}"}
        told = locked_api.plain("GET", "/status", headers=headers)
        assert (told.status, told.code) == (401, "no_token")
        assert told.headers["www-authenticate"] == "Bearer"


@pytest.mark.threat(
    "wifi",
    "they ask petal-s3 in a host where no token is set",
    "they may read, send, cancel and delete; the status says so, and what to set",
)
def test_the_status_says_that_the_host_has_no_login(open_api: Api) -> None:
    advice = open_api.get("/status").json["advice"]
    said = [one for one in advice if one.startswith("The host has no login: whoever reaches")]
    assert bool(said) == bool(open_api.prefix), advice
    assert all("PETAL_S3_API_TOKEN" in one and "PETAL_S3_REST_READ_ONLY" in one for one in said)


def test_with_a_token_it_does_not(locked_api: Api) -> None:
    assert not any("no login" in one for one in locked_api.get("/status").json["advice"])


@pytest.mark.threat(
    "page",
    "its origin is listed in PETAL_S3_API_ORIGINS",
    "it may ask and read the answer, with the token where one is set",
)
def test_a_page_that_is_listed_may_read_the_answer(locked_api: Api) -> None:
    asked = {"Origin": LISTED, "Access-Control-Request-Method": "GET"}
    asked |= {"Access-Control-Request-Headers": "authorization"}
    told = locked_api.plain("OPTIONS", "/status", headers={**asked, "Authorization": ""})
    assert told.status in {200, 204}
    assert told.headers["access-control-allow-origin"] in {"*", LISTED}
    assert "authorization" in told.headers["access-control-allow-headers"].lower()
    answer = locked_api.plain("GET", "/status", headers={"Origin": LISTED})
    assert answer.headers["access-control-allow-origin"] in {"*", LISTED}


@pytest.mark.threat(
    "page",
    "it sends a forged log, cancels one that only the robot has, or says that the vehicle is armed",
    "403; the log stays and is sent, and nothing waits for a flight",
)
def test_a_forged_log_and_a_cancel_do_nothing(open_api: Api) -> None:
    open_api.link.cut()
    told = open_api.upload(log(), "handed-over.ulg", wait="false")
    assert told.status == 202
    rows = open_api.rows()
    foreign = {"Origin": "http://evil.example"}
    row = told.json["id"]
    for method, path in (
        ("DELETE", f"/outbox/{row}"),
        ("POST", "/flight"),
        ("POST", "/bucket/upload"),
        ("GET", f"/outbox/{row}"),
    ):
        refused = open_api.plain(method, path, body={"armed": True}, headers=foreign)
        assert (refused.status, refused.code) == (403, "foreign_page")
        assert re.search("evil|handed", refused.body.decode()) is None
    assert open_api.rows() == rows
    open_api.link.forward()
    assert open_api.in_state(row, "verified")
    assert open_api.get("/status").json["flight_state"] != "armed"


@pytest.mark.threat(
    "page",
    "it asks a petal that is inactive why it is",
    "403: its settings are told to no page of another site",
)
async def test_why_it_is_inactive_is_told_to_no_foreign_page(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    pytest.importorskip("petal_app_manager")
    from starlette.requests import Request

    from petal_s3.plugin import PetalS3

    monkeypatch.setenv("PETAL_S3_CONFIG", "")
    monkeypatch.setenv("PETAL_S3_BUCKET_NAME", "")
    petal = PetalS3()
    petal.startup()

    async def status(**headers: str) -> tuple[int, str]:
        pairs = [
            (b"host", b"192.0.2.7:9000"),
            *((k.encode(), v.encode()) for k, v in headers.items()),
        ]
        scope = {
            "type": "http",
            "method": "GET",
            "path": "/",
            "query_string": b"",
            "headers": pairs,
        }
        told = await petal.rest_status(Request({**scope, "path_params": {}, "client": None}))
        return told.status_code, str(json.loads(told.body)["code"])

    assert await status() == (503, "config")
    assert await status(origin="http://evil.example") == (403, "foreign_page")
