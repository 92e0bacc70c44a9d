"""The eventsourcing library as anybody would use it: a plain aggregate on SQLite, default settings."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from uuid import UUID

from eventsourcing.application import Application
from eventsourcing.domain import Aggregate, event


class Case(Aggregate):
    """A work item as a plain aggregate: it only counts what was written down."""

    @event("Opened")
    def __init__(self, owner: str) -> None:
        self.owner = owner
        self.notes = 0

    @event("Noted")
    def note(self, text: str, actor: str) -> None:  # noqa: ARG002  # the event keeps it
        self.notes += 1
        self.owner = actor


@contextmanager
def cases(path: Path) -> Iterator[Application[UUID]]:
    """An application of cases in an SQLite file."""
    app: Application[UUID] = Application(env={"PERSISTENCE_MODULE": "eventsourcing.sqlite", "SQLITE_DBNAME": str(path)})
    try:
        yield app
    finally:
        app.close()


def save_one_by_one(app: Application[UUID], texts: list[str], each: int = 20) -> None:
    """An event a text, saved as soon as it happens; a new aggregate every ``each`` of them."""
    for at in range(0, len(texts), each):
        case = Case(owner="user:owner")
        for text in texts[at : at + each]:
            case.note(text=text, actor="user:owner")
            app.save(case)


def saved_long(app: Application[UUID], entries: int, text: str) -> UUID:
    """The id of one aggregate of so many events."""
    case = Case(owner="user:owner")
    for number in range(1, entries):
        case.note(text=text, actor="user:owner")
        if number % 1_000 == 0:
            app.save(case)
    app.save(case)
    return case.id
