"""Where ``petal-s3`` begins: what is asked most by other programs needs none of the commands."""

from __future__ import annotations

import os
import sys

from petal_s3 import __version__


def main() -> None:
    """Entry point of ``petal-s3``."""
    if sys.argv[1:] == ["--version"]:
        sys.stdout.write(f"petal-s3 {__version__}\n")
        return
    # Else pydantic reads the entry points of all that is installed, to find plugins of its own.
    os.environ.setdefault("PYDANTIC_DISABLE_PLUGINS", "__all__")
    from petal_s3.cli.main import main as commands  # noqa: PLC0415 - slow

    commands()
