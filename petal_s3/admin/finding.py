"""What a check found: the one value that ``petal-s3 check`` is made of."""

from __future__ import annotations

import contextlib
import pwd
from dataclasses import dataclass
from typing import Literal

from petal_s3.errors import LocalStorageError, S3BucketError, S3IntegrationError
from petal_s3.s3.tls_dates import ADVICE as DATES

State = Literal["ok", "warning", "failed", "skipped"]


def user_name(uid: int) -> str:
    """What a user is called, for people."""
    with contextlib.suppress(KeyError):
        return pwd.getpwuid(uid).pw_name
    return f"user {uid}"


@dataclass(frozen=True)
class Finding:
    """What a check found, and what to do about it; ``not_now``: waiting may help."""

    check: str
    state: State
    found: str
    advice: str = ""
    not_now: bool = False


def trouble(check: str, error: S3IntegrationError, advice: str = "") -> Finding:
    """A check that ended with ``error``."""
    person = isinstance(error, S3BucketError | LocalStorageError)
    # Keys do not change by themselves.
    person = person or error.code in _OF_A_PERSON
    not_now = error.waiting_helps and not person
    return Finding(check, "failed", error.message, advice or _advice(error), not_now)


_OF_A_PERSON = {"credentials_refused", "credentials_unsendable", "token_service_login"}
_ADVICE = {
    "token_service_down": "Check the network, and that PETAL_S3_SESSION_TOKEN_URL names the token"
    " service; or ask whoever runs it.",
    "token_service_login": "Correct PETAL_S3_SESSION_TOKEN_FILE or PETAL_S3_SESSION_TOKEN_CERT.",
    "token_service_refused": "Have this machine registered at the token service.",
    "token_service_nonsense": "Check that PETAL_S3_SESSION_TOKEN_URL names the token service, and"
    " that no login page of the network answers in its place.",
    "tls": "Check PETAL_S3_ENDPOINT_URL, and that no proxy answers in place of S3; a certificate"
    " authority of your own has to be known to this machine.",
    "tls_dates": f"{DATES[0].upper()}{DATES[1:]}.",
    "offline": "Check the network (cable, Wi-Fi, route, name server) and PETAL_S3_ENDPOINT_URL;"
    " logs wait in the outbox meanwhile.",
    "not_s3": "Check PETAL_S3_ENDPOINT_URL, and whether the network wants a login in a browser.",
    "clock": "Check that no proxy or cache changes the requests.",
    "throttled": "Wait: S3 asks for it.",
    "credentials_refused": "Check the access key, and whom it belongs to.",
    "credentials_unsendable": "Correct it where it is set, a line break at its end perhaps.",
    "credentials_expired": "Have the token service give credentials that live longer.",
    "aws_settings": "Correct them, or set PETAL_S3_SESSION_TOKEN_URL.",
    "no_credentials": "Set PETAL_S3_SESSION_TOKEN_URL, or the AWS_... variables.",
}


def _advice(error: S3IntegrationError) -> str:
    """What to do about an error wherever it is met; empty where its sentence says it."""
    return _ADVICE.get(error.code, "")
