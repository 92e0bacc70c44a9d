"""Where task tokens are kept: beside the ledger, never on it. Whoever has a token can end its task.

A folder that only its owner may read, with a file for each token, named by the token's SHA-256: that hash is all that
the ledger, logs and errors ever show. A file is whole or absent, and on the disk when ``keep`` returns.
"""

from __future__ import annotations

import hashlib
import os
import tempfile
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Protocol

from ledger.errors import DiskFailed, WrongUsage
from ledger.json_text import read_json, write_json
from ledger.runtimes.pauses import Paused

_ADVICE = "See that the folder of tokens is there, on a disk with room, and this user's."


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


class TokenStore(Protocol):
    """What an adapter needs of a secret store; keyed by :func:`token_hash`. Thread-safe, and safe among processes."""

    def keep(self, kept: Kept) -> None:
        """Keep it; a token kept before is of the newer pause from now on. Durable on return."""
        ...

    def find(self, hash: str) -> Kept | None: ...

    def hashes(self) -> Iterator[str]: ...

    def forget(self, hash: str) -> None:
        """Forget it, also where it isn't there."""
        ...


class TokenFolder:
    """The store on this machine's disk. Raises ``DiskFailed`` where that can't be read or written."""

    def __init__(self, folder: str | Path) -> None:
        self._folder = Path(folder)

    def keep(self, kept: Kept) -> None:
        subject, execution, pause, _ = kept.paused
        content = {"token": kept.token, "subject": subject, "execution": execution, "pause": pause}
        try:
            self._folder.mkdir(mode=0o700, exist_ok=True)
            number, name = tempfile.mkstemp(dir=self._folder, prefix=".new-")  # 0600 from the start
            try:
                with os.fdopen(number, "wb") as file:
                    file.write(write_json(content))
                    file.flush()
                    os.fsync(file.fileno())
                Path(name).replace(self._folder / kept.hash)
            except BaseException:
                Path(name).unlink(missing_ok=True)
                raise
            self._settle()
        except OSError as error:
            raise _failed(error) from None

    def find(self, hash: str) -> Kept | None:
        if len(hash) != 64 or not hash.isalnum():
            raise WrongUsage("This is no hash of a token.", "Give 64 hexadecimal digits.")
        try:
            content = read_json((self._folder / hash).read_bytes())
        except FileNotFoundError:
            return None
        except OSError as error:
            raise _failed(error) from None
        return Kept(Paused(content["subject"], content["execution"], content["pause"]), content["token"])

    def hashes(self) -> Iterator[str]:
        with suppress(FileNotFoundError):
            yield from sorted(path.name for path in self._folder.iterdir() if len(path.name) == 64)

    def forget(self, hash: str) -> None:
        try:
            (self._folder / hash).unlink(missing_ok=True)
        except OSError as error:
            raise _failed(error) from None

    def _settle(self) -> None:
        number = os.open(self._folder, os.O_RDONLY)
        try:
            os.fsync(number)
        finally:
            os.close(number)


def _failed(error: OSError) -> DiskFailed:
    return DiskFailed(f"A task token can't be kept or read: {error.strerror}.", _ADVICE)
