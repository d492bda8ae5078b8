"""A flight is known by what the autopilot says, and by its silence."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from petal_s3.intake import flight_holds as holds
from petal_s3.intake.flight_holds import Hold
from petal_s3.intake.flight_state import (
    AIRBORNE_CONFIRMATIONS,
    CONFIRMATIONS,
    DEAF_S,
    HOLD_S,
    LISTEN_S,
    SILENT_S,
    FlightState,
    Heartbeat,
)

ARMED, DISARMED = 0b1000_0001, 0b0000_0001
PX4, INVALID = 12, 8
QUADROTOR, GCS, ONBOARD_COMPUTER = 2, 6, 18
ON_GROUND, IN_AIR, TAKEOFF, LANDING = 1, 2, 3, 4
IS_ARMED = holds.ARMED
IS_LOST = holds.LOST
IS_SILENT = holds.SILENT
IS_DEAF = holds.DEAF
IS_UNHEARD = holds.UNHEARD
IS_LISTENING = holds.LISTENING
IS_SAID = holds.declared_armed("")


@dataclass
class Air:
    """What comes over MAVLink, one message a second."""

    flight: FlightState = field(default_factory=FlightState)
    now: float = 1000.0

    def says(self, base_mode: int, times: int = 1, **source: Any) -> Air:
        fields: dict[str, Any] = {
            "system": 1,
            "component": 1,
            "autopilot": PX4,
            "type": QUADROTOR,
            "base_mode": base_mode,
        }
        for _ in range(times):
            self.flight.heartbeat(Heartbeat(**{**fields, **source}), self.now)
            self.now += 1.0
        return self

    def passes(self, seconds: float) -> Air:
        self.now += seconds
        return self

    def goes_deaf(self) -> Air:
        self.flight.hearing(possible=False, now=self.now)
        return self

    def hears_again(self) -> Air:
        self.flight.hearing(possible=True, now=self.now)
        return self

    @property
    def state(self) -> str:
        return self.flight.state(self.now)

    @property
    def reason(self) -> Hold | None:
        return self.flight.hold(self.now)

    @property
    def flights_ended(self) -> int:
        self.flight.state(self.now)
        return self.flight.flights_ended


Told = Callable[[Air], Any]


def in_air(value: int) -> Told:
    return lambda air: air.flight.landed_state(value)


def leaf(value: int) -> Told:
    return lambda air: air.flight.leaf_status(value)


def beats(base_mode: int, times: int = 1, **source: Any) -> Told:
    return lambda air: air.says(base_mode, times, **source)


def silence(seconds: float) -> Told:
    return lambda air: air.passes(seconds)


def deaf(seconds: float) -> Told:
    return lambda air: air.goes_deaf().passes(seconds)


def hearing_for(seconds: float) -> Told:
    return lambda air: air.hears_again().passes(seconds)


FLIGHTS: dict[str, tuple[list[Told], str, Hold | None, int]] = {
    "nothing heard, nothing listened to": ([], "unknown", None, 0),
    "disarmed from the start": ([beats(DISARMED)], "disarmed", None, 0),
    "one armed heartbeat is enough": ([beats(DISARMED, 9), beats(ARMED)], "armed", IS_ARMED, 0),
    "one disarmed heartbeat is not": ([beats(ARMED), beats(DISARMED)], "armed", IS_ARMED, 0),
    "two are not": ([beats(ARMED), beats(DISARMED, 2)], "armed", IS_ARMED, 0),
    "three are": ([beats(ARMED), beats(DISARMED, 3)], "disarmed", None, 1),
    "armed again in between": (
        [beats(ARMED), beats(DISARMED, 2), beats(ARMED), beats(DISARMED, 2)],
        "armed",
        IS_ARMED,
        0,
    ),
    "armed again in between, then down": (
        [beats(ARMED), beats(DISARMED, 2), beats(ARMED), beats(DISARMED, 3)],
        "disarmed",
        None,
        1,
    ),
    "two flights": (
        [beats(ARMED), beats(DISARMED, 3), beats(ARMED), beats(DISARMED, 9)],
        "disarmed",
        None,
        2,
    ),
    "a disarmed vehicle never lands": ([beats(DISARMED, 50)], "disarmed", None, 0),
    "a ground station says armed": (
        [beats(ARMED, 3, type=GCS, autopilot=INVALID, system=255, component=190)],
        "unknown",
        None,
        0,
    ),
    "a ground station with the autopilot's address": (
        [beats(ARMED, 3, type=GCS)],
        "unknown",
        None,
        0,
    ),
    "a ground station says disarmed in flight": (
        [beats(ARMED), beats(DISARMED, 9, type=GCS, autopilot=INVALID, system=255)],
        "armed",
        IS_ARMED,
        0,
    ),
    "a companion says disarmed in flight": (
        [
            beats(ARMED),
            beats(DISARMED, 4, component=191, autopilot=INVALID, type=ONBOARD_COMPUTER),
            beats(DISARMED, 4, autopilot=INVALID, type=ONBOARD_COMPUTER),
        ],
        "armed",
        IS_ARMED,
        0,
    ),
    "a gimbal of the same system": (
        [beats(ARMED), beats(DISARMED, 5, component=154, type=26)],
        "armed",
        IS_ARMED,
        0,
    ),
    "another vehicle is disarmed": (
        [beats(ARMED), beats(DISARMED, 9, system=2)],
        "armed",
        IS_ARMED,
        0,
    ),
    "another vehicle is armed": ([beats(DISARMED), beats(ARMED, 9, system=2)], "disarmed", None, 0),
    "another vehicle cannot land a lost one": (
        [beats(ARMED), silence(SILENT_S + 1), beats(DISARMED, 50, system=2)],
        "armed",
        IS_LOST,
        0,
    ),
    "a vehicle that took a new number on the ground": (
        [beats(DISARMED), silence(SILENT_S), beats(ARMED, system=2)],
        "armed",
        IS_ARMED,
        0,
    ),
    "on ground alone proves nothing": (
        [beats(ARMED), in_air(ON_GROUND), beats(ARMED, 5), in_air(ON_GROUND)],
        "armed",
        IS_ARMED,
        0,
    ),
    "on ground without a heartbeat is nothing": ([in_air(ON_GROUND)], "unknown", None, 0),
    "on ground does not shorten the confirmation": (
        [beats(ARMED), in_air(ON_GROUND), beats(DISARMED, 2)],
        "armed",
        IS_ARMED,
        0,
    ),
    "disarmed in the air is not landed": (
        [beats(ARMED), in_air(IN_AIR), beats(DISARMED, AIRBORNE_CONFIRMATIONS - 1)],
        "armed",
        IS_ARMED,
        0,
    ),
    "disarmed in the air for long is a crash": (
        [beats(ARMED), in_air(IN_AIR), beats(DISARMED, AIRBORNE_CONFIRMATIONS)],
        "disarmed",
        None,
        1,
    ),
    "disarmed while taking off": (
        [beats(ARMED), in_air(TAKEOFF), beats(DISARMED, CONFIRMATIONS)],
        "armed",
        IS_ARMED,
        0,
    ),
    "disarmed while landing": (
        [beats(ARMED), in_air(LANDING), beats(DISARMED, CONFIRMATIONS)],
        "armed",
        IS_ARMED,
        0,
    ),
    "disarmed, then it says on ground": (
        [beats(ARMED), in_air(IN_AIR), beats(DISARMED, 5), in_air(ON_GROUND), beats(DISARMED)],
        "disarmed",
        None,
        1,
    ),
    "silent for less than ten seconds on the ground": (
        [beats(DISARMED), silence(SILENT_S - 1)],
        "disarmed",
        None,
        0,
    ),
    "silent for ten seconds on the ground": (
        [beats(DISARMED), silence(SILENT_S)],
        "unknown",
        IS_SILENT,
        0,
    ),
    "silent for nearly ten minutes on the ground": (
        [beats(DISARMED), silence(HOLD_S - 1)],
        "unknown",
        IS_SILENT,
        0,
    ),
    "silent for ten minutes on the ground": (
        [beats(DISARMED), silence(HOLD_S)],
        "unknown",
        None,
        0,
    ),
    "silent on the ground, then heard again": (
        [beats(DISARMED), silence(60), beats(DISARMED)],
        "disarmed",
        None,
        0,
    ),
    "silent on the ground, then heard armed": (
        [beats(DISARMED), silence(60), beats(ARMED)],
        "armed",
        IS_ARMED,
        0,
    ),
    "silent on the ground, and another vehicle is disarmed": (
        [beats(DISARMED), silence(60), beats(DISARMED, 9, system=2)],
        "unknown",
        IS_SILENT,
        0,
    ),
    "silent on the ground for ten minutes, then another vehicle counts": (
        [beats(DISARMED), silence(HOLD_S), beats(DISARMED, system=2)],
        "disarmed",
        None,
        0,
    ),
    "silent on the ground, and only a ground station is heard": (
        [beats(DISARMED), silence(60), beats(DISARMED, 9, type=GCS, system=255, autopilot=INVALID)],
        "unknown",
        IS_SILENT,
        0,
    ),
    "nobody can hear from the first second": (
        [beats(DISARMED), deaf(0)],
        "unknown",
        IS_DEAF,
        0,
    ),
    "nobody can hear for the 41 minutes of a download": (
        [beats(DISARMED), deaf(41 * 60)],
        "unknown",
        IS_DEAF,
        0,
    ),
    "nobody could hear for 41 minutes, and nothing is heard yet": (
        [beats(DISARMED), deaf(41 * 60), hearing_for(0.5)],
        "unknown",
        IS_UNHEARD,
        0,
    ),
    "nobody could hear for 41 minutes, then it is disarmed": (
        [beats(DISARMED), deaf(41 * 60), hearing_for(1), beats(DISARMED)],
        "disarmed",
        None,
        0,
    ),
    "nobody could hear for a minute, and it was armed meanwhile": (
        [beats(DISARMED), deaf(60), hearing_for(1), beats(ARMED)],
        "armed",
        IS_ARMED,
        0,
    ),
    "nobody could hear, then silence: nearly ten minutes count from there": (
        [beats(DISARMED), deaf(41 * 60), hearing_for(HOLD_S - 1)],
        "unknown",
        IS_UNHEARD,
        0,
    ),
    "nobody could hear, then silence: ten minutes count from there": (
        [beats(DISARMED), deaf(41 * 60), hearing_for(HOLD_S)],
        "unknown",
        None,
        0,
    ),
    "the silence before nobody could hear counts too": (
        [beats(DISARMED), silence(300), deaf(3600), hearing_for(300)],
        "unknown",
        None,
        0,
    ),
    "a heartbeat that was read before and comes late does not end it": (
        [beats(DISARMED), deaf(0), beats(DISARMED)],
        "unknown",
        IS_DEAF,
        0,
    ),
    "armed, and nobody can hear": ([beats(ARMED), deaf(5)], "armed", IS_ARMED, 0),
    "armed, and nobody can hear for an hour": (
        [beats(ARMED), deaf(3600)],
        "armed",
        holds.ARMED_UNHEARD,
        0,
    ),
    "armed, then nobody could hear for an hour: ten minutes count from there": (
        [beats(ARMED), deaf(3600), hearing_for(HOLD_S - 1)],
        "armed",
        IS_LOST,
        0,
    ),
    "a lock that is never let go of does not hold for ever": (
        [beats(DISARMED), deaf(DEAF_S)],
        "unknown",
        IS_DEAF,
        0,
    ),
    "a lock that is held for more than a day is no download": (
        [beats(DISARMED), deaf(DEAF_S + 1)],
        "unknown",
        None,
        0,
    ),
    "the same in flight": ([beats(ARMED), deaf(DEAF_S + 1)], "unknown", None, 1),
    "silent for a moment in flight": ([beats(ARMED), silence(5)], "armed", IS_ARMED, 0),
    "lost in flight": ([beats(ARMED), silence(SILENT_S)], "armed", IS_LOST, 0),
    "lost for nearly ten minutes": ([beats(ARMED), silence(HOLD_S - 1)], "armed", IS_LOST, 0),
    "lost for ten minutes": ([beats(ARMED), silence(HOLD_S)], "unknown", None, 1),
    "lost and heard again": (
        [beats(ARMED), silence(HOLD_S - 9), beats(ARMED)],
        "armed",
        IS_ARMED,
        0,
    ),
    "lost, then another vehicle counts": (
        [beats(ARMED), silence(HOLD_S), beats(ARMED, system=2)],
        "armed",
        IS_ARMED,
        1,
    ),
    "lost, and back on the ground": (
        [beats(ARMED), silence(60), beats(DISARMED, 3)],
        "disarmed",
        None,
        1,
    ),
}


@pytest.mark.parametrize("name", FLIGHTS)
def test_what_a_sequence_of_messages_means(name: str) -> None:
    told, state, reason, landings = FLIGHTS[name]
    air = Air()
    for message in told:
        message(air)
    assert (air.state, air.reason, air.flights_ended) == (state, reason, landings)


@pytest.mark.parametrize("status", range(30))
def test_the_leaf_says_whether_a_disarmed_vehicle_is_still_in_the_air(status: int) -> None:
    air = Air().says(ARMED)
    air.flight.leaf_status(status)
    air.says(DISARMED, CONFIRMATIONS)
    in_the_air = status in {3, 4, 5, 20, 21}  # taking off, flying, landing, paused, returning
    assert air.state == ("armed" if in_the_air else "disarmed")
    assert air.says(DISARMED, AIRBORNE_CONFIRMATIONS).state == "disarmed"


def test_a_flight_ended_when_the_first_of_the_confirming_heartbeats_came() -> None:
    air = Air().says(ARMED).says(DISARMED, 2).says(ARMED)
    assert air.flight.ended_at is None
    began_at = air.now
    air.says(DISARMED, 20)
    assert air.flight.ended_at == began_at


def test_the_first_disarmed_heartbeat_hints_at_an_end() -> None:
    air = Air().says(DISARMED)
    assert not air.flight.may_be_ending
    assert not air.says(ARMED).flight.may_be_ending
    assert air.says(DISARMED).flight.may_be_ending
    assert not air.says(ARMED).flight.may_be_ending


def test_a_lost_flight_ended_when_hope_was_given_up() -> None:
    air = Air().says(ARMED).passes(HOLD_S)
    assert (air.flights_ended, air.flight.ended_at) == (1, air.now)
    assert (air.passes(HOLD_S).flights_ended, air.reason) == (1, None)


# -- listening


@pytest.mark.threat(
    "neighbour",
    "its heartbeats are heard on the same network, armed or disarmed",
    "they neither hold the uploads of a robot whose own autopilot is heard nor end its flight",
)
@pytest.mark.parametrize("ours", [ARMED, DISARMED])
@pytest.mark.parametrize("theirs", [ARMED, DISARMED])
def test_another_vehicle_on_the_network_says_nothing_of_ours(ours: int, theirs: int) -> None:
    air = Air().says(ours)
    before = (air.state, air.reason)
    for _ in range(60):
        air.says(theirs, 3, system=2).says(ours)
        assert (air.state, air.reason) == before
    assert air.flights_ended == 0


def listening() -> Air:
    return Air(FlightState(listening_since=1000.0))


def test_nothing_is_sent_while_it_may_be_that_an_autopilot_is_heard() -> None:
    air = listening().passes(LISTEN_S - 0.1)
    assert (air.state, air.reason) == ("unknown", IS_LISTENING)


def test_a_caller_that_never_hears_an_autopilot_may_send_after_thirty_seconds() -> None:
    air = listening().passes(LISTEN_S)
    assert (air.state, air.reason, air.flights_ended) == ("unknown", None, 0)


def test_a_disarmed_autopilot_ends_the_listening_at_once() -> None:
    assert listening().says(DISARMED).reason is None


def test_an_armed_autopilot_is_heard_while_listening() -> None:
    assert listening().says(ARMED).reason == IS_ARMED


def test_an_autopilot_that_is_heard_late_counts_all_the_same() -> None:
    assert listening().passes(3600).says(ARMED).reason == IS_ARMED


def test_ground_stations_do_not_end_the_listening() -> None:
    air = listening().says(DISARMED, 5, type=GCS, system=255, autopilot=INVALID)
    assert air.reason == IS_LISTENING


def test_after_a_lost_flight_it_does_not_listen_again() -> None:
    air = listening().says(ARMED).passes(HOLD_S)
    assert air.reason is None


def test_without_mavlink_everything_may_be_sent_at_once() -> None:
    assert FlightState().hold(0.0) is None


def test_while_nobody_can_hear_listening_takes_longer() -> None:
    air = listening().goes_deaf().passes(HOLD_S - 60)
    assert air.reason == holds.LISTENING_DEAF
    assert air.hears_again().passes(LISTEN_S - 1).reason == IS_LISTENING
    assert air.passes(1).reason is None


def test_a_lock_that_is_never_let_go_of_holds_no_robot_where_no_autopilot_was_heard() -> None:
    assert listening().goes_deaf().passes(HOLD_S).reason is None
    air = listening().passes(LISTEN_S)
    assert air.goes_deaf().passes(5).reason is None


def test_a_lock_that_is_taken_ever_again_holds_no_robot_where_no_autopilot_was_heard() -> None:
    air = listening()
    for _ in range(int(HOLD_S)):
        air.goes_deaf().passes(0.9).hears_again().passes(0.1)
    assert air.reason is None


# -- where a person or a program says it


def test_flight_state_can_be_told_where_no_autopilot_is_heard() -> None:
    flight = FlightState()
    flight.told(armed=True, now=0.0)
    assert flight.hold(1.0) == IS_ARMED
    for now in (2.0, 3.0, 4.0):
        flight.told(armed=False, now=now)
    assert flight.hold(4.0) is None
    assert (flight.flights_ended, flight.ended_at) == (1, 2.0)


def word(*, armed: bool) -> Told:
    return lambda air: air.flight.declare(armed=armed, now=air.now)


def test_a_vehicle_that_is_armed_by_word_stays_so_for_hours() -> None:
    air = Air()
    assert word(armed=True)(air)
    for _ in range(10):
        air.passes(3600)
        assert (air.state, air.reason, air.flights_ended) == ("armed", IS_SAID, 0)


def test_disarmed_by_word_a_flight_has_ended() -> None:
    air = Air()
    word(armed=True)(air)
    air.passes(3600)
    assert word(armed=False)(air)
    assert (air.state, air.reason, air.flights_ended) == ("disarmed", None, 1)
    assert air.flight.ended_at == air.now
    word(armed=False)(air)
    assert air.flights_ended == 1


def test_a_word_that_repeats_itself_changes_nothing() -> None:
    air = Air()
    for _ in range(3):
        assert word(armed=True)(air)
        air.passes(60)
    assert (air.state, air.flights_ended) == ("armed", 0)


def test_a_word_of_no_flight_ends_none() -> None:
    air = Air()
    word(armed=False)(air)
    assert (air.state, air.reason, air.flights_ended) == ("disarmed", None, 0)
    air.passes(3600)
    assert air.state == "disarmed"


def test_a_word_ends_the_listening() -> None:
    air = listening()
    word(armed=False)(air)
    assert air.reason is None
    air = listening()
    word(armed=True)(air)
    assert air.passes(LISTEN_S).reason == IS_SAID


@pytest.mark.parametrize("base_mode", [ARMED, DISARMED])
@pytest.mark.parametrize("armed", [True, False])
def test_where_an_autopilot_is_heard_a_word_is_refused(base_mode: int, armed: bool) -> None:
    air = Air().says(base_mode, 5)
    before = (air.state, air.reason, air.flights_ended)
    assert not word(armed=armed)(air)
    assert (air.state, air.reason, air.flights_ended) == before


def test_a_ground_station_does_not_make_a_word_refused() -> None:
    air = Air().says(ARMED, 5, type=GCS, system=255, autopilot=INVALID)
    assert word(armed=True)(air)
    air.says(DISARMED, 50, type=GCS, system=255, autopilot=INVALID)
    assert air.reason == IS_SAID


def test_an_autopilot_that_is_heard_overrules_the_word() -> None:
    air = Air()
    word(armed=False)(air)
    assert air.says(ARMED).reason == IS_ARMED
    assert not word(armed=False)(air)

    air = Air()
    word(armed=True)(air)
    air.says(DISARMED)
    assert (air.state, air.reason, air.flights_ended) == ("disarmed", None, 1)
    assert not word(armed=True)(air)


def test_a_flight_by_word_goes_on_with_the_autopilot_that_is_heard_then() -> None:
    air = Air()
    word(armed=True)(air)
    air.says(ARMED)
    assert (air.reason, air.flights_ended) == (IS_ARMED, 0)
    air.says(DISARMED, CONFIRMATIONS)
    assert (air.reason, air.flights_ended) == (None, 1)


def test_an_armed_autopilot_that_is_lost_can_be_declared_disarmed() -> None:
    air = Air().says(ARMED).passes(SILENT_S)
    assert air.reason == IS_LOST
    assert word(armed=False)(air)
    assert (air.state, air.reason, air.flights_ended) == ("disarmed", None, 1)
    assert air.passes(HOLD_S).flights_ended == 1
    assert air.says(ARMED).reason == IS_ARMED


def test_a_lost_autopilot_that_is_declared_armed_is_not_given_up_after_ten_minutes() -> None:
    air = Air().says(ARMED).says(DISARMED).passes(SILENT_S)
    assert word(armed=True)(air)
    assert air.passes(10 * HOLD_S).reason == IS_SAID
    assert air.flights_ended == 0


def test_the_reason_says_since_when_it_was_said_and_how_to_end_it() -> None:
    air = Air()
    air.flight.declare(armed=True, now=air.now, since="2025-07-27 14:30 UTC")
    assert air.reason == Hold(
        "armed",
        "The vehicle was said to be armed at 2025-07-27 14:30 UTC (POST /flight); uploads wait"
        ' until POST /flight says {"armed": false}, the autopilot is heard, or the machine is'
        " started again.",
    )


def test_a_deaf_host_can_be_told_that_the_vehicle_is_disarmed() -> None:
    air = Air().says(DISARMED).goes_deaf().passes(SILENT_S)
    assert air.reason == IS_DEAF
    assert word(armed=False)(air)
    assert air.reason is None


# -- whatever comes

MESSAGES = st.one_of(
    st.tuples(st.just("beat"), st.sampled_from([ARMED, DISARMED])),
    st.tuples(st.just("landed"), st.integers(0, 4)),
    st.tuples(st.just("leaf"), st.integers(0, 25)),
    st.tuples(st.just("silence"), st.integers(0, 700)),
)
WORDS = st.tuples(st.just("word"), st.booleans())


@given(st.lists(MESSAGES, max_size=40))
def test_nothing_is_sent_before_three_disarmed_heartbeats_or_ten_silent_minutes(
    messages: list[tuple[str, int]],
) -> None:
    air = Air()
    last_armed: float | None = None
    disarmed = 0
    for kind, value in messages:
        heard_at = air.now
        if kind == "beat":
            air.says(value)
            last_armed = heard_at if value == ARMED else last_armed
            disarmed = 0 if value == ARMED else disarmed + 1
        elif kind == "silence":
            air.passes(value)
        else:
            (in_air if kind == "landed" else leaf)(value)(air)
        sends = air.reason is None
        if last_armed is not None and disarmed < CONFIRMATIONS and air.now - last_armed < HOLD_S:
            assert not sends
        if sends and air.flight.flights_ended:
            assert air.state != "armed"


@given(st.lists(st.one_of(MESSAGES, WORDS), max_size=40))
def test_a_word_counts_until_another_word_or_an_autopilot_is_heard(
    messages: list[tuple[str, int]],
) -> None:
    air = Air()
    said: bool | None = None
    heard_at = float("-inf")
    for kind, value in messages:
        landings = air.flights_ended
        if kind == "beat":
            said, heard_at = None, air.now
            air.says(value)
        elif kind == "silence":
            air.passes(value)
        elif kind == "word":
            taken = word(armed=bool(value))(air)
            assert taken == (air.now - heard_at > SILENT_S)
            said = bool(value) if taken else said
        else:
            (in_air if kind == "landed" else leaf)(value)(air)
        assert air.flights_ended in {landings, landings + 1}
        if said is not None:
            assert air.state == ("armed" if said else "disarmed")
            assert air.reason == (IS_SAID if said else None)


LINK = st.tuples(st.sampled_from(["deaf", "hears"]), st.just(0))
MOMENTS = st.tuples(st.just("silence"), st.sampled_from([0, 1, 5, 9, 10, 11, 30, 290, 599, 600]))


class Promise:
    """What is promised, kept in the plainest way: seconds are counted, nothing is inferred."""

    def __init__(self, air: Air, *, listens: bool) -> None:
        self.air = air
        self.began = air.now
        self.listens = listens
        self.heard_at = self.armed_at = float("-inf")
        self.disarmed = 0
        self.could_hear = True
        self.could_hear_s = 0.0
        """Since it was heard."""
        self.unheard = False
        """Since the host was deaf."""

    def takes(self, kind: str, value: int) -> None:
        before = self.air.now
        if kind == "beat":
            self.heard_at = before
            self.armed_at = before if value == ARMED else self.armed_at
            self.disarmed = 0 if value == ARMED else self.disarmed + 1
            self.could_hear_s, self.unheard = 0.0, not self.could_hear
        elif kind in {"deaf", "hears"}:
            self.could_hear = kind == "hears"
            self.unheard = self.unheard or not self.could_hear
        TAKES[kind](value)(self.air)
        self.could_hear_s += self.air.now - before if self.could_hear else 0.0

    @property
    def must_hold(self) -> bool:
        now, was_heard = self.air.now, self.heard_at > float("-inf")
        if self.disarmed < CONFIRMATIONS and now - self.armed_at < HOLD_S:
            return True
        silent = self.unheard or now - self.heard_at > SILENT_S
        return was_heard and silent and self.could_hear_s <= HOLD_S

    @property
    def must_send(self) -> bool:
        if self.could_hear_s > HOLD_S:
            return True
        never = self.heard_at == float("-inf")
        return never and (not self.listens or self.air.now - self.began >= HOLD_S)


TAKES: dict[str, Callable[[int], Told]] = {
    "beat": beats,
    "landed": in_air,
    "leaf": leaf,
    "silence": silence,
    "deaf": deaf,
    "hears": hearing_for,
}


@given(st.lists(st.one_of(MESSAGES, MOMENTS, LINK), max_size=60), st.booleans())
def test_silence_is_no_leave_to_send_and_holds_for_ten_minutes_of_hearing_at_most(
    messages: list[tuple[str, int]], listens: bool
) -> None:
    air = listening() if listens else Air()
    promise = Promise(air, listens=listens)
    for kind, value in messages:
        promise.takes(kind, value)
        sends = air.reason is None
        assert not (sends and promise.must_hold)
        assert sends or not promise.must_send
