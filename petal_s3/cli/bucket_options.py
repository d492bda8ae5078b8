"""The options of ``bucket setup``."""

from __future__ import annotations

from typing import Annotated

import typer

from petal_s3.admin.removable import Removable

_REMOVABLE = ", ".join(one.value for one in Removable)

Machines = Annotated[
    list[str] | None,
    typer.Option("--machine", metavar="ID", help="A machine whose tmp/ expires; repeatable."),
]
Origins = Annotated[
    list[str] | None,
    typer.Option(
        "--origin",
        metavar="URL",
        help="Pages that may use presigned URLs; else those named before.",
    ),
]
AccessLogs = Annotated[
    str | None,
    typer.Option("--access-logs", metavar="BUCKET[/PREFIX]", help="Where access is logged."),
]
ExpireVersions = Annotated[
    int | None,
    typer.Option(
        "--expire-versions",
        metavar="DAYS",
        min=1,
        help="Erase what was overwritten or deleted after so many days, in the whole bucket.",
    ),
]
TlsOnly = Annotated[
    bool | None,
    typer.Option(
        "--tls-only/--no-tls-only",
        help="Refuse requests without TLS; else unless the endpoint is http://.",
    ),
]
Removed = Annotated[
    list[Removable] | None,
    typer.Option(
        "--remove", metavar="STEP", help=f"Take back only this: {_REMOVABLE}; repeatable."
    ),
]
