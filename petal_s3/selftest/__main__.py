"""``python -m petal_s3.selftest``: the same as ``petal-s3 selftest``."""

from __future__ import annotations

import argparse
import sys

from petal_s3.selftest.running import selftest


def main() -> int:
    """Run every check; return the exit code."""
    parser = argparse.ArgumentParser(prog="python -m petal_s3.selftest", description=__doc__)
    parser.add_argument("--json", action="store_true", help="Print JSON, for programs.")
    return selftest(for_programs=parser.parse_args().json)


if __name__ == "__main__":
    sys.exit(main())
