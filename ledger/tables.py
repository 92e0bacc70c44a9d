"""Tables of an index as data: each recorder writes them down in its own database's SQL."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Literal, NamedTuple

Kind = Literal["text", "integer", "bytes"]
"""Texts compare by their code points; integers have 64 bits."""

OnConflict = Literal["fail", "replace", "keep"]
"""What becomes of a row whose key is there already."""


class Column(NamedTuple):
    """A column; ``required`` where it is never null."""

    name: str
    kind: Kind = "text"
    required: bool = False


class Lookup(NamedTuple):
    """An SQL index on some columns, of all rows or of those for which ``where`` holds.

    In the database its name has the table's version: two tables stand beside each other while one is replaced.
    """

    name: str
    columns: tuple[str, ...]
    where: str = ""


class View(NamedTuple):
    """A view for whoever reads the database by hand."""

    name: str
    query: str


class Table(NamedTuple):
    """A table, its primary key, and what goes with it.

    ``version`` counts the changes of what a projection writes into it: rows of an older one are made anew.
    """

    name: str
    columns: tuple[Column, ...]
    key: tuple[str, ...]
    lookups: tuple[Lookup, ...] = ()
    views: tuple[View, ...] = ()
    version: int = 1


class Rows(NamedTuple):
    """Rows for a table, with a value for each of its columns. No two have the same key."""

    table: Table
    rows: Sequence[Sequence[Any]]
    on_conflict: OnConflict = "fail"


def beside(table: Table) -> Table:
    """Where a new version of a table is filled, until it takes the old one's place."""
    return table._replace(name=f"{table.name}_beside", views=())


def lookup_name(table: Table, lookup: Lookup) -> str:
    """The name of an SQL index in the database."""
    return f"{lookup.name}_v{table.version}"


def names_in_sql(columns: Sequence[str]) -> str:
    """Names of columns, quoted: some are words of SQL."""
    return ", ".join(f'"{name}"' for name in columns)


def create_statements(table: Table, kinds: Mapping[Kind, str], *, options: str = "", view: str) -> list[str]:
    """The statements that make a table, and what goes with it, where it isn't there.

    ``kinds`` are the database's own types, ``options`` ends its CREATE TABLE, ``view`` begins its CREATE VIEW.
    """
    columns = [f'"{name}" {kinds[kind]}' + (" NOT NULL" if required else "") for name, kind, required in table.columns]
    columns.append(f"PRIMARY KEY ({names_in_sql(table.key)})")
    statements = [f"CREATE TABLE IF NOT EXISTS {table.name} ({', '.join(columns)}){options}"]
    for lookup in table.lookups:
        where = f" WHERE {lookup.where}" if lookup.where else ""
        on = f"{table.name} ({names_in_sql(lookup.columns)})"
        statements.append(f"CREATE INDEX IF NOT EXISTS {lookup_name(table, lookup)} ON {on}{where}")
    return [*statements, *(f"{view} {name} AS {query}" for name, query in table.views)]


def on_conflict_clause(rows: Rows) -> str:
    """How an INSERT of these rows ends, in the SQL that SQLite and PostgreSQL share."""
    if rows.on_conflict == "fail":
        return ""
    rest = [column.name for column in rows.table.columns if column.name not in rows.table.key]
    key = names_in_sql(rows.table.key)
    if rows.on_conflict == "keep":
        return f" ON CONFLICT ({key}) DO NOTHING"
    news = ", ".join(f'"{name}" = excluded."{name}"' for name in rest)
    return f" ON CONFLICT ({key}) DO UPDATE SET {news}"
