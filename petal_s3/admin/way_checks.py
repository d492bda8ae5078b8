"""Check what others can learn: on this machine, and on the way to S3 and the token service."""

from __future__ import annotations

import os
import time
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import urlsplit

from petal_s3.admin.finding import Finding, user_name
from petal_s3.core.files import not_a_file
from petal_s3.core.release import RELEASED, RELEASED_S
from petal_s3.core.settings import Settings
from petal_s3.core.settings_yaml import HOST_TOKEN_URL, config_file, read_yaml
from petal_s3.core.urls import holds_secret
from petal_s3.errors import S3IntegrationError
from petal_s3.objects.ownership import KeyOwnership
from petal_s3.s3.plain_http import is_loopback
from petal_s3.s3.token_login import CERTIFICATE, TOKEN_FILE, open_to_others
from petal_s3.service import open_way

_FLEET = (
    "nothing but PETAL_S3_SESSION_TOKEN_URL is asked of this machine: the URL is the key of the"
    " whole fleet"
)


def the_way(settings: Settings, _ownership: KeyOwnership) -> Iterator[Finding]:
    """Whether requests leave this machine without TLS; and a login that is never sent."""
    for said in open_way.advice(settings):
        found, _, advice = said.partition(". ")
        yield Finding("plain http", "warning", found, advice)
    if settings.endpoint_url and holds_secret(settings.endpoint_url):
        yield Finding(
            "endpoint",
            "warning",
            "PETAL_S3_ENDPOINT_URL holds a login, a query or a fragment: that is not sent, as"
            " requests to S3 are signed",
            "Take it out.",
        )
    if settings.tls_ignore_dates:
        while_so = f"are ignored only while this device's clock is before {RELEASED}"
        now = "it is" if time.time() < RELEASED_S else "it is not: they are checked"
        yield Finding("certificates", "ok", f"dates {while_so}; {now}")


def token_login(settings: Settings, _: KeyOwnership) -> Iterator[Finding]:
    """How this machine authenticates to the token service; blocking."""
    files = {TOKEN_FILE: settings.session_token_file, CERTIFICATE: settings.session_token_cert}
    yield from _logged_by_the_host()
    if settings.session_token_url is None:
        idle = [setting for setting, file in files.items() if file is not None]
        if idle:
            found = f"{' and '.join(idle)} without PETAL_S3_SESSION_TOKEN_URL: it is not used"
            yield Finding("token service", "warning", found, "Set PETAL_S3_SESSION_TOKEN_URL.")
        return
    if not any(files.values()):
        yield _key_of_the_fleet(settings.session_token_url)
    for setting, file in files.items():
        if file is not None:
            yield from _private("token service", setting, file, uploading_user(settings))


def _logged_by_the_host() -> Iterator[Finding]:
    """The host's own bucket proxy writes the URL that it asks into its log when that fails."""
    if holds_secret(os.environ.get(HOST_TOKEN_URL, "")):
        yield Finding(
            "the host's log",
            "warning",
            f"{HOST_TOKEN_URL} holds a secret, and the host reads it, too: it writes the whole URL"
            " into its log when the token service cannot be reached",
            "Set PETAL_S3_SESSION_TOKEN_URL in its place, which only petal-s3 reads.",
        )


def _key_of_the_fleet(url: str) -> Finding:
    if is_loopback(urlsplit(url).hostname or ""):
        return Finding("token service", "ok", f"{_FLEET}; here only this machine reaches it")
    advice = f"Set {TOKEN_FILE} or {CERTIFICATE}, and have the token service ask for it."
    return Finding("token service", "warning", _FLEET, advice)


def settings_file(settings: Settings, _: KeyOwnership) -> Iterator[Finding]:
    """Whether others can read a secret in the settings file; blocking."""
    file = config_file()
    held = _secrets_in(file) if file is not None else []
    if file is not None and held:
        what = f"{', '.join(held)} in the settings file"
        yield from _private("settings file", what, file, uploading_user(settings))


def _secrets_in(file: Path) -> list[str]:
    try:
        found = read_yaml(file)
    except S3IntegrationError:  # said where the settings are loaded
        return []
    return [
        name
        for name, value in found.items()
        if name == "api_token" or (name.endswith("_url") and holds_secret(str(value)))
    ]


def _private(check: str, what: str, file: Path, uploader: int) -> Iterator[Finding]:
    """Who else may read the secret ``what`` in ``file``; ``uploader``: the id of who may."""
    try:
        mode, owner = open_to_others(file), file.stat().st_uid
    except OSError:  # said where it is read
        return
    if not_a_file(file):
        return
    if mode:
        found = f"{what} is a secret, and {file} has mode {mode}: others may read or change it"
        yield Finding(check, "warning", found, f"chmod 600 {file}")
    elif owner in {0, uploader}:
        found = f"{what} is read from {file}, which belongs to {user_name(owner)} and which others"
        yield Finding(check, "ok", f"{found} cannot read")
    else:
        found = f"{what} is a secret, and {file} belongs to {user_name(owner)}, who may read and"
        advice = f"chown {user_name(uploader)} {file}"
        yield Finding(check, "warning", f"{found} change it", advice)


def uploading_user(settings: Settings) -> int:
    """The id of the user who uploads: whose the state directory is; else the one who asks."""
    try:
        return settings.state_dir.stat().st_uid
    except OSError:
        return os.geteuid()
