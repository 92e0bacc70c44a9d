"""``pauseledger decision``, ``packet`` and ``trail``: what the ledger says of a work item, now or then."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from typing import Annotated

import typer

from consumers.cli.options import AsJson, At, IndexUrl, LogUrl, Subject, console, counting, instant, print_json
from consumers.personal.opening import key_store
from consumers.personal.revealing import reveal_packet, reveal_trail
from consumers.settings import Ledger, Settings
from ledger.errors import NotFound, WrongUsage
from ledger.packet import WorkItem
from ledger.partitions import partition_of
from ledger.sealing import Sealing
from projections.answers import decision_answer, decisions_answer, packet_answer, trail_answer

Reveal = Annotated[
    bool, typer.Option("--reveal", help="Show what was sealed, where its key is in PAUSELEDGER_PERSONAL_KEYS.")
]
OnePause = Annotated[str | None, typer.Option("--pause", metavar="P", help="One pause of the work item.")]


@contextmanager
def caught_up(log: str | None, index: str | None, subject: str | None) -> Iterator[Ledger]:
    """The ledger, folded up to what its log holds now: the partition of a work item, or all of them."""
    ledger = Settings.read(log, index).open()
    try:
        with counting("entries indexed") as count_on:
            if subject is None:
                ledger.indexer.catch_up(count_on)
            else:
                home = partition_of(subject, ledger.indexer.identity.partitions)
                ledger.indexer.catch_up_partition(home, count_on)
        yield ledger
    finally:
        ledger.close()


@contextmanager
def opening(log: str | None, index: str | None, reveal: bool) -> Iterator[Sealing | None]:
    """What opens sealed members, where that was asked for."""
    if not reveal:
        yield None
        return
    sealing = Sealing(key_store(Settings.read(log, index)))
    try:
        yield sealing
    finally:
        sealing.close()


def decision(
    subject: Subject,
    pause: OnePause = None,
    at: At = None,
    as_json: AsJson = False,
    log: LogUrl = None,
    index: IndexUrl = None,
) -> None:
    """Print which way a paused branch goes, and why: resume, review, reconcile, settle or terminate."""
    then = instant(at)
    with caught_up(log, index, subject) as ledger:
        item = ledger.index.work_item(subject, at=then)
        now = datetime.now(UTC)
        if pause is None:
            content = decisions_answer(item, now=now, at=then)
        else:
            content = [decision_answer(item, subject, pause, now=now, at=then)]
    if as_json:
        print_json(content if pause is None else content[0])
    else:
        from consumers.cli import show

        show.decisions(console(), subject, content, then=then is not None)


def packet(
    subject: Subject,
    pause: Annotated[
        str | None, typer.Option("--pause", metavar="P", help="The pause. May be left out where there is only one.")
    ] = None,
    at: At = None,
    reveal: Reveal = False,
    as_json: AsJson = False,
    log: LogUrl = None,
    index: IndexUrl = None,
) -> None:
    """Print the packet of a pause: what was about to happen, whose it is, how long it holds, what became of it."""
    then, opened = instant(at), opening(log, index, reveal)
    with opened as sealing, caught_up(log, index, subject) as ledger:
        item = ledger.index.work_item(subject, at=then)
        content = packet_answer(item, subject, pause or _only_pause(item, subject))
        if sealing is not None:
            lines = trail_answer(ledger.index, ledger.indexer.identity.partitions, subject, at=then)
            content = reveal_packet(sealing, content, lines)
    if as_json:
        print_json(content)
    else:
        from consumers.cli import show

        show.packet(console(), content)


def _only_pause(item: WorkItem | None, subject: str) -> str:
    """The one pause of a work item. Raises ``NotFound`` where it has none, ``WrongUsage`` where it has several."""
    names = [] if item is None else list(item.pauses)
    if not names:
        raise NotFound(f"{subject} has no pause.", "pauseledger inbox lists what waits.")
    if len(names) > 1:
        raise WrongUsage(f"{subject} has {len(names)} pauses.", f"Name one with --pause: {', '.join(names[:5])}.")
    return names[0]


def trail(
    subject: Subject,
    at: At = None,
    reveal: Reveal = False,
    as_json: AsJson = False,
    log: LogUrl = None,
    index: IndexUrl = None,
) -> None:
    """Print every entry of a work item with its verdict, oldest first."""
    then, opened = instant(at), opening(log, index, reveal)
    with opened as sealing, caught_up(log, index, None) as ledger:
        content = trail_answer(ledger.index, ledger.indexer.identity.partitions, subject, at=then)
        if sealing is not None:
            content = reveal_trail(sealing, content)
    if as_json:
        print_json(content)
    else:
        from consumers.cli import show

        show.trail(console(), subject, content)
