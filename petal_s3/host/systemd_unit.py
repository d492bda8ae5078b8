"""Make ``petal-s3 serve`` a service of systemd, as the settings of this machine need it."""

from __future__ import annotations

import os
import pwd
import re
import stat
import sys
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from petal_s3.core.files import cannot_write
from petal_s3.core.settings import Settings
from petal_s3.core.settings_loading import check_settings
from petal_s3.errors import NotAllowed
from petal_s3.host import settings_file
from petal_s3.host.yaml_file import Change, Json, backup, read, write
from petal_s3.web.origins import is_loopback

NAME = "petal-s3.service"
USER = "petal-s3"
STATE_DIR = Path("/var/lib/petal-s3")
SECRETS = Path("/etc/petal-s3.env")
_UNITS = Path("etc/systemd/system")
_PACKAGED = (Path("lib/systemd/system"), Path("usr/lib/systemd/system"))
_USERS = Path("etc/sysusers.d/petal-s3.conf")
_START = re.compile(r"^ExecStart=.*$", re.MULTILINE)
_ANY_BUCKET = "not-yet-named"


@dataclass(frozen=True)
class Place:
    """Where things are: the file system whose ``etc`` is written, the settings, the command."""

    root: Path
    settings_file: Path
    command: Sequence[str]


def install(place: Place, given: Mapping[str, str]) -> list[str]:
    """Write settings, unit, user and what the settings need; say what was done and what is left.

    Nothing is started. All files or none. Raises as :func:`petal_s3.host.install.install`.
    """
    planned, settings, said = _settings(place, given)
    user = owner_of(settings.state_dir)
    changes = [*planned, *_unit(place, user), *_drop_in(place, settings)]
    if user == USER:
        changes += _text(place.root / _USERS, f'u {USER} - "petal-s3" {STATE_DIR}\n')
    _make_folders(place.root)
    write(changes)
    said += [f"Wrote {change.path}." for change in changes if change not in planned]
    if user != USER:
        said.append(f"It runs as {user}, to whom the outbox in {settings.state_dir} belongs.")
    said += _cannot_read(settings, user)
    if settings.bucket_name == _ANY_BUCKET:
        said.append(f"Still to be set: bucket_name in {place.settings_file}.")
    if not is_loopback(settings.api_host):
        said.append(
            f"Others can reach {settings.api_host}: PETAL_S3_API_TOKEN has to stand in {SECRETS}."
        )
    users = "sudo systemd-sysusers && " if user == USER else ""
    return [
        *said,
        f"Now: {users}sudo systemctl daemon-reload && sudo systemctl enable --now petal-s3",
        f"Then: sudo -u {user} {' '.join(place.command)} check",
    ]


def command_of(prefix: str = sys.prefix) -> list[str]:
    """How this petal-s3 is called, by whole paths."""
    script = Path(prefix) / "bin" / "petal-s3"
    return [str(script)] if script.is_file() else [sys.executable, "-m", "petal_s3"]


def unit_text() -> str:
    """The unit, in the package, or in ``contrib`` of a checkout."""
    here = Path(__file__).parents[1]
    places = (here / NAME, here.parent / "contrib" / NAME)
    return next(one for one in places if one.is_file()).read_text("utf-8")


def owner_of(state_dir: Path) -> str:
    """As whom the service runs: the owner of an outbox that is there, else a user of its own.

    Raises :class:`NotAllowed` where it belongs to root: an outbox of root cannot be used by others.
    """
    try:
        uid = (state_dir / "outbox.db").stat().st_uid
    except OSError:
        return USER
    if uid == 0:
        raise NotAllowed(
            f"The outbox in {state_dir} belongs to root, as whom the service does not run: name"
            f" another state_dir, or give the directory away (chown -R USER {state_dir})."
        )
    try:
        return pwd.getpwuid(uid).pw_name
    except KeyError:
        return str(uid)


# -- the files


def _settings(place: Place, given: Mapping[str, str]) -> tuple[list[Change], Settings, list[str]]:
    file = place.settings_file
    old: Json = read(file)[1] if file.is_file() else {}
    wanted = dict(given)
    if "state_dir" not in old:
        wanted.setdefault("state_dir", str(STATE_DIR))
    planned, now, said = settings_file.plan(file, wanted)
    return planned, check_settings({"bucket_name": _ANY_BUCKET, **now}), said


def _unit(place: Place, user: str) -> list[Change]:
    start = f"ExecStart={' '.join(map(_word, place.command))} serve"
    text = _START.sub(lambda _: start, unit_text())
    if user != USER:
        text = text.replace(f"User={USER}\nGroup={USER}\n", f"User={user}\n")
    for folder in _PACKAGED:  # as the package of the distribution brings it
        packaged = place.root / folder / NAME
        if packaged.is_file() and packaged.read_text("utf-8") == text:
            return []
    return _text(place.root / _UNITS / NAME, text)


def _drop_in(place: Place, settings: Settings) -> list[Change]:
    lines = [*_needs(settings)]
    named = os.environ.get("PETAL_S3_CONFIG")
    if named:
        lines.append(f"Environment={_word(f'PETAL_S3_CONFIG={place.settings_file}')}")
    path = place.root / _UNITS / f"{NAME}.d" / "10-settings.conf"
    if not lines and not path.exists():
        return []
    title = "# What the settings need; `petal-s3 serve --install-systemd` writes it anew.\n"
    text = "\n".join([f"{title}[Service]", *lines, ""])
    return _text(path, text)


def _needs(settings: Settings) -> Iterator[str]:
    if settings.state_dir != STATE_DIR:
        yield "StateDirectory="
        yield f"ReadWritePaths={_word(str(settings.state_dir))}"
    if settings.retention_days or settings.min_free_bytes:
        for directory in settings.log_dirs:  # "-": it may come later
            yield f"ReadWritePaths={_word(f'-{directory}')}"
    if settings.autopilot_trace is not None:
        yield f"ReadWritePaths={_word(f'-{settings.autopilot_trace.parent}')}"
    device = (settings.autopilot or "").partition(":")[0]
    if device.startswith("/dev/"):
        yield "PrivateDevices=no"
        yield "DevicePolicy=closed"
        yield f"DeviceAllow={_word(device)} rw"
        yield "SupplementaryGroups=dialout"


def _word(text: str) -> str:
    """One word of a line of a unit (systemd.syntax(7), systemd.unit(5) on percent signs)."""
    text = text.replace("%", "%%")
    if re.fullmatch(r"[\w./:=@%+,-]+", text):
        return text
    return '"{}"'.format(text.replace("\\", "\\\\").replace('"', '\\"'))


def _text(path: Path, text: str) -> list[Change]:
    if not path.is_file():
        return [Change(path, text)]
    before = path.read_text("utf-8")
    return [] if before == text else [backup(path, before), Change(path, text)]


def _make_folders(root: Path) -> None:
    for path in (root / _UNITS / f"{NAME}.d", (root / _USERS).parent):
        try:
            path.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            said = f"{path} cannot be made ({error.strerror}); nothing was changed."
            raise cannot_write(said, error) from error


# -- what is left to a person


def _cannot_read(settings: Settings, user: str) -> list[str]:
    """What a user of its own lacks to see the logs, as the modes of directories tell it."""
    if user != USER:
        return []
    said = []
    for directory in settings.log_dirs:
        closed = [one for one in (directory, *directory.parents) if _is_closed(one)]
        ways = [one for one in closed if one != directory]
        if closed:
            enter = "".join(f" && sudo setfacl -m u:{USER}:x {one}" for one in ways)
            said.append(
                f"{USER} may not read {directory}: sudo setfacl -R -m u:{USER}:rX"
                f" -m d:u:{USER}:rX {directory}{enter}"
            )
    return said


def _is_closed(directory: Path) -> bool:
    try:
        mode = directory.stat().st_mode
    except OSError:
        return False
    return not mode & stat.S_IXOTH
