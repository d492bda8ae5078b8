#!/usr/bin/env bash
# Guess: a reader of ULog skips a record of an unknown type by its length, as the format asks, also a long one;
#   at worst it marks the file as corrupt and reads on.
# What happens: pyulog takes an unknown record above 10,000 bytes for damage, goes on byte by byte inside it, and
#   where that meets a length beyond the end of a short file it raises OSError (EINVAL) instead of a log.
# pyulog 1.3.0, 2026-11-30. Hurt: tools that read logs of a newer PX4 with longer records, and catch only pyulog's
#   own errors.
set -u
TEMP=$(mktemp -d)
trap 'rm -rf "$TEMP"' EXIT
{ python3 -m venv --without-pip "$TEMP/venv" && python3 -m pip --python "$TEMP/venv/bin/python" install --quiet \
  --no-compile --disable-pip-version-check pyulog==1.3.0 numpy; } >"$TEMP/install.log" 2>&1 ||
  { tail -3 "$TEMP/install.log"; echo "CANNOT BE INSTALLED: pyulog 1.3.0"; exit 2; }
cd "$TEMP" && "$TEMP/venv/bin/python" - <<'PYTHON'
import importlib.metadata, platform, struct, sys
from pyulog import ULog


def record(kind, body):
    return struct.pack("<HB", len(body), ord(kind)) + body


def log(name, length):
    """Header, flag bits, a name, and one record of a type that no reader knows yet."""
    key = b"char[3] sys_name"
    whole = b"ULog\x01\x12\x35\x01" + struct.pack("<Q", 1) + record("B", bytes(40))
    whole += record("I", bytes([len(key)]) + key + b"PX4") + record("x", b"x" * length)
    open(name, "wb").write(whole)
    with open(name, "rb") as file:
        try:
            read = ULog(file)
        except OSError as error:
            return f"OSError {error.errno}"
        return f"read, corrupt: {read.file_corruption}, name: {read.msg_info_dict.get('sys_name')}"


short, long = log("short.ulg", 10_000), log("long.ulg", 10_001)
print("pyulog", importlib.metadata.version("pyulog"), "Python", platform.python_version())
print("unknown record of 10,000 bytes:", short)
print("unknown record of 10,001 bytes:", long)
holds = short == "read, corrupt: False, name: PX4" and long.startswith("OSError")
print("SEEN" if holds else "CHANGED", ": one byte more makes OSError out of a log that is read")
sys.exit(0 if holds else 1)
PYTHON
