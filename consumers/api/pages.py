"""Listings in pages. A page goes on after the last row of the one before it, by that row's key: never by a count.

Rows go by the name of their work item, and within it by a key that never changes. So entries that arrive between two
pages neither repeat a row nor hide one that was there all along. A page reads a bounded number of work items: one that
is short, or even empty, may still have a ``next``.
"""

from __future__ import annotations

import base64
import hashlib
from collections.abc import Callable, Iterable, Iterator
from datetime import datetime
from typing import Any, NamedTuple

from consumers.api.access import Credential
from consumers.api.problems import Problem
from consumers.settings import Ledger
from ledger.json_text import read_json, write_json
from ledger.packet import WorkItem
from projections.answers import work_item_row
from projections.deadlines import deadlines_of, debts_of
from projections.decisions import as_of_now, decisions
from projections.inbox import inbox_of
from projections.listing import (
    EVERY,
    WITH_DEADLINES,
    WITH_DEBTS,
    WITH_OPEN,
    WITH_OWNERS,
    WITH_PAUSES,
    subjects_after,
)
from projections.owners import owners_of

MOST_ITEMS = 500
"""So many work items a page reads at most."""

Row = dict[str, Any]
Key = list[Any]


class Wanted(NamedTuple):
    """What a listing is asked for."""

    at: datetime | None = None
    owner: str | None = None
    branch: str | None = None
    prefix: str = ""


class Listing(NamedTuple):
    """One listing: which work items may have rows, the rows of one, and the key of a row within its work item."""

    candidates: Callable[[Wanted], str]
    rows: Callable[[WorkItem, datetime], Iterable[Row]]
    key: Callable[[WorkItem, Row], Key]


def _dicts(of: Callable[[WorkItem, datetime], Iterable[Any]]) -> Callable[[WorkItem, datetime], Iterable[Row]]:
    return lambda item, as_of: (one._asdict() for one in of(item, as_of))


def _opened(item: WorkItem, row: Row) -> Key:
    return [item.pauses[row["pause"]].opened, row.get("kind", "")]


def _decided(item: WorkItem, as_of: datetime) -> Iterator[Row]:
    return (one.as_dict() for one in decisions(item, as_of))


def _with_decisions(wanted: Wanted) -> str:
    return WITH_PAUSES if wanted.branch == "closed" else WITH_OPEN


LISTINGS: dict[str, Listing] = {
    "work-items": Listing(lambda _: EVERY, lambda item, _: [work_item_row(item)], lambda _, __: []),
    "decisions": Listing(_with_decisions, _decided, _opened),
    "inbox": Listing(lambda _: WITH_DEADLINES, _dicts(inbox_of), _opened),
    "debts": Listing(lambda _: WITH_DEBTS, _dicts(debts_of), _opened),
    "deadlines": Listing(lambda _: WITH_DEADLINES, _dicts(deadlines_of), _opened),
    "owners": Listing(
        lambda _: WITH_OWNERS, _dicts(lambda item, _: owners_of(item)), lambda _, row: [row["execution"]]
    ),
}


class Place(NamedTuple):
    """Where a page goes on: after this key of a work item, or after all of it where there is none."""

    subject: str
    key: Key | None = None


def _about(name: str, wanted: Wanted) -> str:
    """What a cursor belongs to: with other questions it would skip rows."""
    told = write_json([name, *[None if one is None else str(one) for one in wanted]])
    return hashlib.sha256(told).hexdigest()[:12]


def cursor_of(name: str, wanted: Wanted, place: Place) -> str:
    text = write_json([_about(name, wanted), place.subject, place.key])
    return base64.urlsafe_b64encode(text).decode().rstrip("=")


def place_of(name: str, wanted: Wanted, cursor: str) -> Place:
    """The inverse of :func:`cursor_of`. Raises a ``Problem`` for what is none of this listing's cursors."""
    try:
        text = base64.b64decode(cursor + "=" * (-len(cursor) % 4), altchars=b"-_", validate=True)
        about, subject, key = read_json(text)
    except (ValueError, TypeError):
        about = subject = key = None
    sound = isinstance(subject, str) and (key is None or (isinstance(key, list) and len(key) <= 2))
    if about != _about(name, wanted) or not sound:
        raise Problem("bad-cursor", "This is no cursor of this listing with these parameters.")
    return Place(subject, key)


def _seen(key: Key, last: Key | None) -> bool:
    """Whether a row comes no later than the last one of the page before."""
    try:
        return last is not None and key <= last
    except TypeError:
        raise Problem("bad-cursor", "This is no cursor of this listing with these parameters.") from None


def page(
    ledger: Ledger, credential: Credential, name: str, wanted: Wanted, cursor: str | None, limit: int, now: datetime
) -> dict[str, Any]:
    """One page: ``items``, and ``next``, the cursor of the page after it; null after the last."""
    listing = LISTINGS[name]
    place = Place("") if cursor is None else place_of(name, wanted, cursor)
    candidates = listing.candidates(wanted) if wanted.at is None else EVERY
    begun = [] if place.key is None else [place.subject]
    found: list[Row] = []
    subjects = begun + subjects_after(ledger.index, candidates, place.subject, MOST_ITEMS)
    for subject in subjects:
        last = place.key if subject == place.subject else None
        for key, row in _rows(ledger, credential, listing, wanted, subject, now):
            if _seen(key, last):
                continue
            if len(found) == limit:
                return {"items": found, "next": cursor_of(name, wanted, place)}
            found.append(row)
            place = Place(subject, key)
        place = Place(subject)
    is_last = len(subjects) - len(begun) < MOST_ITEMS
    return {"items": found, "next": None if is_last else cursor_of(name, wanted, place)}


def _rows(
    ledger: Ledger, credential: Credential, listing: Listing, wanted: Wanted, subject: str, now: datetime
) -> list[tuple[Key, Row]]:
    """The rows of one work item that were asked for, in the order of their keys."""
    if not credential.has_prefix(subject) or not subject.startswith(wanted.prefix):
        return []
    item = ledger.index.work_item(subject, at=wanted.at)
    if item is None or not credential.may_see(item, ledger.index.work_item(subject) if wanted.at else item):
        return []
    rows = [
        (listing.key(item, row), row)
        for row in listing.rows(item, wanted.at or as_of_now(item, now))
        if _is_wanted(item, row, wanted)
    ]
    rows.sort(key=lambda one: one[0])
    return rows


def _is_wanted(item: WorkItem, row: Row, wanted: Wanted) -> bool:
    if wanted.owner is not None:
        owner: str | None = row["owner"] if "owner" in row else item.pauses[row["pause"]].owner
        if owner != wanted.owner:
            return False
    if "decision" not in row or "checks" not in row:
        return True
    decision: str = row["decision"]
    return decision != "closed" if wanted.branch is None else decision == wanted.branch
