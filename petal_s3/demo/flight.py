"""Play a flight over MAVLink."""

from __future__ import annotations

import contextlib
import enum
import socket
import threading
from collections import deque
from typing import NamedTuple

from pymavlink.dialects.v20 import all as mavlink

from petal_s3.demo.flight_card import FlightCard
from petal_s3.demo.host import free_port

_AUTOPILOT_SYSTEM = 1
_AUTOPILOT_COMPONENT = 1


def free_udp_port() -> int:
    return free_port(socket.SOCK_DGRAM)


class _Report(NamedTuple):
    armed: bool
    landed_state: int
    leaf_status: int


class State(_Report, enum.Enum):
    """What the vehicle says about itself."""

    DISARMED = (False, mavlink.MAV_LANDED_STATE_ON_GROUND, mavlink.LEAF_STATUS_DISARMED)
    ARMED = (True, mavlink.MAV_LANDED_STATE_ON_GROUND, mavlink.LEAF_STATUS_ARMED)
    TAKING_OFF = (True, mavlink.MAV_LANDED_STATE_TAKEOFF, mavlink.LEAF_STATUS_TAKING_OFF)
    FLYING = (True, mavlink.MAV_LANDED_STATE_IN_AIR, mavlink.LEAF_STATUS_FLYING)
    LANDING = (True, mavlink.MAV_LANDED_STATE_LANDING, mavlink.LEAF_STATUS_LANDING)
    LANDED = (True, mavlink.MAV_LANDED_STATE_ON_GROUND, mavlink.LEAF_STATUS_LANDED)


class Flight:
    """An autopilot that repeats its state until told otherwise; a context manager.

    It sends UDP to `port` of loopback, whether or not anything listens there.
    """

    def __init__(
        self,
        port: int,
        *,
        rate_hz: float = 4,
        leaf_status: bool = False,
        card: FlightCard | None = None,
    ) -> None:
        """``card``: what it answers for, where it is asked for its files."""
        self.endpoint = f"udp:127.0.0.1:{port}"
        """What the host's PETAL_MAVLINK_ENDPOINT must be."""
        self.rate_hz = rate_hz
        self.leaf_status = leaf_status
        self._card = card
        self._to = ("127.0.0.1", port)
        # The last one is held and repeated, those before it are said once.
        self._states = deque([State.DISARMED])
        self._silent = False
        self._stopped = False
        self._changed = threading.Condition()
        self._thread = threading.Thread(target=self._fly, name="flight", daemon=True)

    @property
    def state(self) -> State:
        """What is said from now on."""
        return self._states[-1]

    def start(self) -> None:
        self._thread.start()

    def stop(self) -> None:
        """End the flight for good; a stopped flight cannot start again."""
        with self._changed:
            self._stopped = True
            self._changed.notify()
        self._thread.join()

    def arm(self) -> None:
        self._say(State.ARMED)

    def take_off(self) -> None:
        self._say(State.TAKING_OFF, State.FLYING)

    def land(self) -> None:
        """Come down; the vehicle is still armed."""
        self._say(State.LANDING, State.LANDED)

    def disarm(self) -> None:
        self._say(State.DISARMED)

    def silence(self) -> None:
        """Say nothing more, as a lost autopilot does; any new state breaks the silence."""
        with self._changed:
            self._silent = True

    def resume(self) -> None:
        """Break the silence with the state that was held."""
        self._say(self.state)

    def _say(self, *states: State) -> None:
        with self._changed:
            self._silent = False
            self._states.extend(states)
            self._changed.notify()

    def _fly(self) -> None:
        with contextlib.ExitStack() as stack:
            wire = stack.enter_context(socket.socket(socket.AF_INET, socket.SOCK_DGRAM))
            if self._card is not None:
                wire.bind(("127.0.0.1", 0))
                self._card.start(wire, self._to)
                stack.callback(self._card.stop)
            voice = mavlink.MAVLink(
                _Sender(wire, self._to), _AUTOPILOT_SYSTEM, _AUTOPILOT_COMPONENT
            )
            with self._changed:
                while not self._stopped:
                    if len(self._states) > 1:
                        self._states.popleft()
                    if not self._silent:
                        self._beat(voice, self._states[0])
                    if len(self._states) == 1:
                        self._changed.wait(1 / self.rate_hz)

    def _beat(self, voice: mavlink.MAVLink, state: State) -> None:
        armed = mavlink.MAV_MODE_FLAG_SAFETY_ARMED if state.armed else 0
        voice.heartbeat_send(
            mavlink.MAV_TYPE_QUADROTOR,
            mavlink.MAV_AUTOPILOT_PX4,
            mavlink.MAV_MODE_FLAG_CUSTOM_MODE_ENABLED | armed,
            0,
            mavlink.MAV_STATE_ACTIVE if state.armed else mavlink.MAV_STATE_STANDBY,
        )
        voice.extended_sys_state_send(mavlink.MAV_VTOL_STATE_UNDEFINED, state.landed_state)
        if self.leaf_status:
            voice.leaf_status_send(state.leaf_status)

    def __enter__(self) -> Flight:
        self.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()


class _Sender:
    """What pymavlink writes to: one message, one datagram."""

    def __init__(self, wire: socket.socket, to: tuple[str, int]) -> None:
        self._wire = wire
        self._to = to

    def write(self, message: bytes) -> None:
        with contextlib.suppress(OSError):  # nothing listens there
            self._wire.sendto(message, self._to)
