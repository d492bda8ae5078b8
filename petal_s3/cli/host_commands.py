"""The commands that register the petal in the host, and take it out again."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Annotated

import typer

Root = Annotated[
    Path | None,
    typer.Option("--root", help="Where the host looks for proxies.yaml; else it is found."),
]

app = typer.Typer(no_args_is_help=True, help="Register the petal in petal-app-manager.")


@app.command()
def install(
    root: Root = None,
    settings: Annotated[
        list[str] | None,
        typer.Option("--set", metavar="NAME=VALUE", help="A setting for the settings file."),
    ] = None,
    force: Annotated[
        bool, typer.Option("--force", help="Change what the settings file says otherwise.")
    ] = False,
) -> None:
    """Load the petal at the host's next start, and give host and command line one outbox."""
    from petal_s3.core.settings_yaml import CONFIG_FILE, PREFIX  # noqa: PLC0415 - slow
    from petal_s3.host import install as host_files  # noqa: PLC0415 - slow
    from petal_s3.host import settings_file  # noqa: PLC0415 - slow

    given, left_out = settings_file.given_now(os.environ, settings or [])
    named = os.environ.get(f"{PREFIX}CONFIG")
    file = Path(os.path.abspath(named)) if named else CONFIG_FILE  # noqa: PTH100
    said = host_files.install(host_files.find_root(root), file, given, force=force)
    if named:
        said.append(f"Host and shells must have {PREFIX}CONFIG={file} in their environment.")
    for sentence in [*said, *left_out]:
        typer.echo(sentence)


@app.command()
def remove(root: Root = None) -> None:
    """Take the petal out of the host again; settings and outbox stay."""
    from petal_s3.host import install as host_files  # noqa: PLC0415 - slow

    for sentence in host_files.remove(host_files.find_root(root)):
        typer.echo(sentence)
