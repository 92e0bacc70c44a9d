"""The tables that a bundle gives to spreadsheets and databases: columns, and rows of plain values.

Three sheets: every entry with its verdict, every pause with its decision, every work item with its counts. CSV and
Parquet write the same rows. A value is a text, an integer or null; instants are texts as the ledger prints them.
"""

from __future__ import annotations

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


class _Counts:
    """What is known of one work item."""

    __slots__ = ("branches", "first", "last", "owed", "pauses", "verdicts")

    def __init__(self) -> None:
        self.first: Row | None = None
        self.last: Row | None = None
        self.verdicts = dict.fromkeys(_VERDICTS, 0)
        self.branches = dict.fromkeys(_BRANCHES, 0)
        self.pauses = self.owed = 0

    def entry(self, row: Row) -> None:
        """One more entry. Of its row only what is asked for later is kept, not the event."""
        kept = {"place": f"{row['partition']}:{row['offset']}", "recorded_at": row["recorded_at"]}
        self.first = self.first or kept
        self.last = kept
        self.verdicts[row["verdict"]] = self.verdicts.get(row["verdict"], 0) + 1

    def decision(self, row: Row) -> None:
        """One more pause."""
        self.pauses += 1
        self.branches[row["decision"]] = self.branches.get(row["decision"], 0) + 1
        self.owed += row["debt"] is not None


def _work_items(view: BundleView) -> Iterator[Cells]:
    found: dict[str, _Counts] = {}
    for row in view.verdicts:
        if row["subject"] is not None:
            found.setdefault(row["subject"], _Counts()).entry(row)
    for row in view.decisions:
        found.setdefault(row["subject"], _Counts()).decision(row)
    for subject, counts in found.items():
        first, last = counts.first or {}, counts.last or {}
        yield (
            subject,
            first.get("place"),
            last.get("place"),
            first.get("recorded_at"),
            last.get("recorded_at"),
            sum(counts.verdicts.values()),
            *(counts.verdicts[one] for one in _VERDICTS),
            counts.pauses,
            *(counts.branches[one] for one in _BRANCHES),
            counts.owed,
        )


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
