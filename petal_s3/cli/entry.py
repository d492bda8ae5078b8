"""Where ``petal-s3`` begins: what is asked most by other programs needs none of the commands."""

from __future__ import annotations

import os
import sys
from pathlib import Path

from petal_s3 import __version__

_AUTHORITIES = "SSL_CERT_FILE"


def main() -> None:
    """Entry point of ``petal-s3``."""
    if sys.argv[1:] == ["--version"]:
        sys.stdout.write(f"petal-s3 {__version__}\n")
        return
    # Else pydantic reads the entry points of all that is installed, to find plugins of its own.
    os.environ.setdefault("PYDANTIC_DISABLE_PLUGINS", "__all__")
    _check_authorities()
    from petal_s3.cli.main import main as commands  # noqa: PLC0415 - slow

    commands()


def _check_authorities() -> None:
    """End where OpenSSL would wait for ever: aiohttp has it read this file when it is imported."""
    named = os.environ.get(_AUTHORITIES)
    if not named or named == os.devnull:
        return
    from petal_s3.core.files import not_a_file  # noqa: PLC0415 - mostly there is none

    found = not_a_file(Path(named))
    if found and found != "a directory":  # OpenSSL reads nothing from one
        sys.stderr.write(f"{_AUTHORITIES} names {named}, which is {found}: a file is expected.\n")
        sys.exit(2)
