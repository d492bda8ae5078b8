"""Session tokens are fetched once for all, renewed in time, and never shown."""

from __future__ import annotations

import asyncio
import base64
import ipaddress
import json
import logging
import ssl
import traceback
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from datetime import datetime, timedelta, timezone
from email.utils import format_datetime
from pathlib import Path
from typing import Any

import aiohttp.connector
import pytest
import pytest_asyncio
from aiohttp import web
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from petal_s3.core.release import RELEASED, RELEASED_S
from petal_s3.errors import S3CredentialsError
from petal_s3.s3.credentials import TokenService
from petal_s3.s3.token_answer import DEFAULT_LIFE_S
from tests.support.token_server import serving

SECRET, TOKEN, PASSWORD = "s3cr3t-access-key", "t0ken-of-a-session", "pa55-of-the-url"
GOOD: dict[str, Any] = {
    "accessKeyId": "ASIA1",
    "secretAccessKey": SECRET,
    "sessionToken": TOKEN,
}
ANSWERED_AT = datetime(2025, 11, 20, 10, 0, 0, tzinfo=timezone.utc)

Answer = Callable[[web.Request], Awaitable[web.StreamResponse]]


class Clock:
    """Seconds since a boot that nobody saw."""

    now = 50_000.0

    def __call__(self) -> float:
        return self.now


class Service:
    """A token service on loopback; ``answer`` may be replaced at any time."""

    def __init__(self) -> None:
        self.fetches = 0
        self.elsewhere = 0
        self.url = ""
        self.answer: Answer = says(GOOD)

    async def post(self, request: web.Request) -> web.StreamResponse:
        if request.path != "/token":
            self.elsewhere += 1
            return web.json_response(GOOD)
        self.fetches += 1
        return await self.answer(request)


def says(
    body: object,
    *,
    status: int = 200,
    date: str | None = None,
    content_type: str = "application/json",
    **headers: str,
) -> Answer:
    text = body if isinstance(body, str) else json.dumps(body)

    async def answer(_request: web.Request) -> web.StreamResponse:
        more = {name.replace("_", "-"): value for name, value in headers.items()}
        if date is not None:
            more["Date"] = date
        return web.Response(status=status, text=text, content_type=content_type, headers=more)

    return answer


def lasting(life_s: float, **more: Any) -> Answer:
    """Credentials that the service, by its own clock, issues for so many seconds."""
    ends = ANSWERED_AT + timedelta(seconds=life_s)
    body = {**GOOD, "expiration": ends.isoformat()}
    return says(body, date=format_datetime(ANSWERED_AT, usegmt=True), **more)


@pytest_asyncio.fixture
async def service() -> AsyncIterator[Service]:
    made = Service()
    async with serving(made):
        yield made


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest_asyncio.fixture
async def tokens(service: Service, clock: Clock) -> AsyncIterator[TokenService]:
    made = TokenService(with_password(service.url), timeout_s=30, clock=clock)
    made.spread = lambda: 0.0
    yield made
    await made.close()


@pytest.fixture(autouse=True)
def _nothing_secret_is_logged(caplog: pytest.LogCaptureFixture) -> Iterator[None]:
    caplog.set_level(logging.DEBUG)
    yield
    assert_no_secret(caplog.text)


def with_password(url: str) -> str:
    return url.replace("://", f"://user:{PASSWORD}@")


def assert_no_secret(text: str) -> None:
    header = base64.b64encode(f"user:{PASSWORD}".encode()).decode()
    for secret in (SECRET, TOKEN, PASSWORD, header, SECRET[5:], TOKEN[5:]):
        assert secret not in text


def assert_tells_no_secret(error: BaseException) -> None:
    texts = traceback.format_exception(error)
    one: BaseException | None = error
    while one is not None:
        texts += [str(one), repr(one), repr(one.args), repr(getattr(one, "__dict__", ""))]
        one = one.__cause__ or (None if one.__suppress_context__ else one.__context__)
    assert_no_secret("\n".join(texts))


async def refused(tokens: TokenService) -> S3CredentialsError:
    with pytest.raises(S3CredentialsError) as caught:
        await tokens.get()
    assert_tells_no_secret(caught.value)
    assert "\n" not in caught.value.message
    assert caught.value.message.startswith("The token service")
    assert (caught.value.blocks_drain, caught.value.waiting_helps) == (True, True)
    return caught.value


# -- one for all


async def test_credentials_are_what_the_service_said(
    service: Service, tokens: TokenService, clock: Clock
) -> None:
    service.answer = lasting(3600)
    held = await tokens.get()
    assert (held.access_key_id, held.secret_access_key, held.session_token) == (
        "ASIA1",
        SECRET,
        TOKEN,
    )
    assert (held.generation, held.expires_at) == (1, clock.now + 3600)
    assert_no_secret(f"{held!r} {held} {tokens!r}")


@pytest.mark.threat(
    "tokens",
    "it names another server, bucket, region or machine in its answer",
    "that is not read: these stand in the settings",
)
async def test_the_service_names_neither_server_nor_bucket(
    service: Service, tokens: TokenService
) -> None:
    more = {"endpoint": "http://other.example", "bucket": "others", "region": "x", "machine": "y"}
    service.answer = says({**GOOD, **more, "endpointUrl": "http://other.example"})
    held = await tokens.get()
    assert set(vars(held).values()) == {
        *GOOD.values(),
        held.expires_at,
        held.generation,
    }


async def test_nothing_is_fetched_before_it_is_asked_for(
    service: Service, tokens: TokenService
) -> None:
    assert tokens.current is None
    assert service.fetches == 0


async def test_a_hundred_users_at_once_cause_one_fetch(
    service: Service, tokens: TokenService
) -> None:
    held = await asyncio.gather(*[tokens.get() for _ in range(100)])
    assert service.fetches == 1
    assert all(one is held[0] for one in held)


@pytest.mark.guarantee(
    "credentials",
    "the token service fails while a hundred wait for it",
    "one request, one reason for all; none waits for its own time-out",
)
async def test_users_that_waited_for_a_fetch_share_its_failure(
    service: Service, tokens: TokenService
) -> None:
    # Else each of them would wait for the time-out of its own fetch, one after the other.
    service.answer = says("down", status=500)
    ended = await asyncio.gather(*[tokens.get() for _ in range(100)], return_exceptions=True)
    assert service.fetches == 1
    assert {str(error) for error in ended} == {"The token service at 127.0.0.1 answers HTTP 500."}
    assert len({id(error) for error in ended}) == 100
    service.answer = says(GOOD)
    assert (await tokens.get()).generation == 1


@pytest.mark.guarantee("credentials", "who asked for a token gives up", "the others get theirs")
async def test_a_user_that_gives_up_does_not_harm_those_that_wait(
    service: Service, tokens: TokenService
) -> None:
    asked, may_answer = asyncio.Event(), asyncio.Event()

    async def slowly(request: web.Request) -> web.StreamResponse:
        asked.set()
        await may_answer.wait()
        return await says(GOOD)(request)

    service.answer = slowly
    first, second = asyncio.ensure_future(tokens.get()), asyncio.ensure_future(tokens.get())
    await asyncio.wait_for(asked.wait(), 30)
    first.cancel()
    may_answer.set()
    assert (await asyncio.wait_for(second, 30)).generation == 1
    with pytest.raises(asyncio.CancelledError):
        await first
    assert service.fetches == 2


# -- renewed in time


@pytest.mark.parametrize(
    ("life_s", "renewed_after_s"), [(3600, 3480), (900, 780), (480, 360), (300, 225), (60, 45)]
)
@pytest.mark.guarantee(
    "credentials",
    "tokens of a minute to an hour come to their end",
    "renewed before, by a clock that nobody can set",
)
async def test_credentials_are_renewed_before_they_expire(
    service: Service, tokens: TokenService, clock: Clock, life_s: float, renewed_after_s: float
) -> None:
    service.answer = lasting(life_s)
    first = await tokens.get()
    clock.now += renewed_after_s - 0.1
    assert await tokens.get() is first
    clock.now += 0.1
    second = await tokens.get()
    assert (second.generation, service.fetches) == (2, 2)
    assert second.expires_at == clock.now + life_s


@pytest.mark.parametrize(
    ("life_s", "earliest_s"), [(3600, 3420), (900, 720), (480, 300), (300, 187.5), (60, 37.5)]
)
async def test_robots_that_got_their_tokens_together_renew_them_one_after_the_other(
    service: Service, tokens: TokenService, clock: Clock, life_s: float, earliest_s: float
) -> None:
    tokens.spread = lambda: 1.0
    service.answer = lasting(life_s)
    first = await tokens.get()
    clock.now += earliest_s - 0.1
    assert await tokens.get() is first
    clock.now += 0.1
    assert (await tokens.get()).generation == 2


async def test_a_token_service_that_is_down_is_not_asked_by_all_robots_at_once(
    service: Service, tokens: TokenService, clock: Clock
) -> None:
    tokens.spread = lambda: 1.0
    service.answer = lasting(3600)
    held = await tokens.get()
    service.answer = says("down", status=500)
    clock.now += 3450
    assert await tokens.get() is held
    clock.now += 19
    assert await tokens.get() is held
    assert service.fetches == 2
    clock.now += 1
    assert await tokens.get() is held
    assert service.fetches == 3


async def test_expired_credentials_are_not_at_hand(
    service: Service, tokens: TokenService, clock: Clock
) -> None:
    service.answer = lasting(3600)
    held = await tokens.get()
    assert tokens.current is held
    clock.now += 3600
    assert tokens.current is None


async def test_valid_credentials_serve_on_while_the_service_is_down(
    service: Service, tokens: TokenService, clock: Clock
) -> None:
    service.answer = lasting(3600)
    held = await tokens.get()
    service.answer = says("down", status=500)
    clock.now += 3500
    assert await tokens.get() is held
    assert await tokens.get() is held
    assert service.fetches == 2  # not at each request
    clock.now += 10
    assert await tokens.get() is held
    assert service.fetches == 3
    clock.now += 90
    assert (await refused(tokens)).code == "token_service_down"
    service.answer = lasting(3600)
    assert (await tokens.get()).generation == 2


# -- how long they live


@pytest.mark.parametrize(
    "answered_at",
    [
        datetime(1970, 1, 1, 0, 0, 10, tzinfo=timezone.utc),
        datetime(1999, 12, 31, 23, 59, 59, tzinfo=timezone.utc),
        datetime(2099, 6, 1, 12, tzinfo=timezone.utc),
        datetime(9999, 12, 31, tzinfo=timezone.utc),
    ],
)
@pytest.mark.guarantee(
    "credentials",
    "the token service itself lives in 1970, 1999, 2099 or 9999",
    "a token lives from the service's date to the service's expiration",
)
@pytest.mark.threat("tokens")
async def test_the_devices_date_plays_no_part(
    service: Service, tokens: TokenService, clock: Clock, answered_at: datetime
) -> None:
    ends = answered_at + timedelta(seconds=1800)
    service.answer = says(
        {**GOOD, "expiration": ends.isoformat()}, date=format_datetime(answered_at, usegmt=True)
    )
    assert (await tokens.get()).expires_at == clock.now + 1800


@pytest.mark.parametrize("spelling", ["expiration", "Expiration", "expiresAt"])
@pytest.mark.parametrize(
    "ends",
    [
        "2025-11-20T11:00:00Z",
        "2025-11-20T11:00:00.000Z",
        "2025-11-20T11:00:00",
        "2025-11-20T13:00:00+02:00",
        "2025-11-20 11:00:00+00:00",
        1763636400,
        1763636400000,
    ],
)
async def test_the_end_is_read_however_it_is_written(
    service: Service, tokens: TokenService, clock: Clock, spelling: str, ends: object
) -> None:
    service.answer = says({**GOOD, spelling: ends}, date=format_datetime(ANSWERED_AT, usegmt=True))
    assert (await tokens.get()).expires_at == clock.now + 3600


@pytest.mark.parametrize("more", [{}, {"expiration": None}, {"expires_in": 7200}])
@pytest.mark.guarantee(
    "credentials", "a token without an expiration", "taken for a quarter of an hour"
)
async def test_an_end_that_is_not_told_is_assumed(
    service: Service, tokens: TokenService, clock: Clock, more: dict[str, object]
) -> None:
    service.answer = says({**GOOD, **more})
    assert (await tokens.get()).expires_at == clock.now + DEFAULT_LIFE_S


@pytest.mark.parametrize("date", ["yesterday", "0", " "])
async def test_an_answer_without_a_date_says_nothing_of_its_end(
    service: Service, tokens: TokenService, clock: Clock, date: str
) -> None:
    service.answer = says({**GOOD, "expiration": "2025-11-20T11:00:00Z"}, date=date)
    assert (await tokens.get()).expires_at == clock.now + DEFAULT_LIFE_S


@pytest.mark.parametrize("zone", ["GMT", "+0000", "-0000", ""])
async def test_a_date_without_a_zone_is_that_of_greenwich(
    service: Service, tokens: TokenService, clock: Clock, zone: str
) -> None:
    date = f"Thu, 20 Nov 2025 10:00:00 {zone}".strip()
    service.answer = says({**GOOD, "expiration": "2025-11-20T11:00:00Z"}, date=date)
    assert (await tokens.get()).expires_at == clock.now + 3600


@pytest.mark.parametrize("life_s", [0, -1, -1e6])
@pytest.mark.guarantee(
    "credentials", "a token that had expired when it was issued", "not used; the reason says so"
)
@pytest.mark.threat("tokens")
async def test_credentials_that_have_expired_already_are_none(
    service: Service, tokens: TokenService, life_s: float
) -> None:
    service.answer = lasting(life_s)
    error = await refused(tokens)
    assert (error.code, "already expired" in error.message) == ("token_service_nonsense", True)


# -- refused by S3


async def test_a_dead_token_is_replaced_once_for_all_its_users(
    service: Service, tokens: TokenService
) -> None:
    dead = await tokens.get()

    async def user() -> int:
        tokens.invalidate(dead.generation)
        return (await tokens.get()).generation

    assert await asyncio.gather(*[user() for _ in range(50)]) == [2] * 50
    assert service.fetches == 2


@pytest.mark.guarantee(
    "credentials", "a late complaint about an older token", "the new one is kept"
)
async def test_a_late_complaint_does_not_cost_the_new_token(
    service: Service, tokens: TokenService
) -> None:
    dead = await tokens.get()
    tokens.invalidate(dead.generation)
    new = await tokens.get()
    tokens.invalidate(dead.generation)
    assert tokens.current is new
    assert await tokens.get() is new


@pytest.mark.guarantee(
    "credentials", "a token is refused while its service is down", "it is not used again"
)
async def test_a_dead_token_is_not_used_on_while_the_service_is_down(
    service: Service, tokens: TokenService
) -> None:
    dead = await tokens.get()
    tokens.invalidate(dead.generation)
    service.answer = says("down", status=503)
    assert (await refused(tokens)).code == "token_service_down"


# -- answers that yield nothing

HTML = f"<html><body>{SECRET}<form>Log in to the hotel</form></body></html>"


def without(field: str) -> dict[str, Any]:
    return {name: value for name, value in GOOD.items() if name != field}


NONSENSE: dict[str, tuple[Answer, str]] = {
    "a web page": (
        says(HTML, content_type="text/html"),
        "a web page instead of credentials; the network may need a login",
    ),
    "a web page that claims to be JSON": (says(HTML), "no JSON object"),
    "nothing": (says(""), "no JSON object"),
    "half an object": (says(json.dumps(GOOD)[:-2]), "no JSON object"),
    "a list": (says([GOOD]), "no JSON object"),
    "a word": (says(f'"{SECRET}"'), "no JSON object"),
    "an error": (says({"error": SECRET}), "accessKeyId is missing or wrong"),
    **{f"no {field}": (says(without(field)), f"{field} is missing or wrong") for field in GOOD},
    **{
        f"an empty {field}": (says({**GOOD, field: ""}), f"{field} is missing or wrong")
        for field in GOOD
    },
    **{
        f"{field} is a number": (says({**GOOD, field: 7}), f"{field} is missing or wrong")
        for field in GOOD
    },
    **{
        f"{field} with {what}": (
            says({**GOOD, field: f"{SECRET}{character}"}),
            f"{field} holds a space, a line break, a control character or one beyond ASCII, and"
            " cannot be sent",
        )
        for field in GOOD
        for what, character in {
            "line break": "\n",
            "umlaut": "ü",
            "NUL": "\0",
            "space": " ",
        }.items()
    },
    "an end that is none": (
        says({**GOOD, "expiresAt": SECRET}),
        "expiresAt is missing or wrong",
    ),
}


@pytest.mark.parametrize("name", NONSENSE)
@pytest.mark.threat(
    "tokens",
    "it answers credentials that lack a part, or hold line breaks or control characters",
    "they are not used; the reason names the field and quotes nothing",
)
async def test_an_answer_that_is_nonsense_says_what_is_wrong_with_it(
    service: Service, tokens: TokenService, name: str
) -> None:
    service.answer, expected = NONSENSE[name]
    error = await refused(tokens)
    assert error.code == "token_service_nonsense"
    assert error.message == f"The token service at 127.0.0.1 answered nonsense: {expected}."


@pytest.mark.parametrize(
    ("status", "code", "sentence"),
    [
        (401, "token_service_refused", "refuses this machine (HTTP 401): check its registration."),
        (403, "token_service_refused", "refuses this machine (HTTP 403): check its registration."),
        (400, "token_service_down", "answers HTTP 400."),
        (404, "token_service_down", "answers HTTP 404."),
        (429, "token_service_down", "answers HTTP 429."),
        (500, "token_service_down", "answers HTTP 500."),
        (503, "token_service_down", "answers HTTP 503."),
    ],
)
async def test_a_refusal_says_what_to_do(
    service: Service, tokens: TokenService, status: int, code: str, sentence: str
) -> None:
    service.answer = says(GOOD, status=status)
    error = await refused(tokens)
    assert (error.code, error.message) == (code, f"The token service at 127.0.0.1 {sentence}")


@pytest.mark.parametrize(
    ("told", "retry_after_s"),
    [
        ("7", 7.0),
        ("9" * 400, 3600.0),
        ("Thu, 20 Nov 2025 10:02:00 GMT", 120.0),
        ("Thu, 20 Nov 2025 09:00:00 GMT", 0.0),
        ("soon", None),
        ("-1", None),
    ],
)
@pytest.mark.guarantee(
    "credentials", "the token service asks for patience", "its Retry-After is kept, at most an hour"
)
@pytest.mark.threat("tokens")
async def test_the_service_may_ask_for_patience(
    service: Service, tokens: TokenService, told: str, retry_after_s: float | None
) -> None:
    date = format_datetime(ANSWERED_AT, usegmt=True)
    service.answer = says("busy", status=503, date=date, Retry_After=told)
    assert (await refused(tokens)).retry_after_s == retry_after_s


@pytest.mark.parametrize("status", [301, 302, 303, 307, 308])
async def test_a_redirect_is_not_followed(
    service: Service, tokens: TokenService, status: int
) -> None:
    elsewhere = service.url.replace("/token", "/portal")
    service.answer = says("", status=status, Location=elsewhere)
    error = await refused(tokens)
    assert error.code == "token_service_nonsense"
    assert "redirects elsewhere: the network may need a login" in error.message
    assert (service.fetches, service.elsewhere) == (1, 0)


@pytest.mark.guarantee(
    "credentials", "an answer of the token service without end", "reading ends after 64 KiB"
)
@pytest.mark.threat("tokens")
async def test_an_endless_answer_is_not_read_to_its_end(
    service: Service, tokens: TokenService
) -> None:
    async def endless(request: web.Request) -> web.StreamResponse:
        response = web.StreamResponse()
        await response.prepare(request)
        while True:
            await response.write(b" " * 16384)

    service.answer = endless
    error = await asyncio.wait_for(refused(tokens), 30)
    assert error.code == "token_service_nonsense"


async def test_a_service_that_hangs_is_not_waited_for_for_ever(
    service: Service, clock: Clock
) -> None:
    async def hangs(request: web.Request) -> web.StreamResponse:
        await asyncio.Event().wait()
        raise AssertionError

    service.answer = hangs
    tokens = TokenService(with_password(service.url), timeout_s=0.25, clock=clock)
    error = await refused(tokens)
    assert error.code == "token_service_down"
    assert error.message.endswith("cannot be reached (no answer within 0.25 s).")
    await tokens.close()


async def test_an_answer_that_stops_half_way_is_not_waited_for_for_ever(
    service: Service, clock: Clock
) -> None:
    async def stops(request: web.Request) -> web.StreamResponse:
        response = web.StreamResponse()
        response.content_length = 1000
        await response.prepare(request)
        await response.write(json.dumps(GOOD).encode())
        await asyncio.Event().wait()
        return response

    service.answer = stops
    tokens = TokenService(with_password(service.url), timeout_s=0.25, clock=clock)
    assert (await refused(tokens)).code == "token_service_down"
    await tokens.close()


@pytest.mark.guarantee(
    "credentials",
    "nobody listens where the token service should be",
    "the reason says so, and host and port are known to be looked at again",
)
async def test_a_port_where_nothing_listens_is_named_for_the_probe(clock: Clock) -> None:
    async with serving(Service()) as asked:
        url = asked.url  # its port was free a moment ago, and is again
    port = int(url.rsplit(":", 1)[1].split("/")[0])
    tokens = TokenService(with_password(url), timeout_s=30, clock=clock)
    error = await refused(tokens)
    assert (error.code, error.peer) == ("token_service_down", ("127.0.0.1", port))
    await tokens.close()


async def test_a_name_that_is_unknown_is_a_service_that_is_down(clock: Clock) -> None:
    tokens = TokenService(
        with_password("http://no-such-host.invalid/token"), timeout_s=30, clock=clock
    )
    error = await refused(tokens)
    assert (error.code, error.peer) == ("token_service_down", ("no-such-host.invalid", 80))
    await tokens.close()


@pytest.mark.parametrize(
    "raw",
    [
        b"",
        b"SSH-2.0-OpenSSH_9.6\r\n",
        b"\x00\xff\x00\xff" * 10,
        f"HTTP/1.1 200 OK\r\n{SECRET}\r\n\r\n".encode(),
        f"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n{SECRET}\r\n".encode(),
        b"HTTP/1.1 200 OK\r\nContent-Encoding: gzip\r\nContent-Length: 4\r\n\r\nabcd",
        f"HTTP/1.1 200 OK\r\nContent-Length: 999\r\n\r\n{json.dumps(GOOD)}".encode(),
    ],
)
async def test_what_is_not_http_is_a_service_that_is_down(clock: Clock, raw: bytes) -> None:
    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        writer.write(raw)
        await writer.drain()
        writer.close()

    server = await asyncio.start_server(answer, "127.0.0.1", 0)
    port = server.sockets[0].getsockname()[1]
    tokens = TokenService(
        f"http://user:{PASSWORD}@127.0.0.1:{port}/token?key={TOKEN}", timeout_s=30, clock=clock
    )
    assert (await refused(tokens)).code == "token_service_down"
    await tokens.close()
    server.close()


async def test_a_service_that_was_closed_can_be_asked_again(
    service: Service, tokens: TokenService
) -> None:
    held = await tokens.get()
    await tokens.close()
    await tokens.close()
    tokens.invalidate(held.generation)
    assert (await tokens.get()).generation == 2


# -- certificates outside their dates


def certificate(folder: Path, *, starts: datetime, host: str = "127.0.0.1") -> ssl.SSLContext:
    """A server's context with a certificate that is valid for a day from ``starts``."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "token service")])
    built = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(starts)
        .not_valid_after(starts + timedelta(days=1))
        .add_extension(
            x509.SubjectAlternativeName([x509.IPAddress(ipaddress.ip_address(host))]), False
        )
        .add_extension(x509.BasicConstraints(ca=True, path_length=None), True)
        .sign(key, hashes.SHA256())
    )
    pem = serialization.Encoding.PEM
    (folder / "cert.pem").write_bytes(built.public_bytes(pem))
    (folder / "key.pem").write_bytes(
        key.private_bytes(pem, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
    )
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(folder / "cert.pem", folder / "key.pem")
    return context


@pytest.fixture
def trust(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[[], None]:
    """Make this machine trust the certificate of the test, as its administrator would."""

    def now() -> None:
        monkeypatch.setenv("SSL_CERT_FILE", str(tmp_path / "cert.pem"))
        # aiohttp read the machine's certificates when it was imported.
        monkeypatch.setattr(
            aiohttp.connector, "_SSL_CONTEXT_VERIFIED", ssl.create_default_context()
        )

    return now


DAY = timedelta(days=1)


@pytest.mark.parametrize("shift", [10 * DAY, -10 * DAY], ids=["not yet valid", "expired"])
@pytest.mark.parametrize("ignore_dates", [False, True])
@pytest.mark.guarantee(
    "clock",
    "the certificate of the token service does not fit the date of the device",
    "no token; the reason names PETAL_S3_TLS_IGNORE_DATES, which is a decision",
)
async def test_only_by_decision_are_dates_of_a_certificate_ignored(
    tmp_path: Path, trust: Callable[[], None], shift: timedelta, ignore_dates: bool
) -> None:
    tls = certificate(tmp_path, starts=datetime.now(timezone.utc) + shift)
    trust()
    async with serving(Service(), tls) as asked:
        url = asked.url
        tokens = TokenService(
            url, timeout_s=30, ignore_dates=ignore_dates, wall=lambda: RELEASED_S - 1
        )
        if ignore_dates:
            assert (await tokens.get()).generation == 1
        else:
            error = await refused(tokens)
            assert error.code == "tls_dates"
            assert "PETAL_S3_TLS_IGNORE_DATES=true" in error.message
        await tokens.close()


@pytest.mark.parametrize("shift", [10 * DAY, -10 * DAY], ids=["not yet valid", "expired"])
@pytest.mark.guarantee(
    "clock",
    "dates of the token service are ignored by decision, and the clock is past the release",
    "they count again: no token; the reason says until when they do not",
)
async def test_from_the_day_of_the_release_on_dates_count_again(
    tmp_path: Path, trust: Callable[[], None], shift: timedelta
) -> None:
    tls = certificate(tmp_path, starts=datetime.now(timezone.utc) + shift)
    trust()
    date, service = Clock(), Service()
    date.now = 0.0
    service.answer = says(GOOD, Connection="close")
    async with serving(service, tls) as asked:
        url = asked.url
        tokens = TokenService(url, timeout_s=30, ignore_dates=True, wall=date)
        first = await tokens.get()
        date.now = RELEASED_S
        tokens.invalidate(first.generation)
        error = await refused(tokens)
        assert error.code == "tls_dates"
        assert f"before {RELEASED}" in error.message
        assert "set PETAL_S3_TLS_IGNORE_DATES" not in error.message
        assert ("has expired" if shift < timedelta(0) else "not valid yet") in error.message
        await tokens.close()


@pytest.mark.parametrize("wrong", ["issuer", "name"])
@pytest.mark.guarantee(
    "clock",
    "dates are ignored, and the token service shows another issuer or name",
    "refused: no token is asked for",
)
@pytest.mark.threat("path")
async def test_issuer_and_name_of_a_certificate_are_never_ignored(
    tmp_path: Path, trust: Callable[[], None], wrong: str
) -> None:
    host = "127.0.0.2" if wrong == "name" else "127.0.0.1"
    tls = certificate(tmp_path, starts=datetime.now(timezone.utc) - DAY / 2, host=host)
    if wrong == "name":
        trust()
    async with serving(Service(), tls) as asked:
        url = asked.url
        tokens = TokenService(url, timeout_s=30, ignore_dates=True, wall=lambda: 0.0)
        error = await refused(tokens)
        assert error.code == "token_service_down"
        assert "certificate" in error.message
        await tokens.close()
