#!/usr/bin/env bash
# Guess: with validate_crcs=True mcap's readers refuse a summary that is not the one its CRC-32 in the footer tells.
# What happens: neither make_reader nor StreamReader looks at that checksum. Of a file with one changed byte in its
#   statistics get_summary tells 205 messages where there are 50, and both read it to the end without an error.
# mcap 1.6.0 (Python), 2026-11-30. Hurt: who takes validate_crcs for a check of the whole file.
set -u
TEMP=$(mktemp -d)
trap 'rm -rf "$TEMP"' EXIT
{ python3 -m venv --without-pip "$TEMP/venv" && python3 -m pip --python "$TEMP/venv/bin/python" install --quiet \
  --no-compile --disable-pip-version-check mcap==1.6.0 lz4==4.4.5 zstandard==0.25.0; } >"$TEMP/install.log" 2>&1 ||
  { tail -3 "$TEMP/install.log"; echo "CANNOT BE INSTALLED: mcap 1.6.0"; exit 2; }
"$TEMP/venv/bin/python" - <<'PYTHON'
import importlib.metadata, io, platform, struct, sys, zlib
from mcap.reader import make_reader
from mcap.stream_reader import StreamReader
from mcap.writer import CompressionType, Writer


def written():
    """A file of 50 messages in chunks without compression, with all checksums."""
    file = io.BytesIO()
    writer = Writer(file, chunk_size=200, compression=CompressionType.NONE, enable_data_crcs=True)
    writer.start()
    schema = writer.register_schema(name="s", encoding="jsonschema", data=b"{}")
    channel = writer.register_channel(topic="/t", message_encoding="json", schema_id=schema)
    for at in range(1, 51):
        writer.add_message(channel_id=channel, log_time=at, data=b"0123456789", publish_time=at)
    writer.finish()
    return bytearray(file.getvalue())


def read(content):
    """What each reader says: the messages that the summary counts, and how many there are."""
    try:
        counted = make_reader(io.BytesIO(content), validate_crcs=True).get_summary().statistics.message_count
        found = len(list(make_reader(io.BytesIO(content), validate_crcs=True).iter_messages()))
        sum(1 for _ in StreamReader(io.BytesIO(content), validate_crcs=True).records)
    except Exception as error:
        return f"{type(error).__name__}: {error}"
    return counted, found


def sound(content):
    """Whether the summary is the one that the footer's checksum tells."""
    start, _, told = struct.unpack("<QQI", content[-28:-8])
    return zlib.crc32(content[start:-12]) == told


print("mcap", importlib.metadata.version("mcap"), "Python", platform.python_version())
content = written()
start, *_ = struct.unpack("<QQI", content[-28:-8])
whole = read(content), sound(content)
at = start
while content[at] != 11:  # the record with the statistics; its first field counts the messages
    at += 9 + struct.unpack_from("<Q", content, at + 1)[0]
content[at + 9] ^= 0xFF
changed = read(content), sound(content)
print("as written: (counted, found), summary as its checksum tells:", *whole)
print("one byte changed:", *changed)
holds = whole == ((50, 50), True) and changed == ((205, 50), False)
print("SEEN" if holds else "CHANGED", ": a changed summary is read without an error")
sys.exit(0 if holds else 1)
PYTHON
