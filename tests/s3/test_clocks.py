"""The device's date is wrong, jumps, or is told wrongly; nothing that matters believes it."""

from __future__ import annotations

import contextlib
import ipaddress
import ssl
import time
from collections.abc import AsyncIterator, Callable
from datetime import datetime, timedelta, timezone
from pathlib import Path
from urllib.parse import parse_qs, urlsplit

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID
from robot import (
    HOME,
    OPS,
    PORTAL_PAGE,
    SMALL,
    THREE_PARTS,
    TWO_PARTS,
    UNWELL,
    Robot,
    dated,
    refusal,
)
from timed import Hand, timed

from petal_s3.core.release import RELEASED, RELEASED_S
from petal_s3.demo.faults import Fault, says
from petal_s3.demo.ledger import Request
from petal_s3.demo.recorded_link import RecordedLink

ALL_OPS = (*OPS, "ListMultipartUploads", "AbortMultipartUpload")
YEAR_S = 31_556_952.0
LIMIT_S = 15 * 60.0
DAY = timedelta(days=1)


def off_by_s(request: Request) -> float:
    """How far the time in the signature is from the time of S3."""
    signed = datetime.strptime(f"{request.headers['x-amz-date']}+0000", "%Y%m%dT%H%M%SZ%z")
    return abs(signed.timestamp() - time.time())


def strict(robot: Robot) -> list[Request]:
    """S3 looks at the time of each signature, as the real one does; gives what it refused."""
    refused: list[Request] = []

    async def look(request: Request) -> Fault | None:
        if off_by_s(request) <= LIMIT_S:
            return None
        refused.append(request)
        head = request.op == "HeadObject"
        return says(403) if head else refusal(403, "RequestTimeTooSkewed")

    for op in ALL_OPS:
        robot.always(op, look)
    return refused


@pytest.mark.parametrize("size", [SMALL, TWO_PARTS])
@pytest.mark.parametrize("year", [1970, 2031, 2150])
@pytest.mark.guarantee(
    "clock",
    "the device believes it is 1970, 2031 or 2150",
    "after one refused request everything is signed with the time of S3, in the first attempt",
)
async def test_a_wrong_date_costs_one_request(robot: Robot, year: int, size: int) -> None:
    refused = strict(robot)
    await timed(robot, wall=lambda: (year - 1970) * YEAR_S)
    row = await robot.land(size=size)

    done = await robot.attempt(row)

    assert len(refused) == 1
    assert done.attempts == 1
    assert done.receipt is not None
    assert abs(done.receipt.verified_at - time.time()) < LIMIT_S
    told = datetime.fromisoformat(robot.head(done.key)["Metadata"]["upload-timestamp"])
    assert abs(told.timestamp() - time.time()) < LIMIT_S
    robot.assert_sent_once(done, robot.logs / "flight.ulg")


@pytest.mark.guarantee(
    "clock",
    "the date of the device jumps by years, forward and back, in the middle of an upload",
    "the upload goes on as if nothing had happened",
)
async def test_jumps_in_the_middle_of_an_upload_are_not_noticed(robot: Robot) -> None:
    wall = Hand(time.time())
    await timed(robot, wall=wall, concurrency=1)
    jumps = iter([-30 * YEAR_S, 60 * YEAR_S, -56 * YEAR_S])
    off_s = []

    async def jump(request: Request) -> None:
        off_s.append(off_by_s(request))
        wall.at += next(jumps)

    robot.fault("UploadPart", jump, times=3)
    refused = strict(robot)
    row = await robot.land(size=THREE_PARTS)

    done = await robot.attempt(row)

    assert (next(jumps, None), refused) == (None, [])
    assert max(off_s) < LIMIT_S
    assert done.attempts == 1
    robot.assert_sent_once(done, robot.logs / "flight.ulg")


@pytest.mark.guarantee(
    "clock",
    "the date of the device jumps while a log is sent, and S3 says that it lacks an option",
    "the log does not travel once more for the date",
)
async def test_a_jump_repeats_no_body_that_was_refused_for_something_else(robot: Robot) -> None:
    wall = Hand(time.time())
    await timed(robot, wall=wall)

    async def jump(_: Request) -> Fault:
        wall.at += 10 * YEAR_S
        return refusal(501, "NotImplemented")

    robot.fault("PutObject", jump)
    row = await robot.attempt(await robot.land())

    assert row.state == "verified"
    sent = [{name.lower() for name in one.headers} for one in robot.ledger.requests("PutObject")]
    assert ["if-none-match" in names for names in sent] == [True, False]


@pytest.mark.parametrize("jump_s", [-50 * YEAR_S, 50 * YEAR_S])
@pytest.mark.guarantee(
    "clock",
    "the date of the device jumps while a log waits for its next attempt",
    "it waits neither longer nor shorter",
)
async def test_no_wait_hangs_on_the_date(robot: Robot, jump_s: float) -> None:
    wall = Hand(time.time())
    service, now = await timed(robot, wall=wall, spread=lambda: 1.0)
    robot.fault("PutObject", UNWELL)
    row = await robot.attempt(await robot.land())
    wait_s = row.due_at - now.at

    wall.at += jump_s
    while not (pause_s := await service.drainer.turn()):
        pass  # tidying up, while there is nothing else to do
    now.at += wait_s - 0.1
    too_early = await service.drainer.step()
    now.at += 0.1
    done = await robot.attempt(row)

    assert (wait_s, pause_s) == (pytest.approx(1.0), pytest.approx(1.0))
    assert not too_early
    assert done.state == "verified"


# -- whose time is believed


@pytest.mark.parametrize(
    "date",
    [
        "Thu, 01 Jan 1970 00:00:10 GMT",
        "Fri, 03 Jan 2031 12:00:00 GMT",
        "Fri, 31 Dec 9999 23:59:59 GMT",
        "Mon, 01 Jan 0001 00:00:00 GMT",
        "Mon, 01 Jan 99999999999999999999 00:00:00 GMT",
        "tomorrow",
    ],
)
@pytest.mark.guarantee(
    "clock",
    "a captive portal tells another date",
    "it is not believed, or until S3 answers: the request is redone at once with S3's time",
)
@pytest.mark.threat("path")
async def test_the_date_of_a_portal_does_not_stay(robot: Robot, date: str) -> None:
    robot.fault("HeadObject", says(200, PORTAL_PAGE, {"Content-Type": "text/html", "Date": date}))
    refused = strict(robot)
    _, now = await timed(robot)
    row = await robot.land()

    told = await robot.attempt(row)
    now.at += 60
    done = await robot.finish(row)

    assert (told.state, told.code) == ("queued", "not_s3")
    assert done.attempts == 2
    assert len(refused) <= 1
    offset_s = robot.service.s3.clock.offset_s
    assert offset_s is not None
    assert abs(offset_s) < LIMIT_S
    robot.assert_sent_once(done, robot.logs / "flight.ulg")


AN_HOUR_AGO = datetime.now(timezone.utc) - timedelta(hours=1)


@pytest.mark.parametrize(
    "answer",
    [
        dated(says(404, headers={"Age": "3600"}), AN_HOUR_AGO),
        dated(says(200, headers={"Age": "3600", "ETag": '"x"'}), AN_HOUR_AGO),
        dated(says(302, headers={"Location": "http://127.0.0.1:1/"}), AN_HOUR_AGO),
    ],
    ids=["cached 404", "cached 200", "redirect"],
)
@pytest.mark.guarantee("clock", "a cache or a redirect tells an old date", "the time of S3 is kept")
async def test_the_date_of_a_cache_or_a_redirect_is_not_believed(
    robot: Robot, answer: Fault
) -> None:
    robot.fault("HeadObject", answer)
    row = await robot.land()

    told = await robot.attempt(row)

    assert told.code == "not_s3"
    offset_s = robot.service.s3.clock.offset_s
    assert offset_s is not None
    assert abs(offset_s) < 60


@pytest.mark.guarantee(
    "clock",
    "a URL is asked for on a device in 1970 that has not spoken to S3 yet",
    "S3 is asked for the time first; offline the URL is signed all the same",
)
async def test_a_url_is_signed_with_the_time_of_s3(robot: Robot) -> None:
    service, _ = await timed(robot, wall=lambda: 1000.0)
    key = f"{HOME}x.ulg"
    robot.put(key, b"x")
    robot.link.cut()
    offline = (await service.objects.presign(key, 60)).url
    robot.link.forward()

    url = (await service.objects.presign(key, 60)).url

    def date(signed: str) -> str:
        return parse_qs(urlsplit(signed).query)["X-Amz-Date"][0][:8]

    assert date(offline) == "19700101"
    assert date(url) == datetime.now(timezone.utc).strftime("%Y%m%d")


# -- certificates

NAME = x509.NameAttribute


def signed_by(
    ca_key: ec.EllipticCurvePrivateKey,
    ca: x509.Name,
    key: ec.EllipticCurvePrivateKey,
    *,
    subject: x509.Name,
    starts: datetime,
    host: str | None,
) -> x509.Certificate:
    built = (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(ca)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(starts)
        .not_valid_after(starts + 2 * DAY)
        .add_extension(x509.BasicConstraints(ca=host is None, path_length=None), critical=True)
    )
    if host is not None:
        names = x509.SubjectAlternativeName([x509.IPAddress(ipaddress.ip_address(host))])
        built = built.add_extension(names, critical=False)
    return built.sign(ca_key, hashes.SHA256())


def tls_context(
    folder: Path, *, starts: datetime, host: str = "127.0.0.1", trusted: bool = True
) -> ssl.SSLContext:
    """A server whose certificate is signed by the authority in ``ca.pem``, or by a stranger."""
    pem = serialization.Encoding.PEM
    key = ec.generate_private_key(ec.SECP256R1())
    authority = x509.Name([NAME(NameOID.COMMON_NAME, "an authority")])
    server = x509.Name([NAME(NameOID.COMMON_NAME, "S3")])
    keys = [ec.generate_private_key(ec.SECP256R1()) for _ in range(2)]
    roots = [
        signed_by(
            one,
            authority,
            one,
            subject=authority,
            starts=datetime.now(timezone.utc) - DAY,
            host=None,
        )
        for one in keys
    ]
    (folder / "ca.pem").write_bytes(roots[0].public_bytes(pem))
    leaf = signed_by(
        keys[0 if trusted else 1], authority, key, subject=server, starts=starts, host=host
    )
    (folder / "cert.pem").write_bytes(leaf.public_bytes(pem))
    (folder / "key.pem").write_bytes(
        key.private_bytes(pem, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
    )
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(folder / "cert.pem", folder / "key.pem")
    return context


@contextlib.asynccontextmanager
async def over_tls(link: RecordedLink, context: ssl.SSLContext) -> AsyncIterator[str]:
    """The link, once more, behind TLS."""
    yield await link.serve_tls(context)


@pytest.fixture
def tls(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[..., ssl.SSLContext]:
    """Make a server's certificate; its authority is trusted on this machine."""
    folder = tmp_path / "tls"
    folder.mkdir()
    monkeypatch.setenv("AWS_CA_BUNDLE", str(folder / "ca.pem"))

    def make(shift: timedelta = -DAY, **more: object) -> ssl.SSLContext:
        return tls_context(folder, starts=datetime.now(timezone.utc) + shift, **more)

    return make


@pytest.mark.parametrize("shift", [10 * DAY, -10 * DAY], ids=["not yet valid", "expired"])
@pytest.mark.guarantee(
    "clock",
    "the certificate of S3 does not fit the date of the device, which is before the release",
    "the drain waits and names PETAL_S3_TLS_IGNORE_DATES; with it the log arrives",
)
async def test_only_by_decision_are_the_dates_of_a_certificate_ignored(
    robot: Robot, tls: Callable[..., ssl.SSLContext], shift: timedelta
) -> None:
    row = await robot.land()
    async with over_tls(robot.link, tls(shift)) as url:
        await robot.restart(endpoint_url=url)
        told = await robot.attempt(row)
        asked = robot.ops()
        await timed(robot, wall=lambda: 1000.0, endpoint_url=url, tls_ignore_dates=True)
        done = await robot.finish(row)
        await robot.service.stop()

    assert (told.state, told.code) == ("queued", "tls_dates")
    assert "PETAL_S3_TLS_IGNORE_DATES=true" in told.reason
    assert asked == []
    robot.assert_sent_once(done, robot.logs / "flight.ulg")


@pytest.mark.parametrize("shift", [10 * DAY, -10 * DAY], ids=["not yet valid", "expired"])
@pytest.mark.guarantee(
    "clock",
    "PETAL_S3_TLS_IGNORE_DATES is set, and the device's clock is past the release",
    "dates count: an expired certificate gets nothing, and the reason says until when they do not",
)
@pytest.mark.threat("path")
async def test_from_the_day_of_the_release_on_dates_count_again(
    robot: Robot, tls: Callable[..., ssl.SSLContext], shift: timedelta
) -> None:
    date = Hand(1000.0)
    first = await robot.land()
    async with over_tls(robot.link, tls(shift)) as url:
        service, _ = await timed(robot, wall=date, endpoint_url=url, tls_ignore_dates=True)
        done = await robot.attempt(first)
        date.at = RELEASED_S
        await service.s3.close()  # connections that are open are used on
        told = await robot.attempt(await robot.land("other.ulg", seed=1))
        await robot.service.stop()

    assert done.state == "verified"
    assert (told.state, told.code) == ("queued", "tls_dates")
    assert f"before {RELEASED}" in told.reason
    assert "set PETAL_S3_TLS_IGNORE_DATES" not in told.reason  # it is set, and does not help
    assert ("has expired" if shift < timedelta(0) else "not valid yet") in told.reason


@pytest.mark.parametrize("wrong", [{"trusted": False}, {"host": "127.0.0.2"}], ids=str)
@pytest.mark.parametrize("shift", [-DAY, 10 * DAY], ids=["in time", "not yet valid"])
@pytest.mark.guarantee(
    "clock",
    "dates of certificates are ignored, and somebody shows one of another issuer or name",
    "not a byte is sent, and the date it tells is not heard",
)
@pytest.mark.threat("path")
async def test_issuer_and_name_are_never_ignored(
    robot: Robot,
    tls: Callable[..., ssl.SSLContext],
    wrong: dict[str, object],
    shift: timedelta,
) -> None:
    row = await robot.land()
    async with over_tls(robot.link, tls(shift, **wrong)) as url:
        await timed(robot, wall=lambda: 1000.0, endpoint_url=url, tls_ignore_dates=True)
        told = await robot.attempt(row)
        learnt_s = robot.service.s3.clock.offset_s
        await robot.service.stop()

    assert (told.state, told.code) == ("queued", "tls")
    assert robot.ops() == []
    assert learnt_s is None


@pytest.mark.guarantee(
    "clock",
    "the device is ten years off, and S3 is reached over TLS",
    "the time is learnt from answers whose certificate was checked",
)
async def test_time_is_learnt_over_tls(robot: Robot, tls: Callable[..., ssl.SSLContext]) -> None:
    refused = strict(robot)
    async with over_tls(robot.link, tls()) as url:
        await timed(robot, wall=lambda: time.time() + 10 * YEAR_S, endpoint_url=url)
        row = await robot.land(size=TWO_PARTS)
        done = await robot.attempt(row)
        await robot.service.stop()

    assert len(refused) == 1
    assert done.attempts == 1
    robot.assert_sent_once(done, robot.logs / "flight.ulg")
