"""``pauseledger owners``, ``deadlines``, ``debts`` and ``inbox``: what the whole ledger says, now or then."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from datetime import UTC, datetime
from typing import Annotated, Any, NamedTuple, TypeVar

import typer

from consumers.cli.options import AsJson, At, IndexUrl, LogUrl, console, counting, instant, print_json
from consumers.cli.queries import caught_up
from consumers.settings import Ledger
from ledger.packet import WorkItem
from projections.deadlines import deadlines_of, debts_of
from projections.inbox import inbox_of, most_urgent_first
from projections.listing import WITH_DEADLINES, WITH_DEBTS, WITH_OWNERS, work_items
from projections.owners import owners_of, ownership_changes

Owner = Annotated[str | None, typer.Option("--owner", metavar="NAME", help="Only what belongs to this owner.")]
One = TypeVar("One", bound=Any)


class _Wanted(NamedTuple):
    """Whose, and when: the options that all listings share."""

    owner: str | None
    at: datetime | None


def _listed(
    ledger: Ledger, wanted: _Wanted, candidates: str, of: Callable[[WorkItem, datetime], Iterable[One]]
) -> list[One]:
    with counting("work items read") as count_on:
        found = work_items(ledger.index, candidates, now=datetime.now(UTC), at=wanted.at, seen=count_on)
        listed = [one for item, as_of in found for one in of(item, as_of)]
    return [one for one in listed if wanted.owner in (None, one.owner)]


def _print(rows: list[Any], as_json: bool, empty: str, table: str) -> None:
    if as_json:
        print_json([one._asdict() for one in rows])
        return
    from consumers.cli import show

    show.listing(console(), table, [one._asdict() for one in rows], empty)


def owners(
    owner: Owner = None,
    changes: Annotated[bool, typer.Option("--changes", help="Every claim, takeover and move instead.")] = False,
    at: At = None,
    as_json: AsJson = False,
    log: LogUrl = None,
    index: IndexUrl = None,
) -> None:
    """List who owns what: each execution of each work item, its role and its owner."""
    wanted = _Wanted(owner, instant(at))
    found, lines = [], []
    with caught_up(log, index, None) as ledger:
        if owner is not None or not changes:
            found = _listed(ledger, wanted, WITH_OWNERS, lambda item, _: owners_of(item))
        if changes:
            subjects = {one.subject for one in found}
            told = ownership_changes(ledger.index, at=wanted.at)
            lines = [line.as_dict() for line in told if owner is None or line.verdict.subject in subjects]
    if not changes:
        _print(found, as_json, "Nobody owns anything on this ledger.", "owners")
    elif as_json:
        print_json(lines)
    else:
        from consumers.cli import show

        show.changes(console(), lines)


def deadlines(
    owner: Owner = None, at: At = None, as_json: AsJson = False, log: LogUrl = None, index: IndexUrl = None
) -> None:
    """List the deadlines of open pauses and of debts, earliest first, and which have passed."""
    with caught_up(log, index, None) as ledger:
        found = _listed(ledger, _Wanted(owner, instant(at)), WITH_DEADLINES, deadlines_of)
    _print(sorted(found, key=lambda one: one.at), as_json, "No pause of this ledger has a deadline.", "deadlines")


def debts(
    owner: Owner = None, at: At = None, as_json: AsJson = False, log: LogUrl = None, index: IndexUrl = None
) -> None:
    """List the outcomes that nobody knows: who owes each, since when, and by when."""
    with caught_up(log, index, None) as ledger:
        found = _listed(ledger, _Wanted(owner, instant(at)), WITH_DEBTS, debts_of)
    found.sort(key=lambda one: (one.due is None, one.due or one.since, one.since))
    _print(found, as_json, "Nothing is owed on this ledger.", "debts")


def inbox(
    owner: Owner = None, at: At = None, as_json: AsJson = False, log: LogUrl = None, index: IndexUrl = None
) -> None:
    """List what needs a person, most urgent first."""
    with caught_up(log, index, None) as ledger:
        found = _listed(ledger, _Wanted(owner, instant(at)), WITH_DEADLINES, inbox_of)
    _print(most_urgent_first(found), as_json, "Nothing on this ledger needs a person.", "inbox")
