#!/usr/bin/env bash
# Guess: ListObjectsV2 with a delimiter, page by page, gives each common prefix and key once, in
#   order, and at most MaxKeys of them in a page.
# Really: common prefixes do not count against MaxKeys and come again on the next page; a key comes
#   before prefixes that sort before it.
# Version: nanio 0.1.7. Seen: 2026-11-29.
# Hurt: who walks flights as folders: a folder is visited, counted or removed twice.
. "$(dirname "$0")/lib.sh"
serve_nanio
ask <<'PYTHON'
for key in ("t/a/1", "t/a/2", "t/b/1", "t/c", "t/d/1"):
    s3.put_object(Bucket="logs", Key=key, Body=b"1")
pages, more = [], {}
for _ in range(10):
    page = s3.list_objects_v2(Bucket="logs", Prefix="t/", Delimiter="/", MaxKeys=1, **more)
    pages.append(
        [one["Key"] for one in page.get("Contents", [])]
        + [one["Prefix"] for one in page.get("CommonPrefixes", [])]
    )
    if not page["IsTruncated"]:
        break
    more = {"ContinuationToken": page["NextContinuationToken"]}
print(f"pages of one: {pages}")
names = [name for page in pages for name in page]
verdict(
    len(names) > len(set(names)) and max(map(len, pages)) > 1,
    "common prefixes come twice, more than MaxKeys in a page",
)
PYTHON
