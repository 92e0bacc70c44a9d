"""Static tokens: a file that says whose each is, and never holds one.

A token is 256 random bits. Of such a secret a single SHA-256 is enough: nobody can try 2^256 of them, so there is
nothing for a slow, salted hash to slow down, as there is with passwords that people choose; and it costs each request
a microsecond instead of a tenth of a second. Tokens of a person's own choice have no place in the file.

The file is looked at once a second: a token that is taken out of it is refused from then on.
"""

from __future__ import annotations

import fcntl
import hashlib
import os
import secrets
import stat
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated, Any

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, TypeAdapter, ValidationError

from consumers.api.access import Credential, Scope
from ledger.errors import WrongUsage

PREFIX = "plt_"
"""What a token starts with: scanners for leaked secrets find it by that."""
LOOK_SECONDS = 1.0
_ADVICE = "Write it with: pauseledger token new --actor … --scope …"


def _one_role(value: str) -> str:
    if "," in value or value != value.strip():
        raise ValueError("a role has no comma in it, and no space around it: actorroles is a list with commas")
    return value


Principal = Annotated[str, Field(min_length=1, max_length=256)]
Role = Annotated[Principal, AfterValidator(_one_role)]
Some = Annotated[str, Field(min_length=1)]


class TokenEntry(BaseModel):
    """What the file says of one token."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    sha256: str = Field(pattern="^[0-9a-f]{64}$")
    actor: Principal
    roles: tuple[Role, ...] = ()
    scopes: tuple[Scope, ...] = Field(min_length=1)
    prefixes: tuple[Some, ...] = ()
    routes: tuple[Some, ...] = ()

    def credential(self) -> Credential:
        name = f"token:{self.sha256[:16]}"
        return Credential(name, self.actor, self.roles, frozenset(self.scopes), self.prefixes, self.routes)


_FILE: TypeAdapter[list[TokenEntry]] = TypeAdapter(list[TokenEntry])


def digest_of(token: str) -> str:
    """The hash by which a token is known."""
    return hashlib.sha256(token.encode(errors="surrogatepass")).hexdigest()


def new_token(**entry: Any) -> tuple[str, TokenEntry]:
    """A fresh token, and its entry for the file. Raises ``WrongUsage`` where the entry can't be meant."""
    token = PREFIX + secrets.token_urlsafe(32)
    try:
        return token, TokenEntry(sha256=digest_of(token), **entry)
    except ValidationError as error:
        raise WrongUsage(_explained(error), "See docs/http.md.") from None


def _explained(error: ValidationError) -> str:
    first = error.errors(include_url=False, include_input=False)[0]
    return f"{'.'.join(str(part) for part in first['loc'])}: {first['msg']}."


def read_tokens(path: Path) -> dict[str, Credential]:
    """The credentials of a file, by the hash of their token. Raises ``WrongUsage``."""
    try:
        entries = _FILE.validate_json(path.read_bytes())
    except OSError as error:
        raise WrongUsage(f"The tokens file {path} can't be read: {error.strerror}.", _ADVICE) from None
    except ValidationError as error:
        raise WrongUsage(f"The tokens file {path} is not as it should be: {_explained(error)}", _ADVICE) from None
    return {entry.sha256: entry.credential() for entry in entries}


def add_token(path: Path, entry: TokenEntry) -> None:
    """Put an entry into the file, which is made, readable by its owner alone, where there is none.

    A link stays one, and the file keeps its mode and its owner. Two at once take turns. Raises ``WrongUsage``.
    """
    path = path.resolve()
    try:
        with _alone(path):
            former: list[TokenEntry] = []
            if path.exists():
                read_tokens(path)  # says what is wrong with it
                former = _FILE.validate_json(path.read_bytes())
            _replace(path, "[\n  " + ",\n  ".join(one.model_dump_json() for one in [*former, entry]) + "\n]\n")
    except OSError as error:
        advice = "Run this as the owner of the file, or as root."
        raise WrongUsage(f"The tokens file {path} can't be written: {error.strerror}.", advice) from None


@contextmanager
def _alone(path: Path) -> Iterator[None]:
    """Holds the lock of a file: one beside it, since the file itself is replaced."""
    descriptor = os.open(path.with_name(path.name + ".lock"), os.O_RDWR | os.O_CREAT, 0o600)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX)
        yield
    finally:
        os.close(descriptor)


def _replace(path: Path, text: str) -> None:
    """Whoever reads the file finds the old one or the new one, whole."""
    temporary = path.with_name(path.name + ".new")
    temporary.unlink(missing_ok=True)  # of one that was killed
    with open(os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w", encoding="utf-8") as file:
        if path.exists():
            former, own = path.stat(), os.fstat(file.fileno())
            if (former.st_uid, former.st_gid) != (own.st_uid, own.st_gid):
                os.fchown(file.fileno(), former.st_uid, former.st_gid)
            os.fchmod(file.fileno(), stat.S_IMODE(former.st_mode))
        file.write(text)
        file.flush()
        os.fsync(file.fileno())
    temporary.replace(path)


class Tokens:
    """The tokens of a file, as it is now. Used by one thread."""

    def __init__(self, path: Path, clock: Callable[[], float] = time.monotonic) -> None:
        self._path = path
        self._clock = clock
        self._looked_at = clock()
        self._seen = self._stamp()
        self._known = read_tokens(path)

    def _stamp(self) -> tuple[int, int, int] | None:
        try:
            found = self._path.stat()
        except OSError:
            return None
        return found.st_mtime_ns, found.st_size, found.st_ino

    def find(self, token: str) -> Credential | None:
        """Whose token this is; null where it is nobody's.

        Raises ``WrongUsage`` where the file was made unreadable: then nobody is let in, for it may have been to lock
        somebody out.
        """
        now = self._clock()
        if now - self._looked_at < LOOK_SECONDS:
            return self._known.get(digest_of(token))
        self._looked_at, stamp = now, self._stamp()
        if stamp != self._seen:
            self._known, self._seen, self._looked_at = {}, None, float("-inf")
            self._known, self._seen, self._looked_at = read_tokens(self._path), stamp, now
        return self._known.get(digest_of(token))
