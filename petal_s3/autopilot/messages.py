"""Messages of MAVLink as pymavlink makes and understands them; imported where it is needed.

In the host this is the pymavlink that the host brings; stand-alone that of ``petal-s3[mavlink]``.
"""

from __future__ import annotations

from typing import Protocol, cast

from petal_s3.intake.flight_state import Heartbeat


class Message(Protocol):
    """What is used of every message."""

    def get_type(self) -> str:
        """Its name, like HEARTBEAT."""

    def get_srcSystem(self) -> int:  # noqa: N802 - pymavlink's name
        """The system that sent it."""

    def get_srcComponent(self) -> int:  # noqa: N802 - pymavlink's name
        """The component that sent it."""


class _HeartbeatFields(Message, Protocol):
    autopilot: int
    type: int
    base_mode: int


class _LandedFields(Message, Protocol):
    landed_state: int


class _FileTransferFields(Message, Protocol):
    payload: list[int]
    target_system: int
    target_component: int


def heartbeat(message: Message) -> Heartbeat:
    """What a HEARTBEAT says."""
    said = cast("_HeartbeatFields", message)
    return Heartbeat(
        system=said.get_srcSystem(),
        component=said.get_srcComponent(),
        autopilot=said.autopilot,
        type=said.type,
        base_mode=said.base_mode,
    )


def landed_state(message: Message) -> int:
    """What an EXTENDED_SYS_STATE says."""
    return int(cast("_LandedFields", message).landed_state)


def file_transfer(system: int, component: int, payload: bytes) -> object:
    """A FILE_TRANSFER_PROTOCOL to this component, of the dialect that is in use."""
    from pymavlink import mavutil  # noqa: PLC0415 - not always there

    message: object = mavutil.mavlink.MAVLink_file_transfer_protocol_message(
        0, system, component, payload
    )
    return message


def transferred(message: Message, system: int | None, ours: tuple[int, int] | None) -> bytes | None:
    """The payload of a FILE_TRANSFER_PROTOCOL from ``system`` to ``ours``; none of another.

    ``ours``: system and component, either of which a sender may leave at 0; none: any.
    """
    said = cast("_FileTransferFields", message)
    if said.get_srcSystem() != system:
        return None
    to = (said.target_system, said.target_component)
    if ours is not None and any(one not in {0, our} for one, our in zip(to, ours, strict=True)):
        return None
    return bytes(said.payload)
