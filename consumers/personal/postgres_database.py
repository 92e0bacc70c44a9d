"""A key store in a PostgreSQL database. It keeps wrapped keys only: PostgreSQL has what was deleted for a while yet, in
dead rows, in its write-ahead log, on replicas and in backups.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from typing import Any

import psycopg
from psycopg import sql

from consumers.personal.database import SCHEMA, Rows, Run
from ledger.errors import DiskFailed, LedgerError, LogUnavailable, UnusableLog
from ledger.recorders.address import PostgresAddress
from ledger.recorders.postgres_server import SETTING_UP
from ledger.recorders.postgres_text import register

_CONNECT_SECONDS = 8
_LOCK = 0x706B  # every writer of a key store in a schema waits for the one before it
_REFUSALS = ("does not exist", "authentication failed", "pg_hba.conf", "permission denied")
_SETTINGS = (
    "SET lock_timeout = '10s'",
    "SET statement_timeout = '30s'",
    "SET idle_in_transaction_session_timeout = '60s'",
    "SET client_min_messages = 'warning'",
    "SET synchronous_commit = 'on'",
)


class PostgresDatabase:
    """See :class:`consumers.personal.database.Database`."""

    def __init__(self, address: PostgresAddress, *, create: bool) -> None:
        self.where = f"The key store {address}"
        self._schema = address.schema
        with self._explained():
            self._connection = psycopg.connect(address.conninfo, connect_timeout=_CONNECT_SECONDS, autocommit=True)
            try:
                self._prepare(create)
            except BaseException:
                self._connection.close()
                raise

    def _prepare(self, create: bool) -> None:
        register(self._connection)  # a work item may have a NUL in it, and PostgreSQL's texts none
        self._connection.execute(sql.SQL("SET search_path TO {}").format(sql.Identifier(self._schema)))
        for setting in _SETTINGS:
            self._connection.execute(setting.encode())
        with self.transaction(writes=True) as run:
            if run("SELECT to_regclass('personal_uses')")[0][0] is not None:
                return
            if not create:
                raise UnusableLog(f"{self.where} has no tables of ours.", "See what PAUSELEDGER_PERSONAL_KEYS names.")
            run("SELECT pg_advisory_xact_lock(?)", (SETTING_UP,))  # an index may be made in this schema right now
            self._connection.execute(sql.SQL("CREATE SCHEMA IF NOT EXISTS {}").format(sql.Identifier(self._schema)))
            for statement in SCHEMA:
                run(statement.format(bytes="BYTEA"))

    @contextmanager
    def transaction(self, *, writes: bool) -> Iterator[Run]:
        def run(statement: str, parameters: Sequence[Any] = ()) -> Rows:
            text = statement.replace("?", "%s")
            cursor = self._connection.execute(text.encode(), parameters or None)
            return cursor.fetchall() if cursor.description is not None else []

        with self._explained(), self._connection.transaction():
            if writes:
                lock = f"SELECT pg_advisory_xact_lock({_LOCK}, hashtext(?))"
                run(lock, (self._schema,))
            yield run

    def scrub(self) -> None:
        """Let the server use the room of dead rows again; that is not yet to overwrite them."""
        with suppress(LedgerError), self._explained():  # whoever may not, or fails, has destroyed the key all the same
            self._connection.execute("VACUUM personal_keys")

    @contextmanager
    def _explained(self) -> Iterator[None]:
        try:
            yield
        except psycopg.Error as error:
            raise self._ledger_error(error) from error

    def _ledger_error(self, error: psycopg.Error) -> LedgerError:
        state, said = error.sqlstate or "", " ".join(str(error).split())
        if state.startswith("53") and state != "53300":
            return DiskFailed(f"{self.where} can't take it: {said}", "Make room on its disk.")
        if state.startswith(("28", "3D", "42")) or (not state and any(word in said for word in _REFUSALS)):
            return UnusableLog(f"{self.where} refused us: {said}", "See PAUSELEDGER_PERSONAL_KEYS.")
        return LogUnavailable(f"{self.where} did not answer: {said}", "See that it runs there, then try again.")

    def close(self) -> None:
        self._connection.close()
