"""Whoever guesses the bearer token is slowed down; others are not, and little is remembered."""

from __future__ import annotations

import logging
from typing import Any

import pytest

from petal_s3.core.settings_loading import check_settings
from petal_s3.core.settings_rules import SHORTEST_TOKEN
from petal_s3.errors import ConfigError, NotAllowed, Throttled
from petal_s3.service import no_login
from petal_s3.web.guard import Guard, check_binding
from petal_s3.web.wrong_tokens import AT_ONCE, EACH_S, MOST_PEERS, SAY_S, WrongTokens

TOKEN = "a-token-of-forty-characters-or-so-0123456"
PEER, OTHER = "192.0.2.7", "192.0.2.8"


class Clock:
    now = 50_000.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def guard(clock: Clock) -> Guard:
    return Guard(settings(), token=TOKEN, now=clock)


def settings(**more: Any) -> Any:
    return check_settings({"bucket_name": "logs", **more})


def ask(guard: Guard, token: str, peer: str = PEER) -> str:
    """The code of the refusal; empty where the request may pass."""
    headers = {"host": "192.0.2.1:9000", "authorization": f"Bearer {token}"}
    try:
        guard.check("GET", headers, peer)
    except NotAllowed as error:
        return error.code
    except Throttled as error:
        assert (error.status, error.retry_after_s) == (429, pytest.approx(EACH_S, abs=EACH_S))
        return error.code
    return ""


@pytest.mark.guarantee(
    "attack",
    "somebody guesses the bearer token, thousands of times a second",
    "after 30 wrong ones one is looked at every 2 s; other addresses are not slowed",
)
@pytest.mark.threat("wifi")
def test_who_guesses_is_slowed_and_others_are_not(guard: Guard, clock: Clock) -> None:
    told = [ask(guard, f"guess-{number}") for number in range(1000)]
    assert told == ["no_token"] * AT_ONCE + ["too_many_tokens"] * (1000 - AT_ONCE)
    assert ask(guard, TOKEN, OTHER) == ""
    assert ask(guard, TOKEN) == "too_many_tokens", "else guessing would not be slowed"

    looked_at = 0
    for _ in range(600):
        clock.now += 0.1
        looked_at += ask(guard, "guess") == "no_token"
    assert looked_at == pytest.approx(60 / EACH_S, abs=1)
    clock.now += EACH_S
    assert ask(guard, TOKEN) == ""


def test_without_a_token_nothing_is_a_guess(guard: Guard) -> None:
    for _ in range(100):
        for said in ("", "Bearer", "Bearer ", "Basic YTpi"):
            with pytest.raises(NotAllowed):
                guard.check("GET", {"host": "localhost", "authorization": said}, PEER)
    assert (guard.wrong.peers, ask(guard, TOKEN)) == (0, "")


def test_what_is_remembered_of_guessers_is_bounded() -> None:
    wrong = WrongTokens()
    for number in range(3 * MOST_PEERS):
        wrong.note(f"10.{number >> 16}.{number >> 8 & 255}.{number & 255}", 1.0)
    assert wrong.peers == MOST_PEERS
    wrong.note("x" * 100_000, 1.0)
    assert wrong.peers == MOST_PEERS


def test_one_machine_with_many_addresses_is_one_guesser() -> None:
    wrong = WrongTokens()
    for number in range(AT_ONCE):
        wrong.note(f"2001:db8::{number:x}", 1.0)
        wrong.note(PEER if number % 2 else f"::ffff:{PEER}", 1.0)
    assert wrong.peers == 2
    assert wrong.wait_s("2001:db8::ffff", 1.0) > 0
    assert wrong.wait_s(PEER, 1.0) > 0
    assert wrong.wait_s("2001:db8:0:1::1", 1.0) == 0


@pytest.mark.threat(
    "wifi",
    "they guess tokens to fill the log, or to find one that was mistyped in it",
    "a line a minute with address and count; no guess is quoted",
)
def test_guesses_are_logged_once_a_minute_and_never_quoted(
    guard: Guard, clock: Clock, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG)
    for _ in range(10 * 60):
        ask(guard, "guessed-token", f"192.0.2.{int(clock.now) % 50}")
        clock.now += SAY_S / 60
    assert len(caplog.records) == pytest.approx(10, abs=1)
    assert "peer=192.0.2." in caplog.text
    assert caplog.records[0].getMessage().endswith("count=1")
    assert caplog.records[1].getMessage().endswith("count=60")
    assert "guessed-token" not in caplog.text and TOKEN not in caplog.text


@pytest.mark.parametrize("token", ["x", "x" * (SHORTEST_TOKEN - 1)])
@pytest.mark.threat(
    "wifi",
    "the token is short enough to be guessed",
    "below 16 characters nothing is served beyond loopback",
)
def test_a_short_token_is_refused_where_others_may_come(token: str) -> None:
    for host in ("0.0.0.0", "::", "192.0.2.1", "robot.lan"):
        with pytest.raises(ConfigError, match="PETAL_S3_API_TOKEN has less than 16 characters"):
            check_binding(host, token)
    check_binding("0.0.0.0", "x" * SHORTEST_TOKEN)
    check_binding("127.0.0.1", token)
    (said,) = no_login.advice(settings(api_token=token))
    assert "PETAL_S3_API_TOKEN has less than 16 characters" in said
    in_host = Guard(settings(), token=token)
    with pytest.raises(ConfigError, match="PETAL_S3_API_TOKEN has less than 16 characters"):
        in_host.check("GET", {"host": "127.0.0.1", "authorization": f"Bearer {token}"}, PEER)
