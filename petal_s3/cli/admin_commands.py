"""The commands of an administrator: bucket setup and bucket policy."""

from __future__ import annotations

import contextlib
import dataclasses
from collections.abc import AsyncIterator, Collection, Coroutine
from typing import TYPE_CHECKING, Annotated, Any

import typer

from petal_s3.admin import iam_policy
from petal_s3.admin.removable import Removable
from petal_s3.cli.bucket_options import (
    AccessLogs,
    ExpireVersions,
    Machines,
    Origins,
    Removed,
    TlsOnly,
)
from petal_s3.cli.exit_codes import (
    DONE,
    FAILED,
    Sentences,
    complain,
    exit_code,
    print_document,
    print_json,
    run,
)
from petal_s3.cli.options import ForPrograms
from petal_s3.core.machine_ids import machine_ids
from petal_s3.core.settings import Settings
from petal_s3.core.settings_loading import load_settings
from petal_s3.core.settings_rules import valid_machine_id
from petal_s3.errors import BadInput, LocalStorageError, S3IntegrationError, as_json, plain
from petal_s3.objects.ownership import KeyOwnership

if TYPE_CHECKING:
    from petal_s3.admin.bucket_setup import DesiredBucket
    from petal_s3.admin.steps import Step

Json = dict[str, Any]

_SETS_TLS_ONLY = (
    "Warning: PETAL_S3_ENDPOINT_URL is http://, and with the TLS-only policy a server that obeys it"
    " refuses petal-s3 there: use https://, or take it back with --remove tls-only."
)
_LEAVES_TLS_ONLY = (
    "The TLS-only policy is left out: PETAL_S3_ENDPOINT_URL is http://, and a server that obeys it"
    " would refuse every machine there. --tls-only sets it all the same."
)

app = typer.Typer(
    cls=Sentences, no_args_is_help=True, help="Set up the bucket and its permissions."
)


# -- bucket setup


@app.command()
def setup(  # noqa: PLR0913, PLR0917 - each is an option
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Only say what would be changed.")
    ] = False,
    machines: Machines = None,
    origins: Origins = None,
    access_logs: AccessLogs = None,
    expire_versions: ExpireVersions = None,
    tls_only: TlsOnly = None,
    removed: Removed = None,
    for_programs: ForPrograms = False,
) -> None:
    """Bring the bucket and its settings to the desired state; a second run changes nothing."""
    settings = load_settings()
    if removed and (origins or access_logs or expire_versions or tls_only is not None):
        raise BadInput("--remove only takes back: of the other options it takes --machine.")
    desired = _desired(settings, machines or [], origins or [], access_logs, tls_only=tls_only)
    desired = dataclasses.replace(desired, expire_versions=expire_versions)
    if removed:
        desired = dataclasses.replace(desired, machines=desired.machines if machines else ())
    elif desired.over_http and tls_only is not False:
        complain(_SETS_TLS_ONLY if tls_only else _LEAVES_TLS_ONLY)
    steps: list[Step] = []
    coming = _steps(settings, desired, removed or [], dry_run=dry_run)
    work = _setup(coming, steps, aloud=not for_programs)
    if for_programs:
        raise typer.Exit(_setup_json(work, desired, steps, dry_run=dry_run))
    run(work)
    if not desired.machines and not removed:
        complain("No machine is known here, so no rule expires its tmp/: name some by --machine.")
    if dry_run:
        complain("Nothing was changed: this was a dry run.")
    raise typer.Exit(DONE if all(step.fine for step in steps) else FAILED)


def _desired(
    settings: Settings,
    machines: list[str],
    origins: list[str],
    access_logs: str | None,
    *,
    tls_only: bool | None,
) -> DesiredBucket:
    from petal_s3.admin.bucket_setup import DesiredBucket  # noqa: PLC0415 - slow

    return DesiredBucket(
        bucket=settings.bucket_name,
        region=settings.region,
        sse=settings.sse,
        upload_prefix=settings.upload_prefix,
        on_aws=settings.endpoint_url is None,
        machines=_machines(settings, machines),
        origins=origins,
        tls_only=not settings.over_http if tls_only is None else tls_only,
        over_http=settings.over_http,
        access_logs=_log_target(access_logs),
    )


def _machines(settings: Settings, named: list[str]) -> list[str]:
    """The machines whose tmp/ expires: those named, else this one where it is one."""
    try:
        ids = [valid_machine_id(one) for one in named]
    except ValueError as error:
        raise BadInput(f"--machine: {error}.") from None
    # Not /etc/machine-id: an administrator's computer is no drone.
    ids = ids or [one for one in (settings.machine_id, _known(settings)) if one]
    for one in ids:
        KeyOwnership(settings.upload_prefix, (one,))  # refuses ids that name a shared folder
    return list(dict.fromkeys(ids))


def _known(settings: Settings) -> str | None:
    """The id that the host has, or had when it drained last."""
    from petal_s3.host.local_service import (  # noqa: PLC0415 - slow, and not for every command
        asked_machine_id,
        told_machine_id,
    )

    known = ""
    with contextlib.suppress(LocalStorageError):  # of another user: it has no part in this
        known = told_machine_id(settings)
    return known or asked_machine_id(settings)


def _log_target(text: str | None) -> tuple[str, str] | None:
    if text is None:
        return None
    name, _, prefix = text.removeprefix("s3://").partition("/")
    if not name:
        raise BadInput("--access-logs: BUCKET or BUCKET/PREFIX is expected.")
    return name, prefix


def _steps(
    settings: Settings, desired: DesiredBucket, removed: Collection[Removable], *, dry_run: bool
) -> AsyncIterator[Step]:
    from petal_s3.admin.bucket_setup import setup_steps  # noqa: PLC0415 - slow
    from petal_s3.admin.removal import removal_steps  # noqa: PLC0415 - slow

    if removed:
        return removal_steps(settings, desired, removed, dry_run=dry_run)
    return setup_steps(settings, desired, dry_run=dry_run)


async def _setup(coming: AsyncIterator[Step], steps: list[Step], *, aloud: bool) -> None:
    async for step in coming:
        steps.append(step)
        if aloud:
            _say(step)


def _setup_json(
    work: Coroutine[None, None, None], desired: DesiredBucket, steps: list[Step], *, dry_run: bool
) -> int:
    code, error = DONE, {}
    try:
        run(work)
    except S3IntegrationError as stopped:
        code, error = exit_code(stopped), as_json(stopped)
    if not all(step.fine for step in steps):
        code = code or FAILED
    said = [dataclasses.asdict(step) for step in steps]
    found = {"bucket": desired.bucket, "dry_run": dry_run, "done": code == DONE, "steps": said}
    print_json({**found, **error})
    return code


def _say(step: Step) -> None:
    typer.echo(f"{step.name:<12} {step.outcome:<12} {plain(step.reason)}".rstrip())
    for change in step.changes:
        typer.echo(f"{'':<12} {plain(change)}")


# -- bucket policy


@app.command("policy")
def policy_(
    machine: Annotated[
        str | None, typer.Option("--machine", metavar="ID", help="Else this machine.")
    ] = None,
    delete: Annotated[
        bool, typer.Option("--delete/--no-delete", help="Whether it may delete and move.")
    ] = True,
    for_programs: Annotated[  # noqa: ARG001 - accepted, so that scripts need not know
        bool, typer.Option("--json", help="It is JSON anyway.")
    ] = False,
) -> None:
    """Print the least that IAM must allow one machine; sends no request."""
    settings = load_settings()
    document = iam_policy.machine_policy(
        ownership_of(settings, machine), region=settings.region, sse=settings.sse, delete=delete
    )
    size = len(iam_policy.packed(document))
    if size > iam_policy.SESSION_POLICY_CHARS:
        complain(
            f"Packed, this policy has {size} characters: too long for a session policy"
            f" ({iam_policy.SESSION_POLICY_CHARS}); attach it to the machine's role."
        )
    print_document(document)


def ownership_of(settings: Settings, machine: str | None = None) -> KeyOwnership:
    """The keys of ``machine``, else of this machine; raises :class:`BadInput`."""
    if machine is None:
        ids = machine_ids(settings.machine_id, _known(settings))
    else:
        ids = tuple(_machines(settings, [machine]))
    return KeyOwnership(settings.upload_prefix, ids, settings.bucket_name)
