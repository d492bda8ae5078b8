"""Upload the logs of a folder and say what is up; with --copy download them again, and compare.

    python bring_home.py ~/logs [--copy FOLDER]

Settings come from the environment or the settings file: README.md. Exit codes as petal-s3 has them:
0 all is proven, 1 something failed, 3 not now: what waits is in the outbox, and goes up later.
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

from petal_s3 import S3Client, S3IntegrationError, S3UploadError

LOGS = {".ulg", ".ulge", ".bin", ".bag", ".mcap"}


def main() -> int:
    """Do what the command line says; gives the exit code."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("folder", type=Path)
    parser.add_argument("--copy", type=Path, metavar="FOLDER")
    asked = parser.parse_args()
    worst = 0
    with S3Client() as bucket:
        for path in sorted(one for one in asked.folder.rglob("*") if one.suffix.lower() in LOGS):
            worst = max(worst, bring(bucket, path, asked.copy))
    return worst


def bring(bucket: S3Client, path: Path, copies: Path | None) -> int:
    """Bring one log up; when this returns 0, S3 holds exactly its bytes."""
    try:
        key = bucket.upload_file(str(path))
    except S3UploadError as error:
        safe = f", safe as row {error.row_id}" if error.row_id else ""
        print(f"{path}: {error} [{error.code}]{safe}", file=sys.stderr)
        return 3 if error.waiting_helps else 1
    print(f"{path}: {key}")
    if copies is None:
        return 0
    copies.mkdir(parents=True, exist_ok=True)
    try:
        copy = Path(bucket.download_file(key, str(copies / path.name)))
    except S3IntegrationError as error:
        print(f"{key}: {error} [{error.code}]", file=sys.stderr)
        return 3 if error.waiting_helps else 1
    return 0 if copy.read_bytes() == path.read_bytes() else 1


if __name__ == "__main__":
    sys.exit(main())
