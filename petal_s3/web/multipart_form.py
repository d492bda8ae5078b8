"""Parse a multipart form while it arrives: one file, streamed, and small fields (RFC 7578)."""

from __future__ import annotations

from collections.abc import AsyncIterable, AsyncIterator

from python_multipart.exceptions import MultipartParseError
from python_multipart.multipart import MultipartParser, parse_options_header

from petal_s3.errors import BadInput

_SMALL_BYTES = 64 * 1024  # of all that is not the file
_PART_BYTES = 64  # a part costs time, though it may have neither headers nor content
_LONGEST_BOUNDARY = 70  # RFC 2046, 5.1.1


class Form:
    """A form with one part ``file``; ``fields`` are complete only at the end of the stream."""

    def __init__(self, content_type: str, body: AsyncIterable[bytes]) -> None:
        """Raises :class:`BadInput` unless ``content_type`` is that of a form."""
        try:
            kind, options = parse_options_header(content_type)
        except UnicodeError:  # a header of other bytes than ISO-8859-1
            kind, options = b"", {}
        boundary = options.get(b"boundary", b"")
        if kind != b"multipart/form-data" or not 0 < len(boundary) <= _LONGEST_BOUNDARY:
            raise BadInput("A multipart form with the part 'file' is expected.")
        self.fields: dict[str, str] = {}
        self.file_name: str | None = None
        self._body = body
        self._ended = False
        self._small = 0
        self._header = (b"", b"")
        self._about: dict[bytes, bytes] = {}
        self._field: str | None = None
        self._value = bytearray()
        self._file = bytearray()
        self._parser = MultipartParser(
            boundary,
            {
                "on_part_begin": self._part_begins,
                "on_header_field": lambda data, start, end: self._head(0, data[start:end]),
                "on_header_value": lambda data, start, end: self._head(1, data[start:end]),
                "on_header_end": self._header_ends,
                "on_headers_finished": self._part_known,
                "on_part_data": lambda data, start, end: self._data(data[start:end]),
                "on_part_end": self._part_ends,
                "on_end": self._end,
            },
        )

    @property
    def name(self) -> str:
        """The name asked for the file; empty until it is known."""
        given = self.fields.get("custom_filename") or self.file_name or ""
        return given.replace("\\", "/").rpartition("/")[2]

    async def file(self) -> AsyncIterator[bytes]:
        """The bytes of the file; read to the end, or the form is not whole.

        Raises :class:`BadInput` for a form that is broken, ends early or has not one file.
        """
        async for block in self._body:
            self._feed(block)
            if self._file:
                found, self._file = bytes(self._file), bytearray()
                yield found
        if not self._ended:
            raise BadInput("The form ended before its last boundary: something was cut off.")
        if self.file_name is None:
            raise BadInput("The form has no part 'file' with a file name.")

    def _feed(self, block: bytes) -> None:
        try:
            self._parser.write(block)
        except MultipartParseError as error:
            raise BadInput("This is no multipart form.") from error

    # -- callbacks of the parser

    def _part_begins(self) -> None:
        self._count(_PART_BYTES)
        self._about.clear()
        self._header = (b"", b"")

    def _head(self, which: int, data: bytes) -> None:
        self._count(len(data))
        name, value = self._header
        self._header = (name + data, value) if which == 0 else (name, value + data)

    def _header_ends(self) -> None:
        name, value = self._header
        self._about[name.lower()] = value
        self._header = (b"", b"")

    def _part_known(self) -> None:
        kind, options = parse_options_header(self._about.get(b"content-disposition", b""))
        name = options.get(b"name", b"").decode("utf-8", "replace")
        self._field = name
        if kind == b"form-data" and name == "file" and b"filename" in options:
            if self.file_name is not None:
                raise BadInput("One file at a time.")
            self.file_name = options[b"filename"].decode("utf-8", "replace")
            self._field = None

    def _data(self, data: bytes) -> None:
        if self._field is None:
            self._file += data
        else:
            self._count(len(data))
            self._value += data

    def _part_ends(self) -> None:
        if self._field is not None:
            self.fields[self._field] = self._value.decode("utf-8", "replace")
            self._value.clear()

    def _end(self) -> None:
        self._ended = True

    def _count(self, size: int) -> None:
        self._small += size
        if self._small > _SMALL_BYTES:
            raise BadInput(
                "The form has too much beside its file: the log is expected in the part 'file',"
                " with a file name."
            )
