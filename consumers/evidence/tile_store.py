"""Where the tiles of one tree lie, and its checkpoint: a folder, or whatever fsspec can reach, such as S3.

1. When ``write`` or ``publish`` returns, all of it is persisted; when one raises, some of it may be.
2. A tile is never changed: writing it again with equal bytes does nothing, with others it raises ``TileDiffers``.
3. The checkpoint is replaced only where it is still the one that the caller saw. In a folder and on S3 nobody can come
   in between; other stores are asked just before.
"""

from __future__ import annotations

import errno
import fcntl
import os
import shutil
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any, Protocol, TypeVar
from urllib.parse import quote, unquote, urlsplit

from ledger.errors import DiskFailed, Fenced, LogUnavailable, UnusableLog, WrongUsage
from ledger.evidence.tiles import CHECKPOINT_PATH

Found = TypeVar("Found")
_NOT_IMPLEMENTED = 501
_MEND = "Hash the log again, which also mends tiles: pauseledger checkpoint --recheck."


class TileDiffers(UnusableLog):
    """A tile that was written before has other bytes."""

    def __init__(self, where: str) -> None:
        super().__init__(
            f"The tile {where} was written before with other hashes: the log or the tile was changed.", _MEND
        )


class TileStore(Protocol):
    """The files of one tree. ``where`` names the place to people."""

    where: str

    def read(self, path: str) -> bytes | None:
        """What a file holds; null where there is none. Raises ``LogUnavailable``."""
        ...

    def write(self, files: Mapping[str, bytes], *, mend: bool = False) -> None:
        """Persist tiles (rules 1 and 2); ``mend`` writes over what differs."""
        ...

    def publish(self, note: bytes, instead_of: bytes | None) -> None:
        """Replace the checkpoint (rule 3). Raises ``Fenced`` where ``instead_of`` is not what lies there."""
        ...

    def drop(self, folders: Iterable[str]) -> None:
        """Take folders of partial tiles away, which nobody needs any longer. That may fail: then they stay."""
        ...


class FolderStore:
    """Files below a folder: each is written beside its place, synced, and moved there."""

    def __init__(self, folder: Path) -> None:
        self.where = str(folder)
        self._folder = folder

    def read(self, path: str) -> bytes | None:
        try:
            return (self._folder / path).read_bytes()
        except (FileNotFoundError, NotADirectoryError, IsADirectoryError):
            return None
        except OSError as error:
            raise _unreadable(f"{self._folder / path}", error) from error

    def write(self, files: Mapping[str, bytes], *, mend: bool = False) -> None:
        if not files:
            return
        with self._locked():
            for path, data in files.items():
                found = self.read(path)
                if found is not None and found != data and not mend:
                    raise TileDiffers(str(self._folder / path))
            self._put(files)

    def publish(self, note: bytes, instead_of: bytes | None) -> None:
        with self._locked():
            if self.read(CHECKPOINT_PATH) != instead_of:
                raise _published_by_another(self.where)
            self._put({CHECKPOINT_PATH: note})

    def drop(self, folders: Iterable[str]) -> None:
        for one in folders:
            shutil.rmtree(self._folder / one, ignore_errors=True)

    def _put(self, files: Mapping[str, bytes]) -> None:
        """All are synced before the first is moved to its place: one sync may do for many."""
        changed: set[Path] = set()
        with _disk(self._folder):
            beside = {self._folder / path: data for path, data in files.items() if self.read(path) != data}
            for path, data in beside.items():
                changed |= _make_folder(path.parent)
                _beside(path).write_bytes(data)
            for path in beside:
                _sync(_beside(path))
            # Also of what lay there: whoever wrote it may have been killed before the sync.
            changed |= {(self._folder / path).parent for path in files}
            for path in beside:
                _beside(path).replace(path)
            for touched in sorted(changed, key=lambda one: -len(one.parts)):
                _sync(touched)

    @contextmanager
    def _locked(self) -> Iterator[None]:
        with _disk(self._folder):
            for folder in _make_folder(self._folder):
                _sync(folder)
            descriptor = os.open(self._folder, os.O_RDONLY | os.O_DIRECTORY)
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX)
            yield
        finally:
            os.close(descriptor)


class FsspecStore:
    """Objects below a prefix, through fsspec. Credentials and endpoints are that library's own settings."""

    def __init__(self, url: str) -> None:
        """Raises ``WrongUsage`` where no library is there for such an address."""
        self.where, self._password = _without_password(url)
        try:
            import fsspec
        except ImportError as error:
            raise WrongUsage("Tiles at an address need fsspec.", "pip install 'pauseledger[tiles]'") from error
        try:
            options = {"skip_instance_cache": True, "use_listings_cache": False}
            self._files, self._prefix = fsspec.core.url_to_fs(url, **options)
        except (ImportError, ValueError) as error:
            problem = f"Tiles can't lie at {self.where}: {self._said(error)}."
            raise WrongUsage(problem, "pip install 'pauseledger[tiles]'") from error
        except Exception as error:  # some connect at once
            raise self._unreachable(error) from error
        self._compares = type(self._files).__name__ == "S3FileSystem"

    def read(self, path: str) -> bytes | None:
        return self._asked(lambda: self._content(path))

    def _content(self, path: str) -> bytes | None:
        try:
            return bytes(self._files.cat_file(self._at(path)))
        except FileNotFoundError:
            return None

    def write(self, files: Mapping[str, bytes], *, mend: bool = False) -> None:
        if files and not (self._compares and not mend and self._asked(lambda: self._made(files))):
            self._asked(lambda: self._write(files, mend))

    def _made(self, files: Mapping[str, bytes]) -> bool:
        """Whether none of them was there: S3 says so itself, and one request a tile does."""
        try:
            self._files.pipe({self._at(path): data for path, data in files.items()}, mode="create")
        except OSError as error:
            if self._has_no_guards(error) or _is_precondition(error):
                return False
            raise
        return True

    def _has_no_guards(self, error: Exception) -> bool:
        """Some stores that speak S3 can't write on a condition: they are asked just before, as others are."""
        self._compares = self._compares and _status(error) != _NOT_IMPLEMENTED
        return not self._compares

    def _write(self, files: Mapping[str, bytes], mend: bool) -> None:
        missing = {}
        for path, data in files.items():
            found = self._content(path)
            if found is not None and found != data and not mend:
                raise TileDiffers(f"{self.where}/{path}")
            if found != data:
                missing[self._at(path)] = data
        if missing:
            self._files.pipe(missing)

    def publish(self, note: bytes, instead_of: bytes | None) -> None:
        self._asked(lambda: self._publish(note, instead_of))

    def _publish(self, note: bytes, instead_of: bytes | None) -> None:
        at = self._at(CHECKPOINT_PATH)
        guard: dict[str, str] = {}
        if self._compares:  # the tag is asked for first: what is read after it is that, or newer and refused
            guard = (
                {"IfNoneMatch": "*"} if instead_of is None else {"IfMatch": self._files.info(at, refresh=True)["ETag"]}
            )
        if self._content(CHECKPOINT_PATH) != instead_of:
            raise _published_by_another(self.where)
        try:
            self._files.pipe_file(at, note, **guard)
        except OSError as error:
            if guard and self._has_no_guards(error):
                self._files.pipe_file(at, note)
            elif guard and _is_precondition(error):
                raise _published_by_another(self.where) from error
            else:
                raise

    def drop(self, folders: Iterable[str]) -> None:
        for folder in folders:
            with suppress(Exception):
                self._files.rm(self._at(folder), recursive=True)

    def _at(self, path: str) -> str:
        return f"{self._prefix.rstrip('/')}/{path}"

    def _asked(self, ask: Callable[[], Found]) -> Found:
        """Every library has errors of its own: what they say is passed on, as something that may pass."""
        try:
            return ask()
        except (Fenced, TileDiffers):
            raise
        except Exception as error:
            raise self._unreachable(error) from error

    def _unreachable(self, error: Exception) -> LogUnavailable:
        advice = "See that its address and credentials are right, and that it is up."
        return LogUnavailable(f"The tiles at {self.where} can't be reached: {self._said(error)}.", advice)

    def _said(self, error: Exception) -> str:
        """What a library says, which may quote the address."""
        said = _said(error)
        for secret in filter(None, (self._password, unquote(self._password))):
            said = said.replace(secret, "…")
        return said


def open_tiles(place: str, origin: str) -> TileStore:
    """The files of the tree of that origin, below a folder or an address."""
    below = "/".join(quote(part, safe="") for part in origin.split("/"))
    if place.startswith("file://"):
        place = unquote(urlsplit(place).path)  # synced and locked as any folder is, which fsspec does not
    if "://" in place:
        return FsspecStore(f"{place.rstrip('/')}/{below}")
    return FolderStore(Path(place) / below)


def _published_by_another(where: str) -> Fenced:
    return Fenced(f"Another notary has published a checkpoint at {where} in the meantime.")


def _is_precondition(error: Exception) -> bool:
    """S3 says 412, or 409 where two write at once."""
    return _status(error) in (409, 412) or isinstance(error, FileExistsError)


def _status(error: Exception) -> int | None:
    """The HTTP status that a library of AWS was answered with."""
    cause: Any = error.__cause__ if error.__cause__ is not None else error
    found = getattr(cause, "response", {}).get("ResponseMetadata", {}).get("HTTPStatusCode")
    return found if isinstance(found, int) else None


def _without_password(url: str) -> tuple[str, str]:
    """An address as it may be shown, and the password in it."""
    scheme, _, rest = url.partition("://")
    place, slash, path = rest.partition("/")
    user, at, host = place.rpartition("@")
    name, _, password = user.partition(":")
    return f"{scheme}://{name}{at}{host}{slash}{path}", password


def _said(error: Exception) -> str:
    return " ".join(str(error).split()).rstrip(".")[:300] or type(error).__name__


def _unreadable(path: str, error: OSError) -> LogUnavailable:
    return LogUnavailable(f"{path} can't be read: {error.strerror}.", "See that this user may, and the disk is sound.")


@contextmanager
def _disk(folder: Path) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        if error.errno in (errno.ENOSPC, errno.EDQUOT, errno.EIO):
            raise DiskFailed(
                f"Tiles in {folder} can't be written: {error.strerror}.", "Make room, then try again."
            ) from error
        advice = "Set PAUSELEDGER_TILES to a folder that this user may write."
        raise LogUnavailable(f"Tiles in {folder} can't be written: {error.strerror}.", advice) from error


def _beside(path: Path) -> Path:
    """Where a file is written first. Its name is the same each time: the folder is locked."""
    return path.with_name(f".{path.name}.new")


def _make_folder(folder: Path) -> set[Path]:
    """Make a folder where there is none; those whose entries have changed, which are to be synced."""
    changed: set[Path] = set()
    missing = []
    at = folder
    while not at.is_dir():
        missing.append(at)
        at = at.parent
    for one in reversed(missing):
        one.mkdir(exist_ok=True)
        changed.add(one.parent)
    return changed


def _sync(path: Path) -> None:
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
