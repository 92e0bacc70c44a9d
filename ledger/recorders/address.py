"""The addresses of indexes, as ``PAUSELEDGER_INDEX`` gives them, and what opens each.

``sqlite:///FILE``, as that of a log, or ``postgresql://…`` as libpq reads it, with ``?schema=NAME`` for another schema
than ``public``. A database's library is imported only when its index is opened.
"""

from __future__ import annotations

import re
from pathlib import Path
from typing import NamedTuple, cast
from urllib.parse import parse_qsl, quote, urlencode, urlsplit

from eventsourcing.persistence import InfrastructureFactory
from eventsourcing.utils import Environment

from ledger.errors import WrongUsage
from ledger.logs.address import log_address

_SCHEMA = re.compile(r"[a-z_][a-z0-9_]{0,62}")
_FORMS = "Use sqlite:///FILE or postgresql://USER:PASSWORD@HOST:PORT/DATABASE."


class PostgresAddress(NamedTuple):
    """A database, as libpq is told of it, and the schema in it that is the index."""

    conninfo: str
    schema: str = "public"

    def __str__(self) -> str:
        """Without the password."""
        parts = urlsplit(self.conninfo)
        user, at, host = parts.netloc.rpartition("@")
        name = user.partition(":")[0]
        query = [(key, value) for key, value in parse_qsl(parts.query) if key not in ("password", "sslpassword")]
        if self.schema != "public":
            query.append(("schema", self.schema))
        shown = urlencode(query, quote_via=quote, safe="/")
        return _joined(parts.scheme, f"{name}{at}{host}", parts.path, shown)


IndexAddress = Path | PostgresAddress


def index_address(url: str) -> IndexAddress:
    """What ``url`` names: an SQLite file, or a PostgreSQL database. Raises ``WrongUsage``."""
    if url.startswith(("postgresql:", "postgres:")):
        return _postgres(url)
    try:
        address = log_address(url)
    except WrongUsage:
        address = None
    if not isinstance(address, Path):
        raise WrongUsage(f"{url!r} is no address of an index.", _FORMS)
    return address


def _postgres(url: str) -> PostgresAddress:
    try:
        parts = urlsplit(url)
        query = parse_qsl(parts.query, keep_blank_values=True, strict_parsing=bool(parts.query))
    except ValueError as error:
        raise WrongUsage(f"That is no address of a PostgreSQL database: {error}.", _FORMS) from None
    if not url.startswith(f"{parts.scheme}://"):
        raise WrongUsage("That is no address of a PostgreSQL database.", _FORMS)
    schema = dict(query).get("schema", "public")
    if not _SCHEMA.fullmatch(schema):
        raise WrongUsage(f"{schema!r} is no name of a schema.", "Use small letters, digits and _.")
    rest = urlencode([(key, value) for key, value in query if key != "schema"], quote_via=quote, safe="/")
    return PostgresAddress(_joined(parts.scheme, parts.netloc, parts.path, rest), schema)


def _joined(scheme: str, place: str, path: str, query: str) -> str:
    """Where there is no host the two slashes stay: the library for URLs drops them."""
    return f"{scheme}://{place}{path}" + (f"?{query}" if query else "")


def recorder_factory(address: IndexAddress, env: Environment) -> InfrastructureFactory:
    """What the eventsourcing library builds an index from. Raises ``WrongUsage`` where its extra isn't installed."""
    if isinstance(address, Path):
        from ledger.recorders.sqlite import SqliteFactory

        return cast(InfrastructureFactory, SqliteFactory(env, address))
    try:
        import psycopg
    except ImportError:
        advice = "Install it: pip install 'pauseledger[postgres]'."
        raise WrongUsage("An index in PostgreSQL needs psycopg.", advice) from None
    assert psycopg
    from ledger.recorders.postgres import PostgresFactory

    return cast(InfrastructureFactory, PostgresFactory(env, address))
