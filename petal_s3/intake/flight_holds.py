"""The closed list of sentences that say why the vehicle allows no upload."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Hold:
    """Why the vehicle allows no upload: a stable code, and a sentence for people."""

    code: str
    sentence: str


ARMED = Hold("armed", "The vehicle is armed; uploads wait until it has landed.")
LOST = Hold("armed", "Contact with the armed vehicle was lost; uploads wait 10 minutes.")
ARMED_UNHEARD = Hold(
    "armed",
    "The vehicle was armed when it was last heard, and the host cannot hear it now, because its"
    " MAVLink lock is held, as by a download from the autopilot; uploads wait until it is heard.",
)
SILENT = Hold(
    "silent",
    "The autopilot has been silent for 10 s, so the vehicle may be armed; uploads wait until it is"
    " heard, for at most 10 minutes.",
)
DEAF = Hold(
    "deaf",
    "The host cannot hear whether the vehicle arms, because its MAVLink lock is held, as by a"
    " download from the autopilot; uploads wait until the autopilot is heard again. If nothing is"
    " downloaded, restart the host.",
)
UNHEARD = Hold(
    "silent",
    "The host can hear again, but has not heard the autopilot yet; uploads wait until it has, for"
    " at most 10 minutes.",
)
LISTENING = Hold("listening", "Listening for up to 30 s whether the vehicle is armed.")
LISTENING_DEAF = Hold(
    "deaf",
    "The host cannot hear whether there is an autopilot, because its MAVLink lock is held; uploads"
    " wait until it can, for at most 10 minutes.",
)

ASK_ARMED = Hold("armed", "The vehicle is armed; the autopilot's card is read after the landing.")
ASK_SILENT = Hold("silent", "The autopilot is not heard; its card is read when it is.")
ASK_DEAF = Hold(
    "deaf",
    "The host uses its MAVLink connection itself, as for a download from the autopilot; the card is"
    " read afterwards.",
)


def declared_armed(since: str) -> Hold:
    """Why nothing is sent after ``POST /flight``; ``since``: when that was said, for people."""
    when = f" at {since}" if since else ""
    return Hold(
        "armed",
        f"The vehicle was said to be armed{when} (POST /flight); uploads wait until POST /flight"
        ' says {"armed": false}, the autopilot is heard, or the machine is started again.',
    )
