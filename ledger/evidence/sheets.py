"""The tables that a bundle gives to spreadsheets and databases: columns, and rows of plain values.

Three sheets: every entry with its verdict, every pause with its decision, every work item with its counts. CSV and
Parquet write the same rows. A value is a text, an integer or null; instants are texts as the ledger prints them.
"""

from __future__ import annotations

from array import array
from collections.abc import Callable, Iterator, Mapping
from typing import Any, Literal, NamedTuple

from ledger.evidence.view import BundleView, Row
from ledger.json_text import write_json

Kind = Literal["text", "integer", "instant"]
Cells = tuple[Any, ...]


class Field(NamedTuple):
    """A column."""

    name: str
    kind: Kind = "text"


class Sheet(NamedTuple):
    """A table, and how its rows are made. Rows come in the order of the view."""

    name: str
    fields: tuple[Field, ...]
    rows: Callable[[BundleView], Iterator[Cells]]


def text_of(value: Any) -> str | None:
    """A text as it is, null as null, and anything else as JSON: malformed entries hold anything anywhere."""
    return value if value is None or isinstance(value, str) else write_json(value).decode()


def members(value: Any) -> Mapping[str, Any]:
    """The members of an object; none where it is no object."""
    return value if isinstance(value, dict) else {}


def _entries(view: BundleView) -> Iterator[Cells]:
    for row in view.verdicts:
        event = members(row.get("event"))
        data = event.get("data")
        within = members(data)
        first = row.get("first")
        yield (
            row["partition"],
            row["offset"],
            row["recorded_at"],
            row["subject"],
            row["id"],
            row["source"],
            row["type"],
            row["verdict"],
            row["code"],
            row["reason"],
            None if first is None else f"{first['partition']}:{first['offset']}",
            row.get("fence"),
            row.get("valid_until"),
            row.get("action_digest"),
            text_of(event.get("actor")),
            text_of(event.get("actorroles")),
            text_of(event.get("time")),
            text_of(within.get("execution")),
            text_of(within.get("pause")),
            None if data is None else write_json(data).decode(),
        )


def _decisions(view: BundleView) -> Iterator[Cells]:
    for row in view.decisions:
        checks, debt = row["checks"], row["debt"] or {}
        yield (
            row["subject"],
            row["execution"],
            row["pause"],
            row["decision"],
            row["rule"],
            row["reason"],
            checks["freshness"]["result"],
            checks["ownership"]["result"],
            checks["side_effect"]["result"],
            " ".join(row["stop_signals"]),
            row["as_of"],
            row["valid_until"],
            debt.get("owner"),
            debt.get("since"),
            debt.get("due"),
            " ".join(row["obligations"]),
            row["action_digest"],
            row["fence"],
        )


_VERDICTS = ("accepted", "refused", "duplicate", "malformed")
_BRANCHES = ("resume", "review", "reconcile", "settle", "terminate", "closed")
_COUNTED = {name: at for at, name in enumerate((*_VERDICTS, "pauses", *_BRANCHES, "owed"))}


class _Counts:
    """What is known of one work item: little, for there may be many."""

    __slots__ = ("first", "last", "numbers")

    def __init__(self) -> None:
        self.first: tuple[Any, ...] = (None, None)
        self.last: tuple[Any, ...] = (None, None)
        self.numbers = array("Q", bytes(8 * len(_COUNTED)))

    def entry(self, row: Row) -> None:
        """One more entry."""
        self.last = f"{row['partition']}:{row['offset']}", row["recorded_at"]
        if self.first[0] is None:
            self.first = self.last
        self.numbers[_COUNTED[row["verdict"]]] += 1

    def decision(self, row: Row) -> None:
        """One more pause."""
        self.numbers[_COUNTED["pauses"]] += 1
        self.numbers[_COUNTED[row["decision"]]] += 1
        self.numbers[_COUNTED["owed"]] += row["debt"] is not None


def _work_items(view: BundleView) -> Iterator[Cells]:
    found: dict[str, _Counts] = {}
    for row in view.verdicts:
        if row["subject"] is not None:
            found.setdefault(row["subject"], _Counts()).entry(row)
    for row in view.decisions:
        found.setdefault(row["subject"], _Counts()).decision(row)
    for subject, counts in found.items():
        entries = sum(counts.numbers[: len(_VERDICTS)])
        yield subject, counts.first[0], counts.last[0], counts.first[1], counts.last[1], entries, *counts.numbers


def _fields(text: str) -> tuple[Field, ...]:
    """Columns from their names; ``#`` marks an integer, ``@`` an instant."""
    kinds: dict[str, Kind] = {"#": "integer", "@": "instant"}
    return tuple(Field(name.lstrip("#@"), kinds.get(name[0], "text")) for name in text.split())


ENTRIES = Sheet(
    "entries",
    _fields(
        "#partition #offset @recorded_at subject id source type verdict code reason first #fence @valid_until"
        " action_digest actor actorroles time execution pause data"
    ),
    _entries,
)
DECISIONS = Sheet(
    "decisions",
    _fields(
        "subject execution pause decision rule reason freshness ownership side_effect stop_signals @as_of @valid_until"
        " debt_owner @debt_since @debt_due obligations action_digest #fence"
    ),
    _decisions,
)
WORK_ITEMS = Sheet(
    "work_items",
    _fields(
        "subject first_entry last_entry @first_recorded_at @last_recorded_at #entries #accepted #refused #duplicate"
        " #malformed #pauses #resume #review #reconcile #settle #terminate #closed #unknown_outcomes"
    ),
    _work_items,
)
SHEETS = (ENTRIES, DECISIONS, WORK_ITEMS)
