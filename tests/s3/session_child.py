"""Bring one text log of a session into the bucket: a process of its own, to weigh or to kill."""

from __future__ import annotations

import json
import resource
import sys

from petal_s3.client import S3Client


def main(settings: str, path: str, session: str, description: str) -> None:
    with S3Client(**json.loads(settings)) as client:
        made = client.upload_session_log(path, session, description)
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
    sys.stdout.write(json.dumps({"key": made.key, "size": made.file_size, "peak": peak}))


if __name__ == "__main__":
    main(*sys.argv[1:])
