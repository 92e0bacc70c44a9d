"""The PostgreSQL server of an index: connections, transactions, and what its errors mean.

Most of it is the eventsourcing library's. Beside its pool two connections are kept: one for questions, one for batches,
whose last and longest part runs on a thread of its own.

A batch that was committed is there for good, as far as the server is set up to sync: others act on what the index
says, so it must not go back when the server dies.
"""

from __future__ import annotations

import select
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager, nullcontext, suppress
from typing import Any

import psycopg
from eventsourcing import postgres
from eventsourcing.persistence import PersistenceError
from psycopg import sql
from psycopg.rows import dict_row, tuple_row
from psycopg_pool import PoolTimeout

from ledger.errors import DiskFailed, LedgerError, LogUnavailable, UnusableLog
from ledger.recorders.address import PostgresAddress
from ledger.recorders.postgres_text import register

_CONNECT_SECONDS = 8
_LOCK_TIMEOUT = "30s"
_SETTINGS = (
    f"SET lock_timeout = '{_LOCK_TIMEOUT}'",
    "SET idle_in_transaction_session_timeout = '60s'",  # one that was frozen must not hold a position for ever
    "SET default_transaction_isolation = 'read committed'",
    "SET client_min_messages = 'warning'",
)
_KEEPALIVES: dict[str, Any] = {
    "keepalives_idle": 10,
    "keepalives_interval": 5,
    "keepalives_count": 3,
    "tcp_user_timeout": 30_000,
}
_REFUSALS = ("does not exist", "authentication failed", "pg_hba.conf", "permission denied")
"""Of these words a server's refusal to connect is known, for which the client library has no code."""
SETTING_UP = 0x7061757365
"""An advisory lock: even ``CREATE … IF NOT EXISTS`` fails where two do it at once."""
_WRITING = 0x7772
_UNREACHED = "See that the address and the credentials are right and that PostgreSQL runs there."

Cursor = psycopg.Cursor[tuple[Any, ...]]
Connection = psycopg.Connection[tuple[Any, ...]]


class Server(postgres.PostgresDatastore):
    """The library's datastore, at any address that libpq takes; its troubles are told in the ledger's own errors."""

    def __init__(self, address: PostgresAddress) -> None:
        super().__init__("", "", "", "", "", schema=address.schema, originator_id_type="text")
        self.pool.close()
        self.address = address
        self.pool = postgres.ConnectionPool(
            address.conninfo,
            connection_class=psycopg.Connection[Any],
            kwargs={"row_factory": dict_row, "connect_timeout": _CONNECT_SECONDS, **_KEEPALIVES},
            min_size=0,
            max_size=4,
            open=False,
            configure=self._set_up,
            check=_refuse_dead,
            timeout=_CONNECT_SECONDS,
        )
        self._reader: Connection | None = None
        self._writer: Connection | None = None
        self._committer: ThreadPoolExecutor | None = None
        self._reading = threading.Lock()
        self._closed = False

    def _set_up(self, connection: psycopg.Connection[Any]) -> None:
        connection.autocommit = True
        register(connection)
        connection.execute(sql.SQL("SET search_path TO {}").format(sql.Identifier(self.schema)))
        for setting in _SETTINGS:
            connection.execute(setting)

    @contextmanager
    def explained(self) -> Iterator[None]:
        """Errors of the server and the way to it become the ledger's; conflicts and bugs stay what they are."""
        try:
            yield
        except (PersistenceError, psycopg.Error, PoolTimeout) as error:
            found = self._ledger_error(error)
            if found is None:
                raise
            raise found from error

    def _ledger_error(self, error: BaseException) -> LedgerError | None:
        cause: BaseException | None = error
        while cause is not None and not isinstance(cause, (psycopg.Error, PoolTimeout)):
            cause = cause.__cause__
        state = getattr(cause, "sqlstate", None) or ""
        said = " ".join(str(cause).split()) or type(cause).__name__
        where = f"The index {self.address}"
        if state.startswith("53") and state != "53300":  # out of disk or memory; too many connections pass
            return DiskFailed(f"{where} can't take it: {said}", "Make room on its disk.")
        if state.startswith(("28", "3D", "42501")) or (not state and any(word in said for word in _REFUSALS)):
            return UnusableLog(f"{where} refused us: {said}", "Set PAUSELEDGER_INDEX to a database of ours.")
        if state.startswith("XX"):
            return UnusableLog(f"{where} is damaged: {said}", "Restore it, or run: pauseledger rebuild.")
        if state == "2BP01":
            return UnusableLog(f"{where} has what depends on its tables: {said}", "Drop that, and make it again after.")
        passes = state.startswith("25") or state == "0A000"  # a transaction or a plan that was overtaken: begin anew
        if passes or isinstance(cause, (psycopg.OperationalError, psycopg.InterfaceError, PoolTimeout)):
            return LogUnavailable(f"{where} did not answer: {said}", _UNREACHED)
        return None

    def connected(self) -> Connection:
        """A connection beside the pool."""
        made = psycopg.connect(
            self.address.conninfo,
            row_factory=tuple_row,
            connect_timeout=_CONNECT_SECONDS,
            **_KEEPALIVES,
        )
        try:
            self._set_up(made)
        except BaseException:
            made.close()
            raise
        return made

    def _alive(self, connection: Connection | None) -> Connection:
        """The same connection, or a new one where it is dead."""
        if connection is not None and not _is_dead(connection):
            return connection
        _given_up(connection)
        return self.connected()

    @contextmanager
    def reading(self) -> Iterator[Connection]:
        """The connection that is kept for questions; after an error the next question has a new one."""
        with self._reading, self.explained():
            if self._closed:
                raise UnusableLog(f"The index {self.address} is closed.", "Open it again.")
            self._reader = connection = self._alive(self._reader)
            try:
                yield connection
            except (psycopg.ProgrammingError, psycopg.IntegrityError):
                raise
            except psycopg.Error:
                _given_up(connection)
                self._reader = None
                raise

    @contextmanager
    def writing(self, *, alone: bool = False) -> Iterator[Connection]:
        """A transaction on the connection kept for batches, left open for :meth:`committed`; not on an error.

        Any number may write at once, but for one that is ``alone``: it waits for those, and those that come for it.
        """
        lock = f"pg_advisory_xact_lock{'' if alone else '_shared'}({_WRITING}, hashtext('{self.schema}'))"
        with self.explained():
            if self._closed:
                raise UnusableLog(f"The index {self.address} is closed.", "Open it again.")
            self._writer = connection = self._alive(self._writer)
            if self._committer is None:
                self._committer = ThreadPoolExecutor(1, thread_name_prefix="pauseledger-index")
            try:
                connection.execute(f"BEGIN; SELECT {lock}".encode())
                yield connection
            except BaseException:
                self._roll_back()
                raise

    def committed(self, write: Callable[[Connection], None]) -> Future[None]:
        """Write the rest in what is open and commit it, on another thread: that mostly waits for the server."""
        assert self._committer is not None
        try:
            return self._committer.submit(self._commit, write)
        except BaseException:  # no thread could be started: what was handed over must never run
            self._roll_back()
            self._committer = None
            raise

    def _commit(self, write: Callable[[Connection], None]) -> None:
        assert self._writer is not None
        with self.explained():
            try:
                write(self._writer)
                self._writer.execute("COMMIT")
            except BaseException:
                self._roll_back()
                raise

    def _roll_back(self) -> None:
        """Where that fails the connection is given up, and the server rolls back."""
        if self._writer is not None:
            try:
                self._writer.execute("ROLLBACK")
            except psycopg.Error:
                _given_up(self._writer)
                self._writer = None

    @contextmanager
    def get_connection(self) -> Iterator[psycopg.Connection[Any]]:
        with self.explained(), super().get_connection() as connection:
            yield connection

    @contextmanager
    def setting_up(self) -> Iterator[psycopg.Connection[Any]]:
        """A connection; no other process makes tables as long as it has it."""
        with self.get_connection() as connection:
            connection.execute("SELECT pg_advisory_lock(%s)", (SETTING_UP,))
            try:
                yield connection
            finally:
                connection.execute("SELECT pg_advisory_unlock(%s)", (SETTING_UP,))

    def tables(self) -> set[str]:
        """The names of the tables that are in the schema."""
        with self.reading() as connection:
            found = connection.execute("SELECT tablename FROM pg_tables WHERE schemaname = %s", (self.schema,))
            return {name for (name,) in found}

    def close(self) -> None:
        """Let what is being committed end; close the pool, and the connections beside it."""
        with getattr(self, "_reading", nullcontext()):  # also called of what was never quite made
            self._closed = True
            if (committer := getattr(self, "_committer", None)) is not None:
                committer.shutdown()
            for name in ("_reader", "_writer"):
                if (connection := getattr(self, name, None)) is not None:
                    _given_up(connection)
                    setattr(self, name, None)
            super().close()


def _is_dead(connection: psycopg.Connection[Any]) -> bool:
    """Whether an idle connection was closed, by us or from the other side: then it has an end to be read."""
    if connection.closed:
        return True
    poll = select.poll()  # select() itself takes no file descriptor above 1,023
    poll.register(connection.pgconn.socket, select.POLLIN)
    return bool(poll.poll(0))


def _refuse_dead(connection: psycopg.Connection[Any]) -> None:
    if _is_dead(connection):
        connection.close()  # the pool takes one that is only idle for sound
        raise psycopg.OperationalError("the connection was closed by the server")


def _given_up(connection: Connection | None) -> None:
    if connection is not None:
        with suppress(psycopg.Error):
            connection.close()
