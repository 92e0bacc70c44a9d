"""Header names that are no UTF-8, which brokers take and kafka-python can't read.

One such record, from any publisher, would stop every reader of its partition for ever: kafka-python fails to decode
the name and calls the batch corrupt. :func:`read_any_header_name` makes it decode such a name with surrogate escapes,
so that its bytes come out as they were; all other records are read as before. It replaces the method of
kafka-python 3 that reads a record, the only place where this can be done.
"""

from __future__ import annotations

from typing import Any

from kafka.record.default_records import DefaultRecordBatch


class _Name(str):
    """A header's name; the fetcher encodes it again, to count its bytes."""

    __slots__ = ()

    def encode(self, encoding: str = "utf-8", errors: str = "") -> bytes:
        return super().encode(encoding, errors or "surrogateescape")


class _Part(bytes):
    def decode(self, encoding: str = "utf-8", errors: str = "") -> str:
        return _Name(super().decode(encoding, errors or "surrogateescape"))


class _Buffer(bytearray):
    def __getitem__(self, at: Any) -> Any:
        found = super().__getitem__(at)
        return _Part(found) if isinstance(at, slice) else found


def _read_msg(batch: Any, *cached: Any) -> Any:
    """Read a record as kafka-python does; only where that fails on a name, read the rest of the batch our way."""
    start = batch._pos
    try:
        return _read_strictly(batch, *cached)
    except UnicodeDecodeError:
        if isinstance(batch._buffer, _Buffer):
            raise
        batch._buffer = _Buffer(batch._buffer)
        batch._pos = start
        return _read_strictly(batch, *cached)


_read_strictly: Any = DefaultRecordBatch._read_msg


def read_any_header_name() -> None:
    """Let every consumer of this process read such names. Calling it again changes nothing."""
    DefaultRecordBatch._read_msg = _read_msg
