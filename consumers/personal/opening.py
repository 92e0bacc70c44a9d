"""The key store that the settings name, and what seals with it."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

from consumers.personal.database import Database
from consumers.personal.store import KeyStore
from consumers.personal.wrapping import MAKE_ONE, NAME, read_store_key
from ledger.errors import WrongUsage
from ledger.logs.address import log_address
from ledger.recorders.address import IndexAddress, index_address
from ledger.sealing import Sealing

if TYPE_CHECKING:
    from consumers.settings import Settings

_KEYS = "PAUSELEDGER_PERSONAL_KEYS"


def open_sealing(settings: Settings) -> Sealing:
    """What seals events, or refuses marked ones where no key store is set. Raises ``WrongUsage``; nothing is opened
    before the first marked event comes.
    """
    return Sealing(key_store(settings, create=True) if settings.personal_keys else None)


def key_store(settings: Settings, *, create: bool = False) -> KeyStore:
    """The key store, opened when it is first needed; ``create`` makes it then, where there is none.

    Raises ``WrongUsage`` where none is set, or can't be meant so.
    """
    if not settings.personal_keys:
        raise WrongUsage("No key store is set: nothing of this ledger was sealed here.", f"Set {_KEYS}.")
    secret = settings.personal_store_key.get_secret_value()
    return KeyStore(_opens(settings, secret, create), read_store_key(secret), log_of_record(settings.log_url))


def log_of_record(log_url: str) -> str:
    """What the key store calls a log: the same in every folder, and whichever brokers of a cluster are named."""
    address = log_address(log_url)
    return f"sqlite://{address.resolve()}" if isinstance(address, Path) else f"kafka:{address.topic}"


def _opens(settings: Settings, secret: str, create: bool) -> Callable[[], Database]:
    """Opens the database, as often as it must be; it is made at most once: one that is gone later was taken away."""
    may_create = [create]

    def first(opened: Database) -> Database:
        may_create[:] = [False]
        return opened

    address = _address(settings.personal_keys)
    if isinstance(address, Path):
        _refuse_shared_file(address, settings)

        def open_file() -> Database:
            from consumers.personal.sqlite_database import SqliteDatabase

            return first(SqliteDatabase(address, create=may_create[0]))

        return open_file
    if not secret:
        problem = "A key store in PostgreSQL must be wrapped by a store key: its logs and backups keep what is deleted."
        raise WrongUsage(problem, f"Set {NAME}. {MAKE_ONE}")
    server = address

    def open_server() -> Database:
        try:
            from consumers.personal.postgres_database import PostgresDatabase
        except ImportError:
            advice = "Install it: pip install 'pauseledger[postgres]'."
            raise WrongUsage("A key store in PostgreSQL needs psycopg.", advice) from None
        return first(PostgresDatabase(server, create=may_create[0]))

    return open_server


def _address(url: str) -> IndexAddress:
    try:
        return index_address(url)
    except WrongUsage:
        raise WrongUsage(f"{_KEYS} is no address of a key store.", "Use sqlite:///FILE or postgresql://….") from None


def _refuse_shared_file(path: Path, settings: Settings) -> None:
    """Keys that lie with what they seal protect nothing, and go wherever that is copied."""
    for url in (settings.log_url, settings.index_url):
        other = log_address(url) if url.startswith("sqlite:") else None
        if isinstance(other, Path) and other.resolve() == path.resolve():
            raise WrongUsage(f"{_KEYS} names the file of the log or the index.", "Name a file of its own.")
