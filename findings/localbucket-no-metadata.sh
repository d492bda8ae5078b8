#!/usr/bin/env bash
# Guess: metadata and content type of an object are kept.
# Really: the PutObject that names them is answered 200; HEAD has no metadata and always
#   application/octet-stream. So it is with objects that come in parts.
# Version: localbucket 1.2.1. Seen: 2026-11-29.
# Hurt: who keeps facts about a log in its metadata, or proves an upload by a digest kept there.
. "$(dirname "$0")/lib.sh"
install localbucket==1.2.1
serve "$BIN/localbucket" --port "$PORT" "$DATA"
ask <<'PYTHON'
about = dict(Bucket="logs", Metadata={"flight": "7"}, ContentType="text/plain")
said = code(s3.put_object, **about, Key="a.ulg", Body=b"a")[1]
upload = dict(Bucket="logs", Key="b.ulg")
upload["UploadId"] = s3.create_multipart_upload(**about, Key="b.ulg")["UploadId"]
etag = s3.upload_part(**upload, PartNumber=1, Body=b"a")["ETag"]
s3.complete_multipart_upload(
    **upload, MultipartUpload={"Parts": [{"PartNumber": 1, "ETag": etag}]}
)
heads = [s3.head_object(Bucket="logs", Key=key) for key in ("a.ulg", "b.ulg")]
seen = [(head["Metadata"], head["ContentType"]) for head in heads]
print(f"PutObject with metadata and text/plain: {said}; HEAD, in one request and in parts: {seen}")
verdict(
    said == "200" and seen == [({}, "application/octet-stream")] * 2,
    "metadata and content type are dropped",
)
PYTHON
