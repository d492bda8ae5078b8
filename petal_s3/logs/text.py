"""Know readable text, XML and JSON by their bytes, and see where a file was cut."""

from __future__ import annotations

import codecs
import re

# UTF-16 is read by its mark alone: without one it cannot be told from noise.
_UTF16 = (codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)
_CONTROL = re.compile(rb"[\x00-\x06\x0e-\x1a\x1c-\x1f\x7f]")  # not: bell to return, escape
_MOST_CONTROL = 0.02
_MOST_HIGH = 0.3  # of the bytes of a language in one of the 8-bit encodings before Unicode
_CLOSES = {"xml": b">", "json": b"}]"}


def readable(head: bytes) -> bool:
    """Whether ``head``, the first bytes of a file, is text that a person can read.

    UTF-8, perhaps cut in a character; UTF-16 with its mark; or an older 8-bit encoding, of which
    at most 30 % are no ASCII. Escape sequences of a terminal are text. A NUL never is, but for
    those at the end: a power cut left space that was never written.
    """
    if head.startswith(_UTF16):
        head = _from_utf16(head).rstrip(b"\0")
    head = head.rstrip(b"\0")
    if not head or b"\0" in head or len(_CONTROL.findall(head)) > len(head) * _MOST_CONTROL:
        return False
    if _decodes(head, "utf-8"):
        return True
    return sum(byte >= 0x80 for byte in head) <= len(head) * _MOST_HIGH


def begins(head: bytes) -> bytes:
    """The first bytes that mean something: without mark and white space."""
    if head.startswith(_UTF16):
        head = _from_utf16(head)
    return head.removeprefix(codecs.BOM_UTF8).lstrip()


def verdict(kind: str, head: bytes, tail: bytes) -> str:
    """``damaged`` where zeros stand at the end, ``truncated`` where it was cut, else ``complete``.

    ``tail``: what follows ``head`` in a small file, else the last bytes. That a text was cut
    cannot be told.
    """
    if head.startswith(_UTF16):
        return "complete"
    end = (tail or head).rstrip()
    if end.endswith(b"\0"):
        return "damaged"  # a power cut left space that was never written
    closes = _CLOSES.get(kind)
    closed = closes is None or (end != b"" and end[-1:] in closes)
    return "complete" if closed else "truncated"


def _from_utf16(head: bytes) -> bytes:
    """The same text in UTF-8; what is none becomes a NUL."""
    text = codecs.getincrementaldecoder("utf-16")("replace").decode(head)
    return text.replace("\ufffd", "\0").encode()


def _decodes(head: bytes, encoding: str) -> bool:
    try:
        codecs.getincrementaldecoder(encoding)().decode(head)
    except UnicodeError:
        return False
    return True
