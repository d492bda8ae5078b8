#!/usr/bin/env bash
# Guess: ListParts lists the parts of an open upload, and answers 404 NoSuchUpload once it is gone.
# Really: it is answered as a GET of the object: 404 NoSuchKey while the upload is open, and 200 with
#   the whole object as the body once it is complete.
# Version: fauxqs 2.4.1 (npm), Node.js 24.19.0. Seen: 2026-11-29.
# Hurt: who resumes uploads: an open one looks gone, a complete one answers with all its bytes.
. "$(dirname "$0")/lib.sh"
serve_fauxqs
ask <<'PYTHON'
from urllib.request import urlopen

body = b"a flight" * 1000
upload = dict(Bucket="logs", Key="a.ulg")
upload["UploadId"] = s3.create_multipart_upload(**upload)["UploadId"]
etag = s3.upload_part(**upload, PartNumber=1, Body=body)["ETag"]
while_open = code(s3.list_parts, **upload)[1]
parts = {"Parts": [{"PartNumber": 1, "ETag": etag}]}
s3.complete_multipart_upload(**upload, MultipartUpload=parts)
with urlopen(s3.generate_presigned_url("list_parts", Params=upload)) as answer:
    status, got = answer.status, answer.read()
print(f"ListParts while open: {while_open}; once complete: {status} and {len(got)} bytes", end=", ")
print("the object" if got == body else got[:80])
verdict(
    while_open == "404 NoSuchKey" and status == 200 and got == body,
    "ListParts is answered as a GET of the object",
)
PYTHON
