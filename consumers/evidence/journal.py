"""What the notary has signed, in the folder of its keys: a checkpoint is in here before anybody sees it.

1. A tree never gets smaller, and has one root at a size. A row comes after the one that the caller saw last, and only
   with a proof that its tree begins with that one's; else nothing is written. So two notaries can't sign two histories.
2. A note is only added to: a signature that was given, or a witness's, is never lost.
3. A row survives a power cut once it is written (``synchronous=FULL``).
"""

from __future__ import annotations

import os
import sqlite3
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import NamedTuple

import orjson

from ledger.errors import Fenced, LogChanged, UnusableLog
from ledger.evidence.leaves import Genesis
from ledger.evidence.merkle import ProofRefused, verify_consistency
from ledger.evidence.notes import Checkpoint, Note, Signature, read_note
from ledger.logs.sqlite_file import connect, immediate, ledger_error, sync_folder

APPLICATION_ID = 0x706C4E6F
FORMAT = 1
_SCHEMA = (
    "CREATE TABLE trees (origin TEXT PRIMARY KEY, genesis BLOB NOT NULL)",
    "CREATE TABLE signed (origin TEXT NOT NULL, size INTEGER NOT NULL, root BLOB NOT NULL, note TEXT NOT NULL,"
    " no_record INTEGER NOT NULL, announced INTEGER NOT NULL DEFAULT 0, PRIMARY KEY (origin, size)) WITHOUT ROWID",
)
_COLUMNS = "size, root, note, no_record, announced"


class Signed(NamedTuple):
    """A checkpoint that was signed. ``no_record`` counts the leaves so far that stand for no record."""

    checkpoint: Checkpoint
    note: Note
    no_record: int
    announced: bool = False
    """Whether it went onto the topic of checkpoints as it is here."""


class Journal:
    """The journal in the file at ``path``, which is made where there is none."""

    def __init__(self, path: Path) -> None:
        self.path = path
        with self._explained():
            if not path.exists():
                os.close(os.open(path, os.O_WRONLY | os.O_CREAT, 0o600))
                sync_folder(path.parent)
            self._connection = connect(path, create=False)
            try:
                self._prepare()
            except BaseException:
                self._connection.close()
                raise

    def _prepare(self) -> None:
        execute = self._connection.execute
        execute("PRAGMA journal_mode=WAL")
        with immediate(self._connection):
            if not execute("SELECT count(*) FROM sqlite_master").fetchone()[0]:
                for statement in _SCHEMA:
                    execute(statement)
                execute(f"PRAGMA application_id={APPLICATION_ID}")
                execute(f"PRAGMA user_version={FORMAT}")
        if execute("PRAGMA application_id").fetchone()[0] != APPLICATION_ID:
            raise UnusableLog(f"{self.path} is no journal of a notary.", "Set PAUSELEDGER_KEYS to the notary's folder.")
        if execute("PRAGMA user_version").fetchone()[0] > FORMAT:
            raise UnusableLog(f"{self.path} was made by a newer pauseledger.", "Upgrade this one.")

    def close(self) -> None:
        """Close the file."""
        self._connection.close()

    def genesis(self, origin: str) -> Genesis | None:
        """Which log a tree is of; null where nothing was signed."""
        with self._explained():
            row = self._connection.execute("SELECT genesis FROM trees WHERE origin = ?", (origin,)).fetchone()
        return None if row is None else Genesis(**orjson.loads(row[0]))

    def newest(self, origin: str) -> Signed | None:
        """The newest checkpoint that was signed."""
        return self._one(origin, "ORDER BY size DESC LIMIT 1")

    def at(self, origin: str, size: int) -> Signed | None:
        """The checkpoint of that size."""
        return self._one(origin, "AND size = ?", size)

    def _one(self, origin: str, which: str, *more: int) -> Signed | None:
        with self._explained():
            row = self._connection.execute(
                f"SELECT {_COLUMNS} FROM signed WHERE origin = ? {which}", (origin, *more)
            ).fetchone()
        return None if row is None else _signed(origin, row)

    def after(self, origin: str, size: int, most: int) -> list[Signed]:
        """The checkpoints that are larger, the smallest first."""
        with self._explained():
            rows = self._connection.execute(
                f"SELECT {_COLUMNS} FROM signed WHERE origin = ? AND size > ? ORDER BY size LIMIT ?",
                (origin, size, most),
            ).fetchall()
        return [_signed(origin, row) for row in rows]

    def sizes_about(self, origin: str, size: int, most: int = 3) -> list[int]:
        """Some sizes that there are checkpoints of, below this one and above it."""
        ask = "SELECT size FROM signed WHERE origin = ? AND size {} ? ORDER BY size {} LIMIT ?"
        with self._explained():
            below = self._connection.execute(ask.format("<", "DESC"), (origin, size, most)).fetchall()
            above = self._connection.execute(ask.format(">=", "ASC"), (origin, size, most)).fetchall()
        return sorted(row[0] for row in (*below, *above))

    def record(self, genesis: Genesis, signed: Signed, after: Signed | None, proof: Sequence[bytes]) -> None:
        """Write a checkpoint behind the one that the caller saw last, with the proof that it extends that.

        Raises ``Fenced`` where another notary has signed meanwhile, ``LogChanged`` where it would be another history.
        """
        origin, checkpoint = genesis.origin, signed.checkpoint
        with self._explained(), immediate(self._connection):
            newest = self.newest(origin)
            if (newest and newest.checkpoint) != (after and after.checkpoint):
                raise Fenced(f"Another notary has signed a checkpoint of {origin} in the meantime.")
            _refuse_another_history(checkpoint, newest, proof)
            self._keep_genesis(genesis)
            self._connection.execute(
                "INSERT INTO signed VALUES (?, ?, ?, ?, ?, 0)",
                (origin, checkpoint.size, checkpoint.root, str(signed.note), signed.no_record),
            )

    def _keep_genesis(self, genesis: Genesis) -> None:
        known = self.genesis(genesis.origin)
        if known is not None and known != genesis:
            raise LogChanged(f"The tree {genesis.origin} was begun of another log.")
        content = orjson.dumps(genesis.as_dict(), option=orjson.OPT_SORT_KEYS)
        self._connection.execute("INSERT OR IGNORE INTO trees VALUES (?, ?)", (genesis.origin, content))

    def add_signatures(self, checkpoint: Checkpoint, added: Sequence[Signature], *, first: bool = False) -> Signed:
        """Put signatures beside those that a signed checkpoint has; ``first``: before them. Gives it as it is now."""
        origin, size = checkpoint.origin, checkpoint.size
        with self._explained(), immediate(self._connection):
            found = self.at(origin, size)
            if found is None or found.checkpoint != checkpoint:
                raise LogChanged(f"No checkpoint of {origin} with this root was signed at {size} leaves.")
            kept = found.note.signatures
            new = tuple(one for one in added if one not in kept)
            if not new:
                return found
            note = found.note._replace(signatures=(*new, *kept) if first else (*kept, *new))
            self._connection.execute(
                "UPDATE signed SET note = ?, announced = 0 WHERE origin = ? AND size = ?", (str(note), origin, size)
            )
        return found._replace(note=note, announced=False)

    def tell_announced(self, signed: Signed) -> None:
        """Remember that this note is on the topic of checkpoints."""
        checkpoint = signed.checkpoint
        with self._explained():
            self._connection.execute(
                "UPDATE signed SET announced = 1 WHERE origin = ? AND size = ? AND note = ?",
                (checkpoint.origin, checkpoint.size, str(signed.note)),
            )

    @contextmanager
    def _explained(self) -> Iterator[None]:
        try:
            yield
        except sqlite3.Error as error:
            raise ledger_error(error, f"The notary's journal {self.path}") from error


def _signed(origin: str, row: tuple[int, bytes, str, int, int]) -> Signed:
    size, root, note, no_record, announced = row
    return Signed(Checkpoint(origin, size, root), read_note(note.encode()), no_record, bool(announced))


def _refuse_another_history(checkpoint: Checkpoint, newest: Signed | None, proof: Sequence[bytes]) -> None:
    if newest is None:
        return
    old = newest.checkpoint
    what = f"A checkpoint of {checkpoint.origin} was signed at {old.size} leaves"
    if checkpoint.size <= old.size:
        raise LogChanged(f"{what}, and none is signed at {checkpoint.size} after that.")
    try:
        verify_consistency(old.size, checkpoint.size, proof, old.root, checkpoint.root)
    except ProofRefused as error:
        raise LogChanged(f"{what}, and the tree of {checkpoint.size} does not begin with it: {error}.") from None
