"""Know whether the vehicle flies, from what the autopilot says and from its silence."""

from __future__ import annotations

from dataclasses import dataclass

# MAVLink common.xml: MAV_LANDED_STATE, MAV_MODE_FLAG, MAV_COMPONENT, MAV_AUTOPILOT, MAV_TYPE.
_IN_THE_AIR = {2, 3, 4}
_ARMED_FLAG = 128
_AUTOPILOT_1 = 1
_AUTOPILOT_INVALID = 8
_TYPE_GCS = 6
# LEAF_STATUS: taking off, flying, landing, mission paused, returning.
_LEAF_IN_THE_AIR = {3, 4, 5, 20, 21}

CONFIRMATIONS = 3  # heartbeats in a row that say "disarmed" before a flight counts as ended
AIRBORNE_CONFIRMATIONS = 30  # the same while something still says "in the air" (a crash does)
LISTEN_S = 30.0  # how long to listen for an autopilot before it counts as absent
SILENT_S = 10.0
HOLD_S = 600.0  # how long a lost armed vehicle counts as flying
_DECLARED = "The vehicle was said to be armed (POST /flight); uploads wait until it is not."


@dataclass(frozen=True)
class Heartbeat:
    """The fields of a MAVLink HEARTBEAT that matter, with its source."""

    system: int
    component: int
    autopilot: int
    type: int
    base_mode: int

    @property
    def from_autopilot(self) -> bool:
        """Whether an autopilot says it: ground stations and companions send heartbeats too."""
        return (
            self.component == _AUTOPILOT_1
            and self.autopilot != _AUTOPILOT_INVALID
            and self.type != _TYPE_GCS
        )


class FlightState:
    """State, not edges: messages are lost, so each one is taken for what it says now.

    All times are seconds of one steady clock, passed in. ``flights_ended`` counts flights;
    ``ended_at`` is when the last one ended: at the first of the heartbeats that confirmed it.
    """

    def __init__(self, *, listening_since: float | None = None) -> None:
        """``listening_since``: when listening began; none where no autopilot can be heard."""
        self.flights_ended = 0
        self.ended_at: float | None = None
        self._listening_since = listening_since
        self._system: int | None = None
        self._armed: bool | None = None
        self._heard_at = 0.0
        self._disarmed_in_a_row = 0
        self._disarmed_at = 0.0
        self._landed_state = 0
        self._leaf_status: int | None = None
        self._declared: bool | None = None

    def heartbeat(self, beat: Heartbeat, now: float) -> None:
        """Take in a HEARTBEAT of any sender."""
        if not beat.from_autopilot:
            return
        self._give_up(now)
        another = self._system is not None and beat.system != self._system
        if another and (self._armed or now - self._heard_at <= SILENT_S):
            return  # another vehicle on the same network: it says nothing about ours
        self._system = beat.system
        self.told(armed=bool(beat.base_mode & _ARMED_FLAG), now=now)

    def declare(self, *, armed: bool, now: float) -> bool:
        """Take in what a person or program says where no autopilot is heard.

        It counts until something else is said or an autopilot is heard; false when one is.
        """
        if self._armed is not None and now - self._heard_at <= SILENT_S:
            return False
        flew = self.state(now) == "armed"
        self._declared = armed
        if flew and not armed:
            self._end(now)
        self._armed = None  # an autopilot that fell silent: the person knows better
        return True

    def told(self, *, armed: bool, now: float) -> None:
        """Take in one statement of the autopilot that the vehicle is armed or not."""
        self._heard_at = now
        if self._declared is not None:
            if self._declared and not armed:
                self._end(now)
            self._declared = None
        if armed:
            self._armed = True
            self._disarmed_in_a_row = 0
            return
        if not self._armed:
            self._armed = False  # the first word, or nothing new
            return
        if self._disarmed_in_a_row == 0:
            self._disarmed_at = now
        self._disarmed_in_a_row += 1
        needed = AIRBORNE_CONFIRMATIONS if self._airborne() else CONFIRMATIONS
        if self._disarmed_in_a_row >= needed:
            self._end(self._disarmed_at)

    def landed_state(self, value: int) -> None:
        """Take in EXTENDED_SYS_STATE.landed_state; "on ground" alone proves nothing."""
        self._landed_state = value

    def leaf_status(self, value: int) -> None:
        """Take in LEAF_STATUS.status."""
        self._leaf_status = value

    @property
    def may_be_ending(self) -> bool:
        """Whether the first heartbeat has just said that an armed vehicle is disarmed."""
        return self._disarmed_in_a_row == 1

    def state(self, now: float) -> str:
        """``armed``, ``disarmed`` or ``unknown``."""
        self._give_up(now)
        if self._declared is not None:
            return "armed" if self._declared else "disarmed"
        if self._armed is None or now - self._heard_at > SILENT_S:
            return "armed" if self._armed else "unknown"
        return "armed" if self._armed else "disarmed"

    def send_blocked_reason(self, now: float) -> str | None:
        """Why nothing may be sent now; none when it may."""
        self._give_up(now)
        if self._declared is not None:
            return _DECLARED if self._declared else None
        if self._armed:
            if now - self._heard_at > SILENT_S:
                return "Contact with the armed vehicle was lost; uploads wait 10 minutes."
            return "The vehicle is armed; uploads wait until it has landed."
        if (
            self._armed is None
            and self._listening_since is not None
            and now - self._listening_since < LISTEN_S
        ):
            return "Listening for up to 30 s whether the vehicle is armed."
        return None

    def _airborne(self) -> bool:
        return self._landed_state in _IN_THE_AIR or self._leaf_status in _LEAF_IN_THE_AIR

    def _give_up(self, now: float) -> None:
        if self._armed and now - self._heard_at > HOLD_S:
            self._end(now)
            self._armed = None

    def _end(self, ended_at: float) -> None:
        self._armed = False
        self._disarmed_in_a_row = 0
        self.flights_ended += 1
        self.ended_at = ended_at
