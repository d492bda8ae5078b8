"""The command line; imports everything below it."""

from __future__ import annotations

import sys


def _keep_out(*packages: str) -> None:
    """Import the outbox without ``packages``; they can be imported afterwards as ever.

    sqlite-utils imports them where they are installed, for types that no value of ours has: that
    takes longer than a command. None in ``sys.modules`` stands for a package that is not there.
    Only here, where no other thread imports anything.
    """
    absent = {name: None for name in packages if name not in sys.modules}
    sys.modules.update(absent)  # type: ignore[arg-type]
    try:
        import petal_s3.outbox.database  # noqa: F401, PLC0415 - while they are kept out
    finally:
        for name in absent:
            del sys.modules[name]


_keep_out("numpy", "pandas")
