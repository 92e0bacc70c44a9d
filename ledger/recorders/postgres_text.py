"""Texts in PostgreSQL, which has no NUL in them: a subject may.

A NUL is stored as DLE and a digit, and a DLE as two, so that no two texts become one. Nearly no text has either, and
those are stored as they are.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import orjson
import psycopg
from psycopg.abc import Buffer
from psycopg.types.string import StrBinaryDumper, StrDumperUnknown, TextBinaryLoader, TextLoader

_DLE = "\x10"
_SPECIAL_IN_JSON = (b"\\u0000", b"\\u0010")


def stored(text: str) -> str:
    """A text as it is stored."""
    if "\0" not in text and _DLE not in text:
        return text
    return text.replace(_DLE, _DLE * 2).replace("\0", f"{_DLE}0")


def read(text: str) -> str:
    """The inverse of :func:`stored`."""
    if _DLE not in text:
        return text
    return "\0".join(part.replace(_DLE * 2, _DLE) for part in _unescaped_nuls(text))


def _unescaped_nuls(text: str) -> list[str]:
    """The parts of a stored text between its NULs."""
    parts, at, begun = [], 0, 0
    while (at := text.find(_DLE, at)) >= 0:
        if text[at + 1 : at + 2] == "0":
            parts.append(text[begun:at])
            begun = at + 2
        at += 2
    return [*parts, text[begun:]]


class _Stored(StrDumperUnknown):
    def dump(self, obj: str) -> Buffer | None:
        return super().dump(stored(obj))


class _StoredBinary(StrBinaryDumper):
    def dump(self, obj: str) -> Buffer | None:
        return super().dump(stored(obj))


class _Read(TextLoader):
    def load(self, data: Buffer) -> str:
        return read(str(super().load(data)))


class _ReadBinary(TextBinaryLoader):
    def load(self, data: Buffer) -> str:
        return read(str(super().load(data)))


def register(connection: psycopg.Connection[Any]) -> None:
    """Let a connection store and read all its texts so."""
    for dumper in (_StoredBinary, _Stored):  # of several the last one is used where nothing else tells
        connection.adapters.register_dumper(str, dumper)
    for loader in (_Read, _ReadBinary):
        connection.adapters.register_loader("text", loader)


def rows_as_json(rows: Sequence[Sequence[Any]]) -> str | None:
    """All rows as one JSON text, their texts as they are stored; null where they hold bytes."""
    try:
        text = orjson.dumps(rows)
    except TypeError:
        return None
    if any(special in text for special in _SPECIAL_IN_JSON):
        text = orjson.dumps([[stored(value) if isinstance(value, str) else value for value in row] for row in rows])
    return text.decode()
