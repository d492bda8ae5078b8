#!/usr/bin/env bash
# Guess: CopyObject with MetadataDirective REPLACE gives the copy the metadata and type it names.
# Really: 200, and the copy has the metadata and the type of its source; so has an object that is
#   copied onto itself, the usual way to change metadata.
# Version: nanio 0.1.7. Seen: 2026-11-29.
# Hurt: who marks copies, or changes facts about a log in its metadata, and believes the 200.
. "$(dirname "$0")/lib.sh"
serve_nanio
ask <<'PYTHON'
old = dict(Metadata={"flight": "7"}, ContentType="text/plain")
new = dict(Metadata={"flight": "8", "moved": "yes"}, ContentType="application/x-ulog")
s3.put_object(Bucket="logs", Key="a.ulg", Body=b"a", **old)
source = {"Bucket": "logs", "Key": "a.ulg"}
holds = []
for key in ("b.ulg", "a.ulg"):
    said = code(
        s3.copy_object, Bucket="logs", Key=key, CopySource=source, MetadataDirective="REPLACE", **new
    )[1]
    head = s3.head_object(Bucket="logs", Key=key)
    got = {name: head[name] for name in old}
    print(f"CopyObject a.ulg to {key} with {new}: {said}; HEAD: {got}")
    holds.append(said == "200" and got == old)
verdict(all(holds), "a copy keeps the metadata of its source, whatever it is to have")
PYTHON
