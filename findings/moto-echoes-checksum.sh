#!/usr/bin/env bash
# Guess: a body that does not have the Content-MD5 that is told with it is refused, and the CRC32 that HEAD
#   tells is that of the bytes that are stored.
# What happens: both are stored, 200. The CRC32 of HEAD is the one that was sent with the body, whatever the
#   bytes are; of an upload in parts a false one of the whole object is accepted too. Only the ETag is
#   computed from the bytes.
# Version: moto 5.2.5. Seen: 2026-11-30.
# Hurt: tests that are to show that damage on the way is noticed: by moto's checksums none ever is.
. "$(dirname "$0")/lib.sh"
install moto==5.2.5 Flask==3.1.3 flask-cors==6.0.5 Werkzeug==3.1.9 Jinja2==3.1.6 MarkupSafe==3.0.4 blinker==1.9.0 \
  click==8.5.1 itsdangerous==2.2.0 cryptography==50.0.2 cffi==2.1.1 pycparser==3.12 requests==2.34.2 certifi==2026.10.19.post1 \
  charset-normalizer==3.5.3 idna==3.20 responses==0.26.3 PyYAML==6.0.4 xmltodict==1.0.4 py-partiql-parser==0.6.3 \
  docker==7.2.0 joserfc==1.8.0 antlr4-python3-runtime==4.13.2 graphql-core==3.3.2
serve "$BIN/moto_server" -H 127.0.0.1 -p "$PORT"
ask <<'PYTHON'
import base64, hashlib, zlib

BODY, OTHER = b"the log as it came", b"the log as it was sent"


def crc32(content):
    return base64.b64encode(zlib.crc32(content).to_bytes(4, "big")).decode()


def md5(content):
    return base64.b64encode(hashlib.md5(content).digest()).decode()


by_md5 = code(s3.put_object, Bucket="logs", Key="md5", Body=BODY, ContentMD5=md5(OTHER))[1]
by_crc = code(s3.put_object, Bucket="logs", Key="crc", Body=BODY, ChecksumCRC32=crc32(OTHER),
              ChecksumAlgorithm="CRC32")[1]
head = s3.head_object(Bucket="logs", Key="crc", ChecksumMode="ENABLED")
stored = s3.get_object(Bucket="logs", Key="crc")["Body"].read()
upload = s3.create_multipart_upload(
    Bucket="logs", Key="parts", ChecksumAlgorithm="CRC32", ChecksumType="FULL_OBJECT")["UploadId"]
where = {"Bucket": "logs", "Key": "parts", "UploadId": upload}
part = s3.upload_part(**where, PartNumber=1, Body=BODY, ChecksumCRC32=crc32(BODY))
joined = code(s3.complete_multipart_upload, **where, ChecksumCRC32=crc32(OTHER), ChecksumType="FULL_OBJECT",
              MultipartUpload={"Parts": [{"PartNumber": 1, "ETag": part["ETag"], "ChecksumCRC32": crc32(BODY)}]})[1]
print(f"PutObject with the Content-MD5 of other bytes: {by_md5}; with their CRC32: {by_crc}")
print(f"HEAD tells the CRC32 {head.get('ChecksumCRC32')}; of what is stored it is {crc32(stored)}, sent was {crc32(OTHER)}")
print(f"the ETag is that of the bytes: {head['ETag'].strip(chr(34)) == hashlib.md5(BODY).hexdigest()}")
print(f"Complete with the CRC32 of other bytes: {joined}")
verdict(
    by_md5 == by_crc == joined == "200" and stored == BODY and head.get("ChecksumCRC32") == crc32(OTHER),
    "moto's checksums are those that were sent, not those of the bytes",
)
PYTHON
