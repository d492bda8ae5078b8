"""Certificates outside their dates: taken on request, while this device's clock must be wrong."""

from __future__ import annotations

import ssl
import time
from typing import Any

from petal_s3.core.clock import Clock
from petal_s3.core.release import RELEASED, RELEASED_S

_X509_NO_CHECK_TIME = 0x200000
_SETTING = "PETAL_S3_TLS_IGNORE_DATES=true"
_COUNTS = f"counts only while the clock is before {RELEASED}, when this petal-s3 was made"
ADVICE = f"set the clock, or have the certificate renewed; {_SETTING} {_COUNTS}"


def unfit(said: str, now: float) -> str:
    """What is wrong with the dates of a certificate, and what to do; follows the certificate.

    ``said``: the words of the TLS library; ``now``: the device's date, in seconds since 1970.
    """
    if now < RELEASED_S:
        return f"does not fit this device's date: set the clock, or set {_SETTING}, which {_COUNTS}"
    if "expired" in said:
        advice = f"have it renewed, or set the clock where that is ahead; {_SETTING} {_COUNTS}"
        return f"has expired: {advice}"
    return f"is not valid yet: {ADVICE}"


class DatelessContext(ssl.SSLContext):
    """Ignores the dates of certificates, and nothing else, while the clock is before the release.

    It decides at each handshake: a device that starts in 1970 learns the date later.
    """

    wall: Clock = staticmethod(time.time)
    """The device's own date, in seconds since 1970."""

    def wrap_bio(self, *args: Any, **more: Any) -> ssl.SSLObject:
        """Begin a handshake."""
        if self.wall() < RELEASED_S:
            self.verify_flags |= _X509_NO_CHECK_TIME
        else:
            self.verify_flags &= ~ssl.VerifyFlags(_X509_NO_CHECK_TIME)
        return super().wrap_bio(*args, **more)


def dateless(context: ssl.SSLContext, wall: Clock) -> ssl.SSLContext:
    """Have ``context`` ignore dates while ``wall`` is before the release; returns it."""
    context.__class__ = DatelessContext
    vars(context)["wall"] = wall
    return context
