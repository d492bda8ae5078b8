#!/usr/bin/env bash
# Guess: what mcap's Writer has written with all checksums, mcap's own reader accepts with validate_crcs=True.
# What happens: a channel on which nothing comes any more is passed on with DataEnd itself where no chunks are written,
#   and the CRC-32 in DataEnd is that of what was passed on before; StreamReader refuses the file (CRCValidationError).
# mcap 1.6.0 (Python), 2026-11-30. Hurt: recorders that write without chunks, and whoever judges files by that checksum.
set -u
TEMP=$(mktemp -d)
trap 'rm -rf "$TEMP"' EXIT
{ python3 -m venv --without-pip "$TEMP/venv" && python3 -m pip --python "$TEMP/venv/bin/python" install --quiet \
  --no-compile --disable-pip-version-check mcap==1.6.0 lz4==4.4.5 zstandard==0.25.0; } >"$TEMP/install.log" 2>&1 ||
  { tail -3 "$TEMP/install.log"; echo "CANNOT BE INSTALLED: mcap 1.6.0"; exit 2; }
"$TEMP/venv/bin/python" - <<'PYTHON'
import importlib.metadata, io, platform, sys, zlib
from mcap.records import DataEnd
from mcap.stream_reader import StreamReader
from mcap.writer import Writer


def written(use_chunking):
    """A file of three messages on one channel and none on another, with all checksums."""
    file = io.BytesIO()
    writer = Writer(file, use_chunking=use_chunking, enable_crcs=True, enable_data_crcs=True)
    writer.start()
    schema = writer.register_schema(name="s", encoding="jsonschema", data=b"{}")
    channel = writer.register_channel(topic="/t", message_encoding="json", schema_id=schema)
    for at in range(3):
        writer.add_message(channel_id=channel, log_time=at, data=b"{}", publish_time=at)
    writer.register_channel(topic="/silent", message_encoding="json", schema_id=schema)
    writer.finish()
    return file.getvalue()


def read(content):
    try:
        return f"{sum(1 for _ in StreamReader(io.BytesIO(content), validate_crcs=True).records)} records"
    except Exception as error:
        return f"{type(error).__name__}: {error}"


def told(content):
    """The checksum in DataEnd, and that of the bytes before it."""
    at = content.index(b"\x0f\x04" + bytes(7))
    found = [one for one in StreamReader(io.BytesIO(content)).records if isinstance(one, DataEnd)]
    return found[0].data_section_crc, zlib.crc32(content[:at])


print("mcap", importlib.metadata.version("mcap"), "Python", platform.python_version())
chunked, plain = written(True), written(False)
print("in chunks:", read(chunked), told(chunked))
print("without chunks:", read(plain), told(plain))
holds = read(chunked).endswith("records") and read(plain).startswith("CRCValidationError")
holds = holds and told(chunked)[0] == told(chunked)[1] and told(plain)[0] != told(plain)[1]
print("SEEN" if holds else "CHANGED", ": mcap refuses what mcap has written")
sys.exit(0 if holds else 1)
PYTHON
