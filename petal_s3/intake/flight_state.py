"""Know whether the vehicle flies, from what the autopilot says and from its silence."""

from __future__ import annotations

from dataclasses import dataclass

from petal_s3.intake import flight_holds as holds
from petal_s3.intake.flight_holds import Hold

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
SILENT_S = 10.0  # how long an autopilot may be silent before nothing is sent any more
HOLD_S = 600.0  # how long a silent autopilot, which could be heard, holds up the uploads
ASK_S = 3.0  # so long after its last heartbeat nothing is asked of the autopilot any more
DEAF_S = 86_400.0  # a lock held for a day is no download: the host lets go of it after each file


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
    ``lapses`` counts how often the autopilot was heard again after a silence in which it may have
    been restarted.
    """

    def __init__(self, *, listening_since: float | None = None) -> None:
        """``listening_since``: when listening began; none where no autopilot can be heard."""
        self.flights_ended = 0
        self.lapses = 0
        self.ended_at: float | None = None
        self.declared: bool | None = None
        """What was said in place of the autopilot; none where nothing was, or it was heard."""
        self._declared_since = ""
        self._listens = listening_since is not None
        self._system: int | None = None
        self._armed: bool | None = None
        """What the autopilot said last; none where it was not heard, or is not waited for."""
        self._heard_at = listening_since or 0.0
        self._deaf_since: float | None = None
        self._deaf_s = 0.0  # before `_deaf_since`, and since it was heard
        self._unheard = False  # it was not heard since the host was deaf
        self._disarmed_in_a_row = 0
        self._disarmed_at = 0.0
        self._landed_state = 0
        self._leaf_status: int | None = None

    # -- what is heard and said

    def heartbeat(self, beat: Heartbeat, now: float) -> None:
        """Take in a HEARTBEAT of any sender."""
        if not beat.from_autopilot:
            return
        self._give_up(now)
        armed = bool(beat.base_mode & _ARMED_FLAG)
        if self._system is not None and beat.system != self._system:
            # Another vehicle on the same network says nothing about ours. One that is armed may be
            # ours under a new number; that ours is disarmed is not believed before it is given up.
            silent = self._armed is None or (not self._armed and armed)
            if not silent or now - self._heard_at <= SILENT_S:
                return
        self._system = beat.system
        self.told(armed=armed, now=now)

    def hearing(self, *, possible: bool, now: float) -> None:
        """Take in whether the host can hear an autopilot from now on."""
        if possible and self._deaf_since is not None:
            self._deaf_s += now - self._deaf_since
            self._deaf_since = None
        elif not possible and self._deaf_since is None:
            self._deaf_since = now
            self._unheard = True

    def declare(self, *, armed: bool, now: float, since: str = "") -> bool:
        """Take in what a person or program says where no autopilot is heard.

        It counts until something else is said or an autopilot is heard; false when one is.
        ``since``: when it was said, for people.
        """
        if self._armed is not None and now - self._heard_at <= SILENT_S:
            return False
        flew = self.state(now) == "armed"
        self.declared, self._declared_since = armed, since
        if flew and not armed:
            self._end(now)
        self._armed = None  # an autopilot that fell silent: the person knows better
        return True

    def withdraw(self) -> None:
        """What was declared counts no more."""
        self.declared = None

    def told(self, *, armed: bool, now: float) -> None:
        """Take in one statement of the autopilot that the vehicle is armed or not."""
        self._heard(now)
        if self.declared is not None:
            if self.declared and not armed:
                self._end(now)
            self.declared = None
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

    # -- what it means

    @property
    def may_be_ending(self) -> bool:
        """Whether the first heartbeat has just said that an armed vehicle is disarmed."""
        return self._disarmed_in_a_row == 1

    def state(self, now: float) -> str:
        """``armed``, ``disarmed`` or ``unknown``."""
        self._give_up(now)
        if self.declared is not None:
            return "armed" if self.declared else "disarmed"
        if self._armed:
            return "armed"
        unsure = self._armed is None or self._unheard or now - self._heard_at > SILENT_S
        return "unknown" if unsure else "disarmed"

    def hold(self, now: float) -> Hold | None:
        """Why nothing may be sent now; none when it may."""
        self._give_up(now)
        if self.declared is not None:
            return holds.declared_armed(self._declared_since) if self.declared else None
        deaf = self._deaf_since is not None
        silent = now - self._heard_at > SILENT_S
        if self._armed is None:
            return self._listening(now)
        if self._armed:
            return holds.ARMED if not silent else holds.ARMED_UNHEARD if deaf else holds.LOST
        if deaf or self._unheard:
            return holds.DEAF if deaf else holds.UNHEARD
        return holds.SILENT if silent else None

    @property
    def system(self) -> int | None:
        """The number of the vehicle that is listened to; none where none was heard."""
        return self._system

    def is_heard(self, now: float) -> bool:
        """Whether the autopilot was heard a moment ago."""
        return self._system is not None and now - self._heard_at <= ASK_S

    def ask_hold(self, now: float) -> Hold | None:
        """Why nothing may be asked of the autopilot now; none when it may: only a vehicle that is
        heard, and says that it is disarmed, is asked."""
        if self.state(now) == "armed":
            return holds.ASK_ARMED
        if self._deaf_since is not None:
            return holds.ASK_DEAF
        return None if self.is_heard(now) else holds.ASK_SILENT

    def _listening(self, now: float) -> Hold | None:
        """Why nothing is sent where no autopilot was heard: never for longer than ``HOLD_S``."""
        passed = self._silent_s(now) >= LISTEN_S or now - self._heard_at >= HOLD_S
        if not self._listens or passed:
            return None
        return holds.LISTENING if self._deaf_since is None else holds.LISTENING_DEAF

    def _silent_s(self, now: float) -> float:
        """Seconds since it was heard, or listening began, in which it could have been heard."""
        deaf_s = self._deaf_s + (0.0 if self._deaf_since is None else now - self._deaf_since)
        return now - self._heard_at - deaf_s

    def _heard(self, now: float) -> None:
        self.lapses += self._unheard or now - self._heard_at > ASK_S
        self._heard_at = now
        self._deaf_s = 0.0
        if self._deaf_since is None:
            self._unheard = False
        else:
            self._deaf_since = now

    def _airborne(self) -> bool:
        return self._landed_state in _IN_THE_AIR or self._leaf_status in _LEAF_IN_THE_AIR

    def _give_up(self, now: float) -> None:
        """Wait no longer for an autopilot that was silent for long, or that nobody can hear."""
        deaf_s = 0.0 if self._deaf_since is None else now - self._deaf_since
        if self._silent_s(now) <= HOLD_S and deaf_s <= DEAF_S:
            return
        if self._armed:
            self._end(now)
        self._armed = None

    def _end(self, ended_at: float) -> None:
        self._armed = False
        self._disarmed_in_a_row = 0
        self.flights_ended += 1
        self.ended_at = ended_at
