"""The key store: a key for each data subject, made when it is first needed, and gone when it is destroyed.

1. Of who a data subject is the store has a keyed digest of the name: so it finds the key, and knows whom it forgot.
2. A key that was destroyed is gone for good; its data subject gets no other, for an action sealed by another key
   would look like another action. Its id, when, by whom and why stay.
3. Where a key is used is written down before it is used: whoever destroys it knows which work items to tell.
4. No key is remembered from one call to the next: what one process destroys no other seals with, or opens.
"""

from __future__ import annotations

import hashlib
import hmac
import os
import secrets
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from typing import Literal, NamedTuple

from consumers.personal.database import Database, Run
from consumers.personal.wrapping import NAME, StoreKey
from ledger.errors import LedgerError, NotFound, UnusableLog, WrongUsage
from ledger.sealing import KEY_BYTES, PersonalKey

_NAMES = "names"
_WRAPPED, _PLAIN = b"wrapped", b"plain"
_FORMAT = b"1"
_NAME_KEY_BYTES = 32


class Destroyed(NamedTuple):
    """A key that is gone: its id, when it went (milliseconds since 1970), by whom and why."""

    key_id: str
    at: int
    by: str
    reason: str


class _Row(NamedTuple):
    key_id: str
    secret: bytes | None
    destroyed_at: int | None


class KeyStore:
    """See :class:`ledger.sealing.KeyRing`. ``log`` is whose work items its uses are written down for. Thread-safe."""

    def __init__(self, open_database: Callable[[], Database], store_key: StoreKey | None, log: str) -> None:
        self._open_database = open_database
        self._store_key = store_key
        self._log = log
        self._process = os.getpid()
        self._lock = threading.Lock()
        self._database: Database | None = None
        self._name_key = b""

    def key_for(self, data_subject: str, work_item: str) -> PersonalKey:
        with self._opened() as database:
            digest = self._digest(data_subject)
            with database.transaction(writes=False) as run:
                row, used = _row_of(run, digest), False
                if row is not None:
                    used = _is_used(run, row.key_id, self._log, work_item)
            if row is None or (not used and row.destroyed_at is None):
                with database.transaction(writes=True) as run:
                    row = self._used(run, digest, work_item)
            if row.destroyed_at is not None or row.secret is None:
                problem = "A data subject of this event was forgotten, and gets no other key: it was not recorded."
                raise WrongUsage(problem, "Leave what is theirs out, or mark it under a new name.")
            return PersonalKey(row.key_id, self._unwrapped(row.secret, row.key_id))

    def _used(self, run: Run, digest: str, work_item: str) -> _Row:
        """The row of a data subject, made where there is none; that it is used is written down."""
        row = _row_of(run, digest)
        if row is None:
            self._see_that_the_store_key_holds(run)
            key_id, secret = secrets.token_hex(16), secrets.token_bytes(KEY_BYTES)
            row = _Row(key_id, self._wrapped(secret, key_id), None)
            run(
                "INSERT INTO personal_keys (key_id, name_digest, secret, made_at) VALUES (?, ?, ?, ?)",
                (row.key_id, digest, row.secret, _now()),
            )
        if row.destroyed_at is None:
            run(
                "INSERT INTO personal_uses (key_id, log, work_item) VALUES (?, ?, ?) ON CONFLICT DO NOTHING",
                (row.key_id, self._log, work_item),
            )
        return row

    def look(self) -> str:
        """See that the store is there, and is opened by this store key; what it is called."""
        with self._opened() as database:
            return database.where

    def key_named(self, key_id: str) -> PersonalKey | Literal["forgotten", "unknown-key"]:
        with self._opened() as database:
            with database.transaction(writes=False) as run:
                rows = run("SELECT key_id, secret, destroyed_at FROM personal_keys WHERE key_id = ?", (key_id,))
            if not rows:
                return "unknown-key"
            row = _Row(*rows[0])
            if row.secret is None:
                return "forgotten"
            return PersonalKey(row.key_id, self._unwrapped(row.secret, row.key_id))

    # -- forgetting ---------------------------------------------------------------------------------

    def destroy(self, data_subject: str, *, by: str, reason: str) -> Destroyed:
        """Destroy a data subject's key, and see that no byte of it is left in the store.

        Where it is destroyed already: as it was said then. Raises ``NotFound`` where there never was one.
        """
        with self._opened() as database:
            digest = self._digest(data_subject)
            with database.transaction(writes=True) as run:
                run(
                    "UPDATE personal_keys SET secret = NULL, destroyed_at = ?, destroyed_by = ?, reason = ?"
                    " WHERE name_digest = ? AND destroyed_at IS NULL",
                    (_now(), by, reason, digest),
                )
                rows = run(
                    "SELECT key_id, destroyed_at, destroyed_by, reason FROM personal_keys WHERE name_digest = ?",
                    (digest,),
                )
            if not rows:
                problem = f"{database.where} never had a key of that data subject."
                raise NotFound(problem, "See that the name is written as it was when the data was marked.")
            database.scrub()
            return Destroyed(*rows[0])

    def untold(self, key_id: str) -> list[str]:
        """The work items of this log on which a key was used, and which have no note of its end yet."""
        with self._opened() as database, database.transaction(writes=False) as run:
            rows = run(
                "SELECT work_item FROM personal_uses WHERE key_id = ? AND log = ? AND noted_at IS NULL"
                " ORDER BY work_item",
                (key_id, self._log),
            )
        return [work_item for (work_item,) in rows]

    def told(self, key_id: str, work_items: Sequence[str]) -> None:
        """These work items have their note."""
        with self._opened() as database, database.transaction(writes=True) as run:
            for work_item in work_items:
                run(
                    "UPDATE personal_uses SET noted_at = ? WHERE key_id = ? AND log = ? AND work_item = ?",
                    (_now(), key_id, self._log, work_item),
                )

    def elsewhere(self, key_id: str) -> list[str]:
        """The other logs with work items that have no note yet."""
        with self._opened() as database, database.transaction(writes=False) as run:
            rows = run(
                "SELECT DISTINCT log FROM personal_uses WHERE key_id = ? AND log <> ? AND noted_at IS NULL"
                " ORDER BY log",
                (key_id, self._log),
            )
        return [log for (log,) in rows]

    def rewrap(self, store_key: StoreKey | None) -> int:
        """Wrap every key by another store key, or by none; how many. What the former one wrapped, backups too, is
        useless where that is destroyed.
        """
        with self._opened() as database:
            with database.transaction(writes=True) as run:
                rows = run("SELECT key_id, secret FROM personal_keys WHERE secret IS NOT NULL")
                plain = [(key_id, self._unwrapped(bytes(secret), key_id)) for key_id, secret in rows]
                former, self._store_key = self._store_key, store_key
                try:
                    for key_id, secret in plain:
                        wrapped = self._wrapped(secret, key_id)
                        run("UPDATE personal_keys SET secret = ? WHERE key_id = ?", (wrapped, key_id))
                    for name, value in self._identity(self._name_key):
                        run("UPDATE personal_store SET value = ? WHERE name = ?", (value, name))
                except BaseException:
                    self._store_key = former
                    raise
            database.scrub()
        return len(rows)

    # -- the database -------------------------------------------------------------------------------

    @contextmanager
    def _opened(self) -> Iterator[Database]:
        """The database, opened when it is first needed; after trouble with it the next call opens it anew."""
        if os.getpid() != self._process:
            raise WrongUsage("This key store was opened by another process.", "Open one in each process.")
        with self._lock:
            if self._database is None:
                self._database = self._open_database()
                try:
                    self._recognise(self._database)
                except BaseException:
                    self._close()
                    raise
            try:
                yield self._database
            except LedgerError as error:
                if not isinstance(error, WrongUsage | NotFound):
                    self._close()
                raise

    def _recognise(self, database: Database) -> None:
        """Read what the store says of itself, written where it is new. Raises where the store key is not its own."""
        with database.transaction(writes=False) as run:
            said = _identity_in(run)
        if not said:
            with database.transaction(writes=True) as run:
                said = _identity_in(run)
                if not said:
                    for row in self._identity(secrets.token_bytes(_NAME_KEY_BYTES)):
                        run("INSERT INTO personal_store (name, value) VALUES (?, ?)", row)
                    said = _identity_in(run)
        if said.get("format") != _FORMAT or _NAMES not in said:
            raise UnusableLog(f"{database.where} was made by a newer pauseledger.", "Upgrade this one.")
        is_wrapped = said.get("keys") == _WRAPPED
        if is_wrapped and self._store_key is None:
            raise UnusableLog(f"{database.where} is wrapped by a store key.", f"Set {NAME}.")
        if not is_wrapped and self._store_key is not None:
            advice = f"Leave {NAME} out, or run: pauseledger personal rewrap."
            raise UnusableLog(f"{database.where} is not wrapped by a store key.", advice)
        try:
            self._name_key = self._unwrapped(said[_NAMES], _NAMES)
        except UnusableLog:
            raise UnusableLog(f"{database.where} was wrapped by another store key.", f"Set {NAME} to that.") from None

    def _see_that_the_store_key_holds(self, run: Run) -> None:
        """What is wrapped from now on must be so by the store key of now: another process may have changed it."""
        if self._unwrapped(_identity_in(run)[_NAMES], _NAMES) != self._name_key:
            raise UnusableLog("The key store was wrapped anew meanwhile.", f"Set {NAME} to its new store key.")

    def _identity(self, name_key: bytes) -> list[tuple[str, bytes]]:
        how = _PLAIN if self._store_key is None else _WRAPPED
        return [("format", _FORMAT), ("keys", how), (_NAMES, self._wrapped(name_key, _NAMES))]

    def _wrapped(self, secret: bytes, name: str) -> bytes:
        return secret if self._store_key is None else self._store_key.wrap(secret, name)

    def _unwrapped(self, secret: bytes, name: str) -> bytes:
        plain = bytes(secret) if self._store_key is None else self._store_key.unwrap(bytes(secret), name)
        if plain is None or (name != _NAMES and len(plain) != KEY_BYTES):
            raise UnusableLog("A key in the key store is damaged, or another store key wrapped it.", "Restore it.")
        return plain

    def _digest(self, data_subject: str) -> str:
        return hmac.digest(self._name_key, data_subject.encode(), hashlib.sha256).hex()

    def _close(self) -> None:
        database, self._database = self._database, None
        if database is not None:
            with suppress(LedgerError, OSError):
                database.close()

    def close(self) -> None:
        if os.getpid() == self._process:
            with self._lock:
                self._close()


def _identity_in(run: Run) -> dict[str, bytes]:
    return {name: bytes(value) for name, value in run("SELECT name, value FROM personal_store")}


def _row_of(run: Run, digest: str) -> _Row | None:
    rows = run("SELECT key_id, secret, destroyed_at FROM personal_keys WHERE name_digest = ?", (digest,))
    return _Row(*rows[0]) if rows else None


def _is_used(run: Run, key_id: str, log: str, work_item: str) -> bool:
    statement = "SELECT 1 FROM personal_uses WHERE key_id = ? AND log = ? AND work_item = ?"
    return bool(run(statement, (key_id, log, work_item)))


def _now() -> int:
    return time.time_ns() // 1_000_000
