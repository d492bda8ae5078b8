"""Read logs by the libraries of ArduPilot and MCAP, and tell what they find; run by their Python.

No part of petal-s3 is imported here. Arguments: a file to write the answers to, and logs. Logs are
``.bin`` (pymavlink's DFReader) or ``.mcap`` (mcap's StreamReader and SeekingReader).
``write DIRECTORY`` writes MCAP files of every shape that mcap's writer knows.
"""

from __future__ import annotations

import contextlib
import io
import itertools
import json
import sys
from pathlib import Path


def dataflash(path: Path) -> dict[str, object]:
    """How far DFReader reads, what it complains of, and when the first message was."""
    from pymavlink.DFReader import DFReader_binary

    said = io.StringIO()
    with contextlib.redirect_stderr(said), contextlib.redirect_stdout(said):
        reader = DFReader_binary(str(path))
        first, read_to, texts = None, 0, []
        while (message := reader.recv_msg()) is not None:
            read_to = reader.offset
            if first is None and getattr(message, "TimeUS", 0):
                first = message._timestamp
            if message.get_type() == "MSG":
                texts.append(message.Message)
    return {"read_to": read_to, "said": said.getvalue()[:200], "first": first, "texts": texts[:3]}


def mcap(path: Path) -> dict[str, object]:
    """Whether StreamReader comes to the end, and what SeekingReader's summary counts."""
    from mcap.reader import make_reader
    from mcap.stream_reader import StreamReader

    told: dict[str, object] = {"error": "", "messages": None}
    try:
        with path.open("rb") as file:
            for _ in StreamReader(file, validate_crcs=True).records:
                pass
    except Exception as error:  # noqa: BLE001 - whatever the library raises is its answer
        told["error"] = f"{type(error).__name__}: {error}"
    with contextlib.suppress(Exception), path.open("rb") as file:
        reader = make_reader(file)
        told["library"] = reader.get_header().library
        summary = reader.get_summary()
        if summary is not None and summary.statistics is not None:
            told["messages"] = summary.statistics.message_count
            told["start"] = summary.statistics.message_start_time
    return told


def write(directory: Path) -> None:
    """One file for each way to write it, of some messages or of none."""
    from mcap.writer import CompressionType, IndexType, Writer

    shapes = itertools.product(
        CompressionType, (False, True), (False, True), (False, True), (0, 1, 500)
    )
    for number, (compression, chunking, statistics, offsets, messages) in enumerate(shapes):
        with (directory / f"w{number}.mcap").open("wb") as file:
            writer = Writer(
                file,
                chunk_size=4096,
                compression=compression,
                index_types=IndexType.ALL if number % 3 else IndexType.NONE,
                repeat_channels=bool(number % 2),
                use_chunking=chunking,
                use_statistics=statistics,
                use_summary_offsets=offsets,
                enable_crcs=bool(number % 5),
                # Without chunks 1.6.0 may tell a checksum that its own reader refuses:
                # findings/mcap-data-checksum.sh.
                enable_data_crcs=chunking and number % 4 != 0,
            )
            writer.start(profile="ros2", library="a writer")
            schema = writer.register_schema(name="s", encoding="jsonschema", data=b"{}")
            channel = writer.register_channel(
                topic="/imu", message_encoding="json", schema_id=schema
            )
            for nth in range(messages):
                at = 1_753_626_622_000_000_000 + nth * 10**8
                writer.add_message(channel_id=channel, log_time=at, data=b"{}" * 9, publish_time=at)
            if number % 4 == 0:
                writer.add_metadata(name="m", data={"a": "b"})
                writer.add_attachment(
                    create_time=1, log_time=2, name="a", media_type="text/plain", data=b"hello"
                )
            writer.finish()


def main() -> None:
    """Do what the arguments say."""
    command, *paths = sys.argv[1:]
    if command == "write":
        write(Path(paths[0]))
        return
    answers = {}
    for path in map(Path, paths):
        answers[path.name] = dataflash(path) if path.suffix == ".bin" else mcap(path)
    Path(command).write_text(json.dumps(answers))


if __name__ == "__main__":
    main()
