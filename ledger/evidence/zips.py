"""A bundle as one zip file, in the one way in which it is written: members stored, one behind another, with fixed dates
and modes, no comment, nothing between, before or behind them.

So a reader needs no archive library and no leniency: from names, sizes and checksums it makes the headers again, and
any other byte is refused. There is nothing to decompress, and no name is ever used as a path.
"""

from __future__ import annotations

import os
import struct
import zlib
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import BinaryIO, NamedTuple

_LOCAL = struct.Struct("<4sHHHHHIIIHH")
_CENTRAL = struct.Struct("<4s4B4HIIIHHHHHII")
_END = struct.Struct("<4sHHHHIIH")
_END_64 = struct.Struct("<4sQ2BHIIQQQQ")
_LOCATOR = struct.Struct("<4sIQI")
_BIG = struct.Struct("<HHQQ")
_BIG_PLACED = struct.Struct("<HHQQQ")
_FULL, _MANY = 0xFFFFFFFF, 0xFFFF
_UNIX, _PLAIN_VERSION, _BIG_VERSION = 3, 20, 45
_UTF8 = 0x800
_DATE = 0x0021  # 1 January 1980
_MODE = (0o100644 << 16) & _FULL
_BLOCK = 1024 * 1024

MOST_MEMBERS = 100_000
LONGEST_NAME = 200


class NoZip(ValueError):
    """A file that is no zip as we write it."""


class Member(NamedTuple):
    """A file in a zip: its name, its size, the checksum of its bytes, and where its header lies."""

    name: str
    size: int
    crc: int
    at: int

    @property
    def begin(self) -> int:
        """Where its bytes lie."""
        return self.at + len(_local(self))


def _is_big(member: Member) -> bool:
    return member.size >= _FULL or member.at >= _FULL


def _local(member: Member) -> bytes:
    name, big = member.name.encode(), member.size >= _FULL
    size = _FULL if big else member.size
    extra = _BIG.pack(1, 16, member.size, member.size) if big else b""
    version = _BIG_VERSION if big else _PLAIN_VERSION
    head = _LOCAL.pack(b"PK\x03\x04", version, _UTF8, 0, 0, _DATE, member.crc, size, size, len(name), len(extra))
    return head + name + extra


def _central(member: Member) -> bytes:
    name, big = member.name.encode(), _is_big(member)
    size, at = (_FULL, _FULL) if big else (member.size, member.at)
    extra = _BIG_PLACED.pack(1, 24, member.size, member.size, member.at) if big else b""
    version = _BIG_VERSION if big else _PLAIN_VERSION
    head = _CENTRAL.pack(
        b"PK\x01\x02", version, _UNIX, version, 0, _UTF8, 0, 0, _DATE, member.crc, size, size,
        len(name), len(extra), 0, 0, 0, _MODE, at,
    )  # fmt: skip
    return head + name + extra


def _end(count: int, size: int, at: int) -> bytes:
    plain = _END.pack(b"PK\x05\x06", 0, 0, min(count, _MANY), min(count, _MANY), min(size, _FULL), min(at, _FULL), 0)
    if count < _MANY and size < _FULL and at < _FULL:
        return plain
    whole = _END_64.pack(b"PK\x06\x06", 44, _BIG_VERSION, _UNIX, _BIG_VERSION, 0, 0, count, count, size, at)
    return whole + _LOCATOR.pack(b"PK\x06\x07", 0, at + size, 1) + plain


def _blocks(path: Path) -> Iterator[bytes]:
    with path.open("rb") as file:
        while block := file.read(_BLOCK):
            yield block


def write_zip(out: BinaryIO, folder: Path, names: Sequence[str]) -> None:
    """Write files of a folder as one zip, in the order of these names."""
    at, members = 0, []
    for name in names:
        crc, size = 0, 0
        for block in _blocks(folder / name):
            crc, size = zlib.crc32(block, crc), size + len(block)
        member = Member(name, size, crc, at)
        out.write(_local(member))
        for block in _blocks(folder / name):
            out.write(block)
        members.append(member)
        at = member.begin + size
    central = b"".join(map(_central, members))
    out.write(central + _end(len(members), len(central), at))


def read_zip(fd: int) -> list[Member]:
    """The members of a zip that lies open, in their order. Raises ``NoZip``."""
    size = os.fstat(fd).st_size
    count, central_size, central_at = _read_end(fd, size)
    if count > MOST_MEMBERS or central_size > count * (_CENTRAL.size + LONGEST_NAME + _BIG_PLACED.size):
        raise NoZip("it lists too much")
    central = _read(fd, central_at, central_size)
    members = list(_members(central, count))
    right = b"".join(map(_central, members))
    if right + _end(count, len(right), central_at) != _read(fd, central_at, size - central_at):
        raise NoZip("its list of files is not as it must be written")
    _check_places(fd, members, central_at)
    return members


def _read(fd: int, at: int, size: int) -> bytes:
    """So many bytes. Raises ``NoZip`` where there are fewer."""
    if size < 0 or at < 0 or size > MOST_MEMBERS * (_CENTRAL.size + LONGEST_NAME + _BIG_PLACED.size) + 1_000:
        raise NoZip("its list of files is too long")
    parts = []
    while size:
        part = os.pread(fd, size, at)
        if not part:
            raise NoZip("it is cut off")
        parts.append(part)
        at, size = at + len(part), size - len(part)
    return b"".join(parts)


def _read_end(fd: int, size: int) -> tuple[int, int, int]:
    """The number of members, and size and place of their list."""
    if size < _END.size:
        raise NoZip("it is too short")
    mark, _, _, _, count, central_size, central_at, _ = _END.unpack(_read(fd, size - _END.size, _END.size))
    if mark != b"PK\x05\x06":
        raise NoZip("it does not end as a zip does, or has a comment")
    if count == _MANY or central_size == _FULL or central_at == _FULL:
        at = size - _END.size - _LOCATOR.size - _END_64.size
        if at < 0:
            raise NoZip("it is too short")
        found = _END_64.unpack(_read(fd, at, _END_64.size))
        count, central_size, central_at = found[8], found[9], found[10]
    if central_at + central_size > size:
        raise NoZip("its list of files lies outside")
    return count, central_size, central_at


def _members(central: bytes, count: int) -> Iterator[Member]:
    at = 0
    try:
        for _ in range(count):
            found = _CENTRAL.unpack_from(central, at)
            crc, size, name_size, extra_size, place = found[9], found[11], found[12], found[13], found[18]
            at += _CENTRAL.size
            name = central[at : at + name_size].decode()
            if extra_size:
                _, _, size, _, place = _BIG_PLACED.unpack_from(central, at + name_size)
            at += name_size + extra_size
            yield Member(name, size, crc, place)
    except (struct.error, UnicodeDecodeError):
        raise NoZip("its list of files is broken") from None


def _check_places(fd: int, members: Iterable[Member], central_at: int) -> None:
    """The members lie one behind another from the first byte on, each with the header that belongs to it."""
    at = 0
    for member in members:
        local = _local(member)
        if member.at != at or _read(fd, at, len(local)) != local:
            raise NoZip("its files are not as they must be written")
        at = member.begin + member.size
        if at > central_at:
            raise NoZip("its files overlap")
    if at != central_at:
        raise NoZip("there is something between its files and their list")
