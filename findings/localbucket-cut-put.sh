#!/usr/bin/env bash
# Guess: a PutObject or UploadPart whose connection ends before all of its Content-Length came
#   leaves nothing: the old object stays, a new key is not there, the part is the one before.
# Really: the bytes that came become the object. A whole object is replaced by half of the next one,
#   even when the same object was sent whole in between, and so is a confirmed part.
# Version: localbucket 1.2.1. Seen: 2026-11-29.
# Hurt: everyone on a link that can be cut: a log that was up and proven is half a log afterwards.
. "$(dirname "$0")/lib.sh"
install localbucket==1.2.1
serve "$BIN/localbucket" --port "$PORT" "$DATA"
ask <<'PYTHON'
import socket
from urllib.parse import urlsplit

MIB = 1024 * 1024
WHOLE = b"w" * 5 * MIB


def begin(operation, **asked):
    """A request that announces 5 MiB and has sent 2 of them."""
    url = urlsplit(s3.generate_presigned_url(operation, Params=dict(Bucket="logs", **asked)))
    wire = socket.create_connection((url.hostname, url.port), 10)
    head = f"PUT {url.path}?{url.query} HTTP/1.1\r\nHost: {url.netloc}\r\n"
    wire.sendall(f"{head}Content-Length: {5 * MIB}\r\n\r\n".encode() + b"n" * 2 * MIB)
    time.sleep(1)
    return wire


def size(key):
    answer, said = code(s3.head_object, Bucket="logs", Key=key)
    return answer.get("ContentLength", said)


def settled(key, before):
    """The size of the object once the server has noticed, at most 10 s later."""
    for _ in range(100):
        if size(key) != before:
            break
        time.sleep(0.1)
    return size(key)


s3.put_object(Bucket="logs", Key="old.ulg", Body=WHOLE)
begin("put_object", Key="old.ulg").close()
begin("put_object", Key="new.ulg").close()
old, new = settled("old.ulg", 5 * MIB), settled("new.ulg", "404 404")
print(f"PutObject cut after 2 of 5 MiB: over a whole object: {old} bytes; of a new key: {new}")

stuck = begin("put_object", Key="again.ulg")
s3.put_object(Bucket="logs", Key="again.ulg", Body=WHOLE)
print(f"sent whole while an earlier attempt hangs: {size('again.ulg')} bytes", end="; ")
stuck.close()
again = settled("again.ulg", 5 * MIB)
print(f"once that earlier attempt is cut: {again} bytes")

upload = s3.create_multipart_upload(Bucket="logs", Key="parts.ulg")["UploadId"]
part = dict(Key="parts.ulg", UploadId=upload, PartNumber=1)
etag = s3.upload_part(Bucket="logs", **part, Body=WHOLE)["ETag"]
begin("upload_part", **part).close()
time.sleep(3)
parts = {"Parts": [{"PartNumber": 1, "ETag": etag}]}
_, said = code(
    s3.complete_multipart_upload, Bucket="logs", Key="parts.ulg", UploadId=upload,
    MultipartUpload=parts,
)
print(f"Complete with a part that was confirmed, then sent again and cut: {said}")
verdict(old == new == again == 2 * MIB, "a cut PutObject becomes the object, over a whole one too")
PYTHON
