"""Where task tokens are kept: beside the ledger, never on it. Whoever has a token can end its task.

A folder that only its owner may enter, with a file for each token, named by the token's SHA-256: that hash is all that
the ledger, logs and errors ever show. A file is whole or absent, and on the disk when ``keep`` returns. A process that
is killed while it writes may leave one under another name: it goes when the token is forgotten.
"""

from __future__ import annotations

import hashlib
import os
import re
import stat
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Protocol

from ledger.errors import DiskFailed, WrongUsage
from ledger.json_text import read_json, write_json
from ledger.runtimes.pauses import Paused

_ADVICE = "See that the folder of tokens is there, on a disk with room, and this user's."
_HASH = re.compile(r"[0-9a-f]{64}")


def token_hash(token: str) -> str:
    """What a token is called wherever it may not be shown: 64 hexadecimal digits."""
    return hashlib.sha256(token.encode()).hexdigest()


@dataclass(frozen=True)
class Kept:
    """A token and the pause that waits behind it (without its action: the packet has that)."""

    paused: Paused
    token: str = field(repr=False)

    @property
    def hash(self) -> str:
        return token_hash(self.token)


class Damaged(WrongUsage):
    """What lies in the store under a hash can't be read as a token; the others can."""


class TokenStore(Protocol):
    """What an adapter needs of a secret store; keyed by :func:`token_hash`. Thread-safe, and safe among processes."""

    def keep(self, kept: Kept) -> None:
        """Keep it; a token kept before is of the newer pause from now on. Durable on return."""
        ...

    def find(self, hash: str) -> Kept | None:
        """What is kept under it. Raises ``Damaged``."""
        ...

    def hashes(self) -> Iterator[str]: ...

    def forget(self, hash: str) -> None:
        """Forget it, also where it isn't there."""
        ...


class TokenFolder:
    """The store on this machine's disk. Raises ``DiskFailed`` where that can't be read or written.

    A folder that anybody else may enter is refused, with ``WrongUsage``: tokens that lay open are to be looked at.
    """

    def __init__(self, folder: str | Path) -> None:
        self._folder = Path(folder)

    def keep(self, kept: Kept) -> None:
        subject, execution, pause, _ = kept.paused
        content = {"token": kept.token, "subject": subject, "execution": execution, "pause": pause}
        try:
            self._make()
            number, name = tempfile.mkstemp(dir=self._folder, prefix=_unfinished(kept.hash))  # 0600 from the start
            try:
                with os.fdopen(number, "wb") as file:
                    file.write(write_json(content))
                    file.flush()
                    os.fsync(file.fileno())
                Path(name).replace(self._folder / kept.hash)
            except BaseException:
                Path(name).unlink(missing_ok=True)
                raise
            _settle(self._folder)
        except OSError as error:
            raise _failed(error) from None

    def find(self, hash: str) -> Kept | None:
        if not _HASH.fullmatch(hash):
            raise WrongUsage("This is no hash of a token.", "Give 64 hexadecimal digits.")
        try:
            self._check()
            content = read_json((self._folder / hash).read_bytes())
            return Kept(Paused(content["subject"], content["execution"], content["pause"]), content["token"])
        except FileNotFoundError:
            return None
        except OSError as error:
            raise _failed(error) from None
        except (ValueError, TypeError, LookupError):
            problem = f"The file {hash} in the folder of tokens is none of ours, or was damaged."
            raise Damaged(problem, "Put it away; a task that is handed out again is kept anew.") from None

    def hashes(self) -> Iterator[str]:
        try:
            yield from sorted(path.name for path in self._folder.iterdir() if _HASH.fullmatch(path.name))
        except FileNotFoundError:
            return
        except OSError as error:
            raise _failed(error) from None

    def forget(self, hash: str) -> None:
        try:
            (self._folder / hash).unlink(missing_ok=True)
            for left in self._folder.glob(f"{_unfinished(hash)}*"):
                left.unlink(missing_ok=True)
        except OSError as error:
            raise _failed(error) from None

    def _make(self) -> None:
        try:
            self._folder.mkdir(mode=0o700)
        except FileExistsError:
            self._check()
        else:
            _settle(self._folder.absolute().parent)  # or a power cut takes the folder, and all that is in it

    def _check(self) -> None:
        found = self._folder.stat()
        if stat.S_IMODE(found.st_mode) & 0o077 or found.st_uid != os.geteuid():
            problem = f"Others than this user may enter the folder of tokens, {self._folder}."
            advice = "Make it this user's, with mode 0700, or name one in it, which is made so. A token ends its task."
            raise WrongUsage(problem, advice)


def _unfinished(hash: str) -> str:
    return f".new-{hash}-"


def _settle(folder: Path) -> None:
    number = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(number)
    finally:
        os.close(number)


def _failed(error: OSError) -> DiskFailed:
    return DiskFailed(f"A task token can't be kept or read: {error.strerror}.", _ADVICE)
