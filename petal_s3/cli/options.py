"""Arguments and options that several commands take."""

from __future__ import annotations

from typing import Annotated

import typer

ForPrograms = Annotated[bool, typer.Option("--json", help="Print JSON, for programs.")]
Key = Annotated[str, typer.Argument(metavar="KEY", help="A key, or s3://bucket/key.")]
RowIds = Annotated[
    list[int],
    typer.Argument(metavar="ID...", help="Rows, as status shows them.", min=1, max=(1 << 63) - 1),
]
