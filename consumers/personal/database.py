"""What a key store needs of its database: transactions, and that what was deleted is gone."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import AbstractContextManager
from typing import Any, Protocol

Rows = list[tuple[Any, ...]]

SCHEMA = (
    "CREATE TABLE IF NOT EXISTS personal_store (name TEXT PRIMARY KEY, value {bytes} NOT NULL)",
    "CREATE TABLE IF NOT EXISTS personal_keys (key_id TEXT PRIMARY KEY, name_digest TEXT NOT NULL UNIQUE,"
    " secret {bytes}, made_at BIGINT NOT NULL, destroyed_at BIGINT, destroyed_by TEXT, reason TEXT)",
    "CREATE TABLE IF NOT EXISTS personal_uses (key_id TEXT NOT NULL, log TEXT NOT NULL, work_item TEXT NOT NULL,"
    " noted_at BIGINT, PRIMARY KEY (key_id, log, work_item))",
)
"""The tables. Who a data subject is can't be read in them: only a keyed digest of the name is there."""


class Run(Protocol):
    """Runs a statement, with ``?`` for each parameter."""

    def __call__(self, statement: str, parameters: Sequence[Any] = ()) -> Rows: ...


class Database(Protocol):
    """One database, used by one thread at a time. Its errors are the ledger's."""

    where: str
    """How it is called in errors; without passwords."""

    def transaction(self, *, writes: bool) -> AbstractContextManager[Run]:
        """What runs inside is committed together, and survives a power cut, when ``writes``; else nothing is written.

        Two that write never overlap.
        """
        ...

    def scrub(self) -> None:
        """See that no byte of what was deleted before is left in what the database has open. Raises where some is."""
        ...

    def close(self) -> None: ...
