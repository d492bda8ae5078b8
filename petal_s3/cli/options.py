"""Arguments and options that several commands take."""

from __future__ import annotations

from typing import Annotated

import typer

from petal_s3.cli.exit_codes import hush


def _hushed(asked: bool) -> None:
    if asked:
        hush()


Quiet = Annotated[
    bool,
    typer.Option("--quiet", "-q", callback=_hushed, help="Say nothing but what goes wrong."),
]
ForPrograms = Annotated[bool, typer.Option("--json", help="Print JSON, for programs.")]
Key = Annotated[
    str,
    typer.Argument(
        metavar="KEY", help="A key, whole or below the machine's folder, or s3://bucket/key."
    ),
]
RowIds = Annotated[
    list[int],
    typer.Argument(metavar="ID...", help="Rows, as status shows them.", min=1, max=(1 << 63) - 1),
]
