"""Change entries of a YAML text, and leave the rest of it as it is written.

PyYAML decides what a text means, because the host reads it with PyYAML; ruamel.yaml writes it, and
keeps comments, quotes, order and indentation.
"""

from __future__ import annotations

import contextlib
import io
import re
from typing import Any

import yaml
from ruamel.yaml import YAML
from ruamel.yaml.comments import CommentedMap, CommentedSeq
from ruamel.yaml.error import CommentMark, YAMLError
from ruamel.yaml.scalarstring import SingleQuotedScalarString
from ruamel.yaml.tokens import CommentToken

Json = dict[str, Any]
_Node = CommentedMap | CommentedSeq

_NEVER_FOLD = 2**20  # columns
_START = re.compile(r"\A(?:[ \t]*(?:[#%][^\n]*)?\n)*---[ \t]*(?:#[^\n]*)?\n")


def rewritten(text: str, old: Json, new: Json) -> str:
    """``text``, which means ``old``, changed to mean ``new``; unchanged entries stay as written.

    ruamel.yaml writes some things in its own way: spaces inside flow collections (``{ a: b }``) and
    behind a key's colon, spaces at line ends, and indentation that differs from line to line. A
    text that cannot be edited (such as one with a key twice) is written anew, without comments.
    """
    with contextlib.suppress(YAMLError, yaml.YAMLError):
        edited = _edited(text.replace("\r\n", "\n"), old, new)
        if yaml.safe_load(edited) == new:
            return edited.replace("\n", "\r\n") if "\r\n" in text else edited
    return str(yaml.safe_dump(new, sort_keys=False, allow_unicode=True)) if new else ""


def _edited(text: str, old: Json, new: Json) -> str:
    start = _START.match(text)  # ruamel.yaml drops comments before it
    head = start[0] if start else ""
    body = text[len(head) :]
    editor = _editor(body)
    found = editor.load(body)
    top = CommentedMap() if found is None else found
    _change_entries(top, old, new)
    written = io.StringIO()
    editor.dump(top, written)
    if found is None:  # nothing but comments
        return f"{text.rstrip()}\n{written.getvalue()}".lstrip()
    return f"{head}{written.getvalue()}"


def _editor(text: str) -> YAML:
    """A writer that indents as ``text`` does."""
    entry = re.search(r"^[^\s#][^\n]*:[ \t]*\n( +)[^\s#-]", text, re.MULTILINE)
    item = re.search(r"^( *)-( +)[^\s#]", text, re.MULTILINE)
    offset, gap = (len(item[1]), len(item[2])) if item else (0, 1)
    editor = YAML()
    editor.preserve_quotes = True
    editor.width = _NEVER_FOLD
    editor.indent(mapping=len(entry[1]) if entry else 2, sequence=offset + 1 + gap, offset=offset)
    return editor


def _change_entries(node: CommentedMap, old: Json, new: Json) -> None:
    """Change the entries of ``node`` that differ; it means ``old``."""
    for key in [key for key in old if key not in new]:
        del node[key]
    for key, value in new.items():
        if key in old and value == old[key]:
            continue
        if key not in old or not _is_same_kind(node[key], value):
            node[key] = _written(value)
            continue
        after = _cut_lines_after(node, key)
        if isinstance(value, dict):
            _change_entries(node[key], old[key], value)
        else:
            _change_items(node[key], old[key], value)
        _put_lines_after(node, key, after)


def _is_same_kind(node: object, value: object) -> bool:
    if isinstance(value, dict):
        return isinstance(node, CommentedMap)
    return isinstance(value, list) and isinstance(node, CommentedSeq)


def _change_items(node: CommentedSeq, old: list[object], new: list[object]) -> None:
    """Remove the items of ``node`` that are not in ``new``, and append those it lacks."""
    for index in reversed([i for i, one in enumerate(old) if one not in new]):
        del node[index]
    node.extend(_written(one) for one in new if one not in old)


# ruamel.yaml keeps the comment lines before an entry with the last value above them, which may be
# removed, or followed by a new one.


def _cut_lines_after(node: _Node, key: object) -> str:
    node, key, slot = _last_value(node, key)
    tokens = node.ca.items.get(key)
    if not tokens or tokens[slot] is None:
        return ""
    beside, _, after = tokens[slot].value.partition("\n")
    tokens[slot].value = f"{beside}\n"
    return str(after)


def _put_lines_after(node: CommentedMap, key: object, lines: str) -> None:
    last, last_key, slot = _last_value(node, key)
    value, token = last[last_key], last.ca.items.get(last_key, [None] * 4)[slot]
    if isinstance(value, _Node) and token is not None:
        token.column = 0  # one space before it, however long the flow collection is now
    if token is not None:
        token.value += lines
    elif lines and isinstance(value, _Node) and not value.fa.flow_style():  # a block, empty now
        following = list(node)[list(node).index(key) + 1 :]
        if following:
            tokens = node.ca.items.setdefault(following[0], [None] * 4)
            tokens[1] = [_comment(lines), *(tokens[1] or [])]
        else:
            node.ca.comment = node.ca.comment or [None, None]  # without it, no end is written
            node.ca.end = [_comment(lines)]
    elif lines:
        last.ca.items.setdefault(last_key, [None] * 4)[slot] = _comment(f"\n{lines}")


def _comment(lines: str) -> CommentToken:
    return CommentToken(lines, CommentMark(0), None)


def _last_value(node: _Node, key: object) -> tuple[_Node, object, int]:
    """The last plain or flow value below an entry, and where its comment is."""
    value = node[key]
    if isinstance(value, _Node) and value and not value.fa.flow_style():
        last = len(value) - 1 if isinstance(value, CommentedSeq) else list(value)[-1]
        return _last_value(value, last)
    return node, key, 0 if isinstance(node, CommentedSeq) else 2


def _written(value: object) -> object:
    """``value`` with those strings in quotes that PyYAML would read as something else."""
    if isinstance(value, dict):
        return {key: _written(one) for key, one in value.items()}
    if isinstance(value, list):
        return [_written(one) for one in value]
    if isinstance(value, str) and yaml.safe_dump(value)[0] in "'\"":
        return SingleQuotedScalarString(value)
    return value
