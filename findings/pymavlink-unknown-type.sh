#!/usr/bin/env bash
# Guess: recv_match(type="IMU") gives the same IMU messages that recv_msg gives when all are read.
# What happens: DFReader's index ends at the first message whose type has no format; recv_match of a type knows only
#   the messages before it, without a word, while recv_msg passes over that one message and reads to the end.
# pymavlink 2.4.50, 2026-11-30. Hurt: whoever plots or counts by type a log in which one message was damaged.
set -u
TEMP=$(mktemp -d)
trap 'rm -rf "$TEMP"' EXIT
{ python3 -m venv --without-pip "$TEMP/venv" && python3 -m pip --python "$TEMP/venv/bin/python" install --quiet \
  --no-compile --disable-pip-version-check pymavlink==2.4.50 pyserial==3.5 fastcrc==0.5.0 lxml==6.1.3; \
  } >"$TEMP/install.log" 2>&1 || { tail -3 "$TEMP/install.log"; echo "CANNOT BE INSTALLED: pymavlink 2.4.50"; exit 2; }
cd "$TEMP" && "$TEMP/venv/bin/python" - <<'PYTHON' 2>/dev/null
import importlib.metadata, platform, struct, sys
from pymavlink.DFReader import DFReader_binary


def fmt(kind, length, name, fields, columns):
    return b"\xa3\x95\x80" + struct.pack("<BB4s16s64s", kind, length, name, fields, columns)


def imu(at):
    return b"\xa3\x95\x43" + struct.pack("<Q", at)


def read(odd):
    """How many IMU messages there are by recv_msg, and by recv_match."""
    log = fmt(128, 89, b"FMT", b"BBnNZ", b"Type,Length,Name,Format,Columns")
    log += fmt(67, 11, b"IMU", b"Q", b"TimeUS")
    log += b"".join(map(imu, range(1, 101))) + odd + b"".join(map(imu, range(101, 1101)))
    open("log.bin", "wb").write(log)
    reader, every, typed = DFReader_binary("log.bin"), 0, 0
    while (message := reader.recv_msg()) is not None:
        every += message.get_type() == "IMU"
    reader.rewind()
    while reader.recv_match(type="IMU") is not None:
        typed += 1
    return every, typed


print("pymavlink", importlib.metadata.version("pymavlink"), "Python", platform.python_version())
whole, odd = read(b""), read(b"\xa3\x95\x09" + b"x" * 20)
print("a whole log (recv_msg, recv_match):", whole)
print("one message of an unknown type in it:", odd)
holds = whole == (1100, 1100) and odd == (1100, 100)
print("SEEN" if holds else "CHANGED", ": by type the log ends at the first message of an unknown one")
sys.exit(0 if holds else 1)
PYTHON
