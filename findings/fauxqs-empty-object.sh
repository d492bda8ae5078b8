#!/usr/bin/env bash
# Guess: PutObject and UploadPart without bytes are answered 200.
# Really: 500 Internal Server Error, unless the request names a Content-Type; then 200.
# Version: fauxqs 2.4.1 (npm), Node.js 24.19.0. Seen: 2026-11-29.
# Hurt: who tests here with markers, empty logs or an empty last part.
. "$(dirname "$0")/lib.sh"
serve_fauxqs
ask <<'PYTHON'
plain = code(s3.put_object, Bucket="logs", Key="a", Body=b"")[1]
typed = code(s3.put_object, Bucket="logs", Key="b", Body=b"", ContentType="text/plain")[1]
full = code(s3.put_object, Bucket="logs", Key="c", Body=b"1")[1]
upload = dict(Bucket="logs", Key="d")
upload["UploadId"] = s3.create_multipart_upload(**upload)["UploadId"]
part = code(s3.upload_part, **upload, PartNumber=1, Body=b"")[1]
print(f"PutObject of 0 bytes: {plain}; with a Content-Type: {typed}; of 1 byte without: {full}")
print(f"UploadPart of 0 bytes: {part}")
verdict(
    plain.startswith("500") and part.startswith("500") and typed == full == "200",
    "an empty body without Content-Type is answered 500",
)
PYTHON
