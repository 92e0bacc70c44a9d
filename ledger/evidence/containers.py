"""Where a bundle lies: a folder or a zip, read as what nobody trusts. Nothing is ever written.

No link is followed, and nothing but plain files is opened: a pipe or a device can't make a verifier wait. Names are
compared, never used as paths of their own: a file is opened only by a name that the manifest may list.
"""

from __future__ import annotations

import io
import os
import re
import stat
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO, NamedTuple, Protocol, cast

from ledger.evidence.bundle import CSV_FOLDER, PARQUET_FOLDER, in_order
from ledger.evidence.failures import Refused, shown
from ledger.evidence.zips import LONGEST_NAME, MOST_MEMBERS, NoZip, read_zip

_NAME = re.compile(r"(?:csv/|parquet/)?[A-Za-z0-9][A-Za-z0-9._-]*")
_BUFFER = 256 * 1024
SCATTERED = 4 * 1024
"""The buffer of who reads a line here and a line there: what is read beside them is read for nothing."""
_PLAIN = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC


class Container(Protocol):
    """A bundle's files by name. Each ``open`` gives a stream of its own."""

    def names(self) -> list[str]:
        """The files that are there."""
        ...

    def size(self, name: str) -> int:
        """How many bytes a file has."""
        ...

    def checksum(self, name: str) -> int | None:
        """The CRC-32 that the container itself keeps of a file; null where it keeps none."""
        ...

    def open(self, name: str, buffer: int = ...) -> BinaryIO:
        """A file from its start."""
        ...

    def refuse_changed(self) -> None:
        """Raises ``Refused`` where something was written since it was opened: files are read more than once."""
        ...


class _Stamp(NamedTuple):
    """Which file lies somewhere, and when it was written last."""

    device: int
    inode: int
    size: int
    modified: int
    changed: int


def _stamp(found: os.stat_result) -> _Stamp:
    return _Stamp(found.st_dev, found.st_ino, found.st_size, found.st_mtime_ns, found.st_ctime_ns)


class _Window(io.RawIOBase):
    """A part of an open file, as a file of its own."""

    def __init__(self, fd: int, begin: int, size: int, *, owned: bool = False) -> None:
        self._fd, self._begin, self._size, self._at, self._owned = fd, begin, size, 0, owned

    def readable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return True

    def readinto(self, buffer: memoryview) -> int:  # type: ignore[override]
        data = os.pread(self._fd, max(0, min(len(buffer), self._size - self._at)), self._begin + self._at)
        buffer[: len(data)] = data
        self._at += len(data)
        return len(data)

    def seek(self, offset: int, whence: int = os.SEEK_SET) -> int:
        origin = {os.SEEK_SET: 0, os.SEEK_CUR: self._at, os.SEEK_END: self._size}[whence]
        self._at = max(0, origin + offset)
        return self._at

    def tell(self) -> int:
        return self._at

    def close(self) -> None:
        if self._owned and not self.closed:
            os.close(self._fd)
        super().close()


def _stream(window: _Window, buffer: int) -> BinaryIO:
    return cast(BinaryIO, io.BufferedReader(window, buffer))


_DROPPINGS = re.compile(r"(?:\.DS_Store|\._.*|__MACOSX|[Tt]humbs\.db|desktop\.ini)", re.DOTALL)
"""What other people's systems put into folders that are looked at or packed."""


def _acceptable(name: str) -> str:
    if _DROPPINGS.fullmatch(name.rpartition("/")[2]):
        raise Refused("malformed", f"{shown(name)} was put there by a system: delete it, it's no part of the bundle")
    if len(name) > LONGEST_NAME or not _NAME.fullmatch(name):
        raise Refused("malformed", f"no bundle has a file {shown(name)}")
    return name


class ZipContainer:
    """A bundle in one zip file, opened at ``fd``. Raises ``Refused``."""

    def __init__(self, fd: int) -> None:
        self._fd, self._stamp = fd, _stamp(os.fstat(fd))
        try:
            members = read_zip(fd)
        except NoZip as error:
            raise Refused("malformed", f"the file is no zip as a bundle is written: {error}") from None
        self._members = {_acceptable(one.name): one for one in members}
        if len(self._members) != len(members):
            raise Refused("malformed", "the zip has two files of one name")
        if [one.name for one in members] != in_order(list(self._members)):
            raise Refused("malformed", "the files in the zip are not in their order")

    def names(self) -> list[str]:
        return list(self._members)

    def size(self, name: str) -> int:
        return self._members[name].size

    def checksum(self, name: str) -> int | None:
        return self._members[name].crc

    def open(self, name: str, buffer: int = _BUFFER) -> BinaryIO:
        member = self._members[name]
        return _stream(_Window(self._fd, member.begin, member.size), buffer)

    def refuse_changed(self) -> None:
        if _stamp(os.fstat(self._fd)) != self._stamp:
            raise Refused("changed", "the zip was changed while it was read")


class FolderContainer:
    """A bundle in a folder, opened at ``fd``. Raises ``Refused``."""

    def __init__(self, fd: int) -> None:
        self._fd = fd
        self._stamps = dict(self._found("", fd))

    def _found(self, prefix: str, fd: int) -> Iterator[tuple[str, _Stamp]]:
        with os.scandir(fd) as entries:
            for count, entry in enumerate(entries):
                if count >= MOST_MEMBERS:
                    raise Refused("malformed", "the folder has too many files")
                yield from self._one(prefix + entry.name, fd, entry)

    def _one(self, name: str, fd: int, entry: os.DirEntry[str]) -> Iterator[tuple[str, _Stamp]]:
        mode = entry.stat(follow_symlinks=False)
        if _DROPPINGS.fullmatch(entry.name):
            _acceptable(name)
        if stat.S_ISREG(mode.st_mode):
            yield _acceptable(name), _stamp(mode)
        elif stat.S_ISDIR(mode.st_mode) and f"{name}/" in (CSV_FOLDER, PARQUET_FOLDER):
            inner = os.open(entry.name, _PLAIN | os.O_DIRECTORY, dir_fd=fd)
            try:
                found = list(self._found(f"{name}/", inner))
            finally:
                os.close(inner)
            if not found:
                raise Refused("malformed", f"the folder {shown(name)} is empty")
            yield from found
        else:
            raise Refused("malformed", f"{shown(name)} is no plain file, and none of a bundle's folders")

    def names(self) -> list[str]:
        return list(self._stamps)

    def size(self, name: str) -> int:
        return self._stamps[name].size

    def checksum(self, name: str) -> int | None:  # noqa: ARG002
        return None

    def open(self, name: str, buffer: int = _BUFFER) -> BinaryIO:
        folder, _, last = name.rpartition("/")
        place = os.open(folder, _PLAIN | os.O_DIRECTORY, dir_fd=self._fd) if folder else self._fd
        try:
            fd = os.open(last, _PLAIN, dir_fd=place)
        finally:
            if folder:
                os.close(place)
        if not stat.S_ISREG(os.fstat(fd).st_mode):
            os.close(fd)
            raise Refused("malformed", f"{shown(name)} is no plain file")
        return _stream(_Window(fd, 0, self.size(name), owned=True), buffer)

    def refuse_changed(self) -> None:
        now = dict(self._found("", self._fd))
        if now != self._stamps:
            name = min(one for one in {*now, *self._stamps} if now.get(one) != self._stamps.get(one))
            raise Refused("changed", f"{name} was changed while the bundle was read")


@contextmanager
def opened(path: Path) -> Iterator[Container]:
    """The bundle at a path. Raises ``Refused``, or ``OSError`` where there is nothing that can be opened."""
    fd = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
    try:
        mode = os.fstat(fd).st_mode
        kinds: dict[bool, Callable[[int], Container]] = {True: FolderContainer, False: ZipContainer}
        if not stat.S_ISDIR(mode) and not stat.S_ISREG(mode):
            raise Refused("malformed", "a bundle is a folder or a zip file")
        yield kinds[stat.S_ISDIR(mode)](fd)
    except OSError as error:
        raise Refused("malformed", f"it can't be read: {error.strerror or type(error).__name__}") from None
    finally:
        os.close(fd)
