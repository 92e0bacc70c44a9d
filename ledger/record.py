"""One record of the log, as received: the bytes that are stored, hashed and exported.

Nothing here looks inside a record; reading it as a CloudEvent is :mod:`ledger.cloudevents`. The layout of
:func:`record_bytes` is section 11 of the protocol, so that what the index stores is what evidence hashes.
"""

from __future__ import annotations

import struct
from typing import Final, NamedTuple

Headers = tuple[tuple[str, bytes | None], ...]

MOST_RECORD_BYTES = 4 * 1024 * 1024
"""What every log takes as key, value and headers of one record together; more is never sent."""

_NULL = 0xFFFFFFFF
_POSITION = struct.Struct(">QQ")
_LENGTH = struct.Struct(">I")
_POSITION_AND_LENGTH = struct.Struct(">QQI")
pack_head = _POSITION_AND_LENGTH.pack
"""How the bytes of a record with a key begin: offset, time, the key's length. For whoever makes very many."""
pack_length = _LENGTH.pack
"""The length before a byte string."""


class Record(NamedTuple):
    """A record at its place on the log. ``recorded_at`` is the log's own clock, milliseconds since 1970."""

    partition: int
    offset: int
    recorded_at: int
    key: bytes | None
    value: bytes | None
    headers: Headers = ()

    @property
    def entry(self) -> str:
        """``"partition:offset"``, as the protocol writes an entry."""
        return f"{self.partition}:{self.offset}"


new_record = tuple.__new__
"""What a reader makes records with, ``new_record(Record, parts)``: a named tuple's own constructor is twice as slow."""


def _framed(data: bytes | None) -> bytes:
    return _LENGTH.pack(_NULL) if data is None else _LENGTH.pack(len(data)) + data


def record_bytes(record: Record) -> bytes:
    """The record as bytes (protocol, section 11): everything but the partition, nothing re-serialised."""
    return b"".join(record_parts(record))


def record_parts(record: Record) -> tuple[bytes, ...]:
    """The parts of :func:`record_bytes`, for whoever puts more beside them."""
    key, value, headers = record.key, record.value, record.headers  # one by one: a named tuple is slow to unpack
    offset, recorded_at = record.offset, record.recorded_at
    if key is None or value is None:
        return _POSITION.pack(offset, recorded_at), _framed(key), _framed(value), headers_bytes(headers)
    head = _POSITION_AND_LENGTH.pack(offset, recorded_at, len(key))
    return head, key, _LENGTH.pack(len(value)), value, headers_bytes(headers)


_MOST_KEPT: Final = 256
_LONGEST_KEPT: Final = 1_024
"""Strangers' headers may be as large as a record: what is kept of them is short."""
_packed: dict[Headers, bytes] = {}
_unpacked: dict[bytes, Headers] = {}


def headers_bytes(headers: Headers) -> bytes:
    """The headers as in :func:`record_bytes`: their count (uint32), then each one's name and value.

    Bytes of a name that are no UTF-8 are held as surrogate escapes, and come out as they were.
    """
    found = _packed.get(headers)  # in structured mode all headers are alike
    if found is None:
        found = _pack(headers)
        if len(found) <= _LONGEST_KEPT:
            if len(_packed) >= _MOST_KEPT:
                _packed.clear()
            _packed[headers] = found
    return found


def _pack(headers: Headers) -> bytes:
    parts = [_LENGTH.pack(len(headers))]
    for name, value in headers:
        parts.append(_framed(name.encode(errors="surrogateescape")))
        parts.append(_framed(value))
    return b"".join(parts)


def _unframed(data: bytes, at: int) -> tuple[bytes | None, int]:
    (length,) = _LENGTH.unpack_from(data, at)
    at += 4
    if length == _NULL:
        return None, at
    return data[at : at + length], at + length


def headers_from(data: bytes) -> Headers:
    """The inverse of :func:`headers_bytes`."""
    found = _unpacked.get(data)
    if found is None:
        found = read_headers_bytes(data)[0]
        if len(data) <= _LONGEST_KEPT:
            if len(_unpacked) >= _MOST_KEPT:
                _unpacked.clear()
            _unpacked[data] = found
    return found


def read_headers_bytes(data: bytes, at: int = 0) -> tuple[Headers, int]:
    """The inverse of :func:`headers_bytes`, from ``at`` on: the headers, and where they end."""
    (count,) = _LENGTH.unpack_from(data, at)
    at += 4
    headers = []
    for _ in range(count):
        name, at = _unframed(data, at)
        content, at = _unframed(data, at)
        headers.append(((name or b"").decode(errors="surrogateescape"), content))
    return tuple(headers), at


def read_record_bytes(partition: int, data: bytes) -> tuple[Record, int]:
    """The inverse of :func:`record_bytes`: the record, and the number of bytes it took."""
    offset, recorded_at = _POSITION.unpack_from(data)
    key, at = _unframed(data, _POSITION.size)
    value, at = _unframed(data, at)
    headers, at = read_headers_bytes(data, at)
    return Record(partition, offset, recorded_at, key, value, headers), at
