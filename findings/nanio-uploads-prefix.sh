#!/usr/bin/env bash
# Guess: ListMultipartUploads with Prefix lists only uploads of keys below it.
# Really: it lists all open uploads of the bucket.
# Version: nanio 0.1.7. Seen: 2026-11-29.
# Hurt: drones that share a bucket by prefixes: one that aborts what it lists ends uploads of others.
. "$(dirname "$0")/lib.sh"
serve_nanio
ask <<'PYTHON'
for key in ("drone-1/a.ulg", "drone-2/a.ulg"):
    s3.create_multipart_upload(Bucket="logs", Key=key)
answer = s3.list_multipart_uploads(Bucket="logs", Prefix="drone-1/")
keys = sorted(one["Key"] for one in answer.get("Uploads", []))
print(f"open uploads with the prefix drone-1/: {keys}")
verdict(keys == ["drone-1/a.ulg", "drone-2/a.ulg"], "the prefix of ListMultipartUploads is ignored")
PYTHON
