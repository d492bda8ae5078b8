"""What libraries say of a failure, in our words: theirs are no sentences for people."""

from __future__ import annotations

import errno
import os
import socket
from collections.abc import Iterable

_CERTIFICATE = (
    ("self-signed", "it is signed by itself"),
    ("self signed", "it is signed by itself"),
    ("hostname mismatch", "it is for another name"),
    ("ip address mismatch", "it is for another address"),
    ("issuer", "its issuer is not known here"),
    ("revoked", "it was revoked"),
)
_NAMED = ("profile", "path", "cred_var", "config_file")


def connection_detail(causes: Iterable[BaseException]) -> str:
    """Why there is no connection: what the system said of it last."""
    for cause in reversed(list(causes)):
        if isinstance(cause, socket.gaierror):
            return "its name is not known here"
        if isinstance(cause, OSError) and cause.errno and cause.errno > 0:
            return os.strerror(cause.errno)
        if isinstance(cause, ConnectionRefusedError):  # made without a number
            return os.strerror(errno.ECONNREFUSED)
    return "the connection was closed, or broke off"


def tls_detail(said: str) -> str:
    """What is wrong with a certificate; ``said``: what the TLS library said of it."""
    told = (ours for theirs, ours in _CERTIFICATE if theirs in said.lower())
    return next(told, "it is not trusted here")


def aws_detail(error: BaseException) -> str:
    """Which profile, file or variable of the AWS settings is meant, in brackets; "": unknown."""
    about = getattr(error, "kwargs", None)
    named = about if isinstance(about, dict) else {}
    told = [f"{name.replace('_', ' ')} {named[name]}" for name in _NAMED if named.get(name)]
    return f" ({', '.join(told)})" if told else ""
