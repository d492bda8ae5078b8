#!/usr/bin/env bash
# Guess: an upload that is begun with the checksum type FULL_OBJECT is completed by the right CRC32
#   of the whole object.
# Really: CreateMultipartUpload answers COMPOSITE, and Complete with the right CRC32 is refused with
#   400 BadDigest. Without a checksum the same upload can be completed.
# Version: ministack 1.5.33. Seen: 2026-11-29.
# Hurt: who tests uploads here that end with a checksum of the whole, as S3 allows since 2025.
. "$(dirname "$0")/lib.sh"
install ministack==1.5.33 defusedxml==0.7.1 graphql-core==3.2.12 h11==0.16.0 h2==4.4.1 hpack==4.2.0 \
  Hypercorn==0.18.0 hyperframe==6.1.0 jsonata-python==0.7.1 priority==2.0.0 PyYAML==6.0.4 \
  wsproto==1.3.2
GATEWAY_PORT=$PORT BIND_HOST=127.0.0.1 SERVICES=s3 serve "$BIN/ministack"
ask <<'PYTHON'
import base64
import zlib

parts = [b"a" * 5 * 1024 * 1024, b"b" * 1000]


def crc32(body):
    return base64.b64encode(zlib.crc32(body).to_bytes(4, "big")).decode()


upload = dict(Bucket="logs", Key="a.ulg")
begun = s3.create_multipart_upload(
    **upload, ChecksumAlgorithm="CRC32", ChecksumType="FULL_OBJECT"
)
upload["UploadId"] = begun["UploadId"]
held = []
for number, body in enumerate(parts, 1):
    sent = s3.upload_part(**upload, PartNumber=number, Body=body, ChecksumCRC32=crc32(body))
    held.append({"PartNumber": number, "ETag": sent["ETag"], "ChecksumCRC32": crc32(body)})
done = dict(upload, MultipartUpload={"Parts": held})
right = crc32(b"".join(parts))
said = code(
    s3.complete_multipart_upload, **done, ChecksumCRC32=right, ChecksumType="FULL_OBJECT"
)[1]
without = code(s3.complete_multipart_upload, **done)[1]
kind = begun.get("ChecksumType")
print(f"Create with FULL_OBJECT answers {kind}; Complete with the right CRC32: {said}; "
      f"without one: {without}")
verdict(
    kind == "COMPOSITE" and said == "400 BadDigest" and without == "200",
    "the right CRC32 of the whole object is refused",
)
PYTHON
