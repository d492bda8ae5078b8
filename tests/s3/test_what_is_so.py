"""The status says what is so now: not what failed before, not more than the wire has carried."""

from __future__ import annotations

import asyncio
import time
from functools import partial
from pathlib import Path

import pytest
from robot import DROP, HOME, PART, Robot, refusal, until

from petal_s3.demo.faults import Fault
from petal_s3.demo.ledger import Request
from petal_s3.service.snapshot import read_status

LINE = 400_000  # bytes per second


async def page_of(robot: Robot) -> str:
    """All that a page has to show."""
    service = robot.service
    told = [await service.status(), *await service.rows()]
    return " ".join(one.model_dump_json() for one in told)


# -- the last failure is not the present state


@pytest.mark.guarantee(
    "links",
    "the link is back, and the log that failed is on its way again",
    "status, row and page no longer say that there is none",
)
async def test_a_link_that_is_back_is_not_said_to_be_gone(robot: Robot) -> None:
    service = await robot.run()
    robot.link.cut()
    row = await robot.land("large.ulg", 3 * PART)
    other = await robot.land("other.ulg", seed=1)
    await until(lambda: service.drainer.block)
    said = await service.status()
    assert (said.code, said.link) == ("offline", "down")
    assert {one.code for one in await service.rows()} == {"offline"}
    assert "No link" in said.headline

    robot.link.rate_bytes_s = 200_000
    robot.link.forward()
    await until(lambda: robot.flying(part=1))
    await until(lambda: service.drainer.block is None)
    said, shown = await service.status(), await page_of(robot)
    read = partial(read_status, service.settings, 10)
    outside = await until(lambda: None if "No link" in (now := read()).headline else now)

    for rows in (await service.rows(), outside.rows):
        assert [one.reason for one in rows if "No link" in one.reason] == []
    assert "No link" not in said.headline + said.reason + outside.headline + shown
    assert said.link == "up"
    robot.link.rate_bytes_s = 0
    for one in (row, other):
        await robot.until_state(one, "verified")


@pytest.mark.guarantee(
    "links",
    "S3 answers another call while the drain waits for its link",
    "the drain says that the link is back, and sends within seconds, whatever the backoff says",
)
async def test_an_answer_to_another_call_ends_the_wait(robot: Robot) -> None:
    service = await robot.run(spread=1.0)
    service.drainer.pause.failures = 6  # the backoff says a minute
    robot.always("PutObject", DROP)
    row = await robot.land()
    block = await until(lambda: service.drainer.block)
    assert block.until - block.tried_at > 30

    robot.heal()
    began = time.monotonic()
    await service.objects.page(HOME)
    await until(lambda: service.drainer.block is None or service.drainer.block.code == "link_back")
    said = await service.status()
    await robot.until_state(row, "verified")

    assert said.code in {"link_back", "uploading", "all_up"}
    assert said.link == "up"
    assert time.monotonic() - began < 30


async def test_a_block_says_when_it_was_seen_and_when_it_is_tried_again(robot: Robot) -> None:
    service = await robot.run(spread=1.0)
    service.drainer.pause.failures = 5
    robot.always("PutObject", refusal(403, "AccessDenied"))
    await robot.land()
    await until(lambda: service.drainer.block)

    said = await service.status()

    assert (said.code, said.link) == ("forbidden", "up")
    assert said.reason_age_s is not None
    assert said.next_try_s is not None
    assert said.reason_age_s < 30 < said.next_try_s


async def test_a_deletion_that_is_allowed_again_is_known_at_once(robot: Robot) -> None:
    service = robot.service
    row = await robot.land()
    await robot.finish(row)
    service.s3.learn("deletion", offered=False, by="DeleteObject was answered 403")

    await service.objects.delete(row.key)

    assert service.s3.capabilities.offers("deletion")


async def test_keys_that_were_mended_in_their_file_are_used_at_the_next_try(
    robot: Robot, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    file = tmp_path / "credentials"

    def write(key: str) -> None:
        file.write_text(f"[default]\naws_access_key_id={key}\naws_secret_access_key=secret\n")

    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_SESSION_TOKEN"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("AWS_SHARED_CREDENTIALS_FILE", str(file))
    monkeypatch.setenv("AWS_EC2_METADATA_DISABLED", "true")
    write("OLDKEY")
    service = await robot.restart(session_token_url=None)
    signed: list[str] = []

    async def by_key(request: Request) -> Fault | None:
        signed.append(request.headers["authorization"].split("Credential=")[1].split("/")[0])
        return refusal(403, "InvalidAccessKeyId") if signed[-1] == "OLDKEY" else None

    robot.always("PutObject", by_key)
    row = await robot.land()
    assert (await robot.attempt(row)).code == "credentials_refused"
    assert (await service.status()).credentials in {"refused", "ok"}

    write("NEWKEY")
    done = await robot.finish(row)

    assert done.state == "verified"
    assert signed == ["OLDKEY", "OLDKEY", "NEWKEY"]


# -- a robot at rest


@pytest.mark.guarantee(
    "links",
    "a robot that has nothing to send is started again, also after its token has expired",
    "the link is up and the credentials are good, as S3 last answered; nothing is asked for that",
)
async def test_a_robot_at_rest_keeps_what_s3_last_answered(robot: Robot) -> None:
    service = await robot.run()
    row = await robot.land()
    await robot.until_state(row, "verified")
    await until(lambda: "ok" in robot.sql("SELECT said FROM drain")[0][0])
    asked = len(robot.ledger.requests())

    service = await robot.run()
    service.drainer.housekeeping.tidy_at = float("inf")
    await until(lambda: service.lock.held)
    await until(lambda: service.s3.server.link_state.heard_at is not None)
    said, figures = await service.status(), await service.overview.metrics()

    assert (said.link, said.credentials, said.code) == ("up", "ok", "all_up")
    assert said.link_seen_s is not None
    assert "petal_s3_link_up 1.0" in figures
    assert "petal_s3_link_seen_seconds" in figures
    assert len(robot.ledger.requests()) <= asked + 3  # the daily look for orphans


async def test_before_s3_was_ever_asked_no_alarm_is_raised(robot: Robot) -> None:
    said, figures = await robot.service.status(), await robot.service.overview.metrics()
    assert (said.link, said.link_seen_s) == ("unknown", None)
    assert "petal_s3_link_up" not in figures


# -- files that are no rows yet


@pytest.mark.guarantee(
    "answers",
    "a log lies in the log directory that no scan has seen, or that settles",
    "nothing says that all logs are up: neither status nor health, page, figures or command line",
)
async def test_all_is_up_only_when_every_file_is_a_proven_row(robot: Robot) -> None:
    service = await robot.restart(settle_seconds=30)
    done = await robot.finish(await robot.land("done.ulg"))
    assert done.state == "verified"
    assert (await service.status()).code == "all_up"
    robot.write("new.ulg", seed=1)

    async def code() -> str:
        return (await service.status()).code

    while await code() == "all_up":  # it is looked at every two seconds
        await asyncio.sleep(0.05)
    said, figures = await service.status(), await service.overview.metrics()
    outside = read_status(service.settings, 10)
    assert (said.code, said.unscanned, outside.unscanned) == ("no_drain", 1, 1)
    assert "1 of 2 logs proven, 1 is not in the outbox yet" in said.headline
    assert said.headline == outside.headline
    assert said.headline in await page_of(robot)
    assert "petal_s3_unscanned_files 1.0" in figures

    assert await service.files.run(service.lock.take)
    await service.scan()
    said, figures = await service.status(), await service.overview.metrics()
    assert (said.code, said.unscanned, len(said.settling)) == ("settling", 0, 1)
    assert said.headline == "1 of 2 logs proven, 1 has just been written."
    assert "petal_s3_settling_files 1.0" in figures


async def test_a_directory_that_cannot_be_read_is_not_one_without_logs(
    robot: Robot, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    closed = tmp_path / "closed"
    closed.mkdir()
    service = await robot.restart(log_dirs=str(closed))

    def scandir(path: str) -> list[object]:
        raise PermissionError(13, "Permission denied", path)

    monkeypatch.setattr("petal_s3.intake.log_directories.os.scandir", scandir)
    said, outside = await service.status(), read_status(service.settings, 10)

    assert (said.code, outside.code) == ("unread", "unread")
    assert "cannot be read (Permission denied)" in said.headline
    assert said.headline == outside.headline
    assert "petal_s3_unread_directories 1.0" in await service.overview.metrics()
    assert "petal_s3_trouble 1.0" in await service.overview.metrics()

    row = await robot.land()
    said, outside = await service.status(), read_status(service.settings, 10)
    assert row.state == "queued"
    assert "there may be more" in said.headline
    assert (said.trouble, said.unread) == (outside.trouble, outside.unread)
    assert said.trouble.startswith(f"The log directory {closed} cannot be read")


# -- how far, how fast


@pytest.mark.guarantee(
    "links",
    "a steady link of 400 kB/s, of which this machine's buffers take megabytes at once",
    "one rate, one share and one time left, from acknowledged bytes, the same wherever it is asked",
)
async def test_what_is_shown_is_what_the_link_has_carried(robot: Robot) -> None:
    service = await robot.run(part_size="5MiB")
    robot.link.rate_bytes_s = LINE
    row = await robot.land("large.ulg", 4 * PART)
    await until(robot.flying)
    began = time.monotonic()
    rates = []
    while (passed := time.monotonic() - began) < 30:
        carried = sum(one.body_bytes for one in robot.ledger.requests())
        said, shown = await service.status(), await service.row(row.id)
        outside = read_status(service.settings, 1)
        assert abs(shown.sent_bytes - carried) < 5 * LINE
        if passed > 5:  # what another process reads is two seconds old
            assert abs(outside.rows[0].sent_bytes - shown.sent_bytes) < 5 * LINE
        assert said.backlog_bytes == pytest.approx(row.size - shown.sent_bytes, abs=5 * LINE)
        if passed > 15:
            rates.append(said.rate_bytes_s)
            assert outside.rate_bytes_s == pytest.approx(said.rate_bytes_s, rel=0.4)
            assert said.eta_s == pytest.approx(
                said.backlog_bytes / said.rate_bytes_s, rel=0.1, abs=2
            )
        await asyncio.sleep(0.5)
    assert 0.6 * LINE < min(rates) <= max(rates) < 1.4 * LINE
    robot.link.rate_bytes_s = 0
    await robot.until_state(row, "verified")
