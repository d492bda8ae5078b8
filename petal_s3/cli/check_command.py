"""The command that tries everything a log needs on its way: check."""

from __future__ import annotations

import dataclasses

import typer

from petal_s3.admin.finding import Finding, trouble
from petal_s3.cli.admin_commands import ownership_of
from petal_s3.cli.exit_codes import DONE, FAILED, NOT_NOW, print_json, run
from petal_s3.cli.options import ForPrograms
from petal_s3.core.packages import unfit
from petal_s3.core.settings import Settings
from petal_s3.core.settings_loading import load_settings
from petal_s3.errors import plain
from petal_s3.objects.ownership import KeyOwnership

_SIGNS = {"ok": "ok", "warning": "warning", "failed": "FAILED", "skipped": "skipped"}

app = typer.Typer()


@app.command()
def check(for_programs: ForPrograms = False) -> None:
    """Try everything that a log needs on its way, and say what to do; leaves nothing behind."""
    settings = load_settings()
    findings: list[Finding] = []
    wrong = unfit()
    if wrong is None:
        ownership = ownership_of(settings)
        run(_check(settings, ownership, findings, aloud=not for_programs))
    else:  # the checks themselves could not be loaded
        _found(trouble("packages", wrong), findings, aloud=not for_programs)
    failed = [one for one in findings if one.state == "failed"]
    code = DONE if not failed else NOT_NOW if all(one.not_now for one in failed) else FAILED
    if for_programs:
        said = [dataclasses.asdict(one) for one in findings]
        print_json({"done": code == DONE, "checks": said})
    raise typer.Exit(code)


async def _check(
    settings: Settings, ownership: KeyOwnership, findings: list[Finding], *, aloud: bool
) -> None:
    from petal_s3.admin.checkup import checkup  # noqa: PLC0415 - slow, and only for this

    async for finding in checkup(settings, ownership):
        _found(finding, findings, aloud=aloud)


def _found(finding: Finding, findings: list[Finding], *, aloud: bool) -> None:
    findings.append(finding)
    if aloud:
        typer.echo(f"{_SIGNS[finding.state]:<8} {finding.check}: {plain(finding.found)}")
        if finding.advice:
            typer.echo(f"{'':<8} {plain(finding.advice)}")
