#!/usr/bin/env bash
# Guess: readers of DataFlash give the same columns of the same log, arrays (format `a`, 32 numbers) too.
# What happens: mavpose leaves a column of arrays out without a word, in memory and in its Parquet file: of
#   the samples of fast sensors (ISBD) only TimeUS stays. mavdataflash raises SchemaError at that message.
#   pymavlink and mavparser give the numbers.
# Version: mavpose 0.4.0, mavdataflash 3.0.0, mavparser 0.0.1, pymavlink 2.4.50. Seen: 2026-11-30.
# Hurt: who looks for vibration in such a table, and finds no samples.
. "$(dirname "$0")/lib.sh"
install_alone mavpose==0.4.0 mavdataflash==3.0.0 mavparser==0.0.1 pymavlink==2.4.50 fastcrc==0.5.0 lxml==6.1.3 \
  numpy==2.4.6 pandas==3.1.1 polars==2.1.0 polars-runtime-32==2.1.0 pyarrow==26.0.1 pyulog==1.3.0 \
  python-dateutil==4.0.0 six==1.17.0 tzdata==2026.6
cd "$TEMP" && HOME=$TEMP "$BIN/python" - <<'PYTHON'
import struct, sys

import mavparser
import mavpose
import pyarrow.parquet
from MAVdataflash import DataFlash
from pymavlink import mavutil


def record(kind, content):
    return b"\xa3\x95" + bytes([kind]) + content


def described(kind, name, letters, columns, size):
    return record(128, struct.pack("<BB4s16s64s", kind, size, name, letters, columns))


SAMPLES = list(range(-16, 16))
with open("flight.BIN", "wb") as log:
    log.write(described(128, b"FMT", b"BBnNZ", b"Type,Length,Name,Format,Columns", 89))
    log.write(described(129, b"ISBD", b"QHa", b"TimeUS,N,x", 3 + 8 + 2 + 64))
    for at in range(3):
        log.write(record(129, struct.pack("<QH32h", 1_000_000 + at * 1000, at, *SAMPLES)))

connection = mavutil.mavlink_connection("flight.BIN")
by_pymavlink = list(connection.recv_match(type="ISBD").x)
connection.close()
by_mavparser = [one for one in mavparser.parse("flight.BIN") if one["mavpackettype"] == "ISBD"][0]["x"]
flight = mavpose.load("flight.BIN")
by_mavpose = list(flight["ISBD"].columns)
flight.to_parquet("flight.parquet")
try:
    by_mavdataflash = str(DataFlash("flight.BIN").GetData("ISBD").to_dict())
except Exception as error:
    by_mavdataflash = type(error).__name__
print("pymavlink: x is", by_pymavlink)
print("mavparser: x is the same:", by_mavparser == by_pymavlink)
print("mavpose: the columns are", by_mavpose)
print("  in its Parquet file:", pyarrow.parquet.read_schema("flight.parquet").names)
print("mavdataflash:", by_mavdataflash)
holds = by_pymavlink == by_mavparser == SAMPLES and "N" in by_mavpose and "x" not in by_mavpose
holds = holds and by_mavdataflash == "SchemaError"
print("SEEN" if holds else "CHANGED", ": a column of arrays is left out without a word")
sys.exit(0 if holds else 1)
PYTHON
