"""``pauseledger decision``, ``packet`` and ``trail``: what the ledger says of a work item, now or then."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from typing import Annotated

import typer

from consumers.cli.options import AsJson, At, IndexUrl, LogUrl, Subject, console, counting, instant, print_json
from consumers.settings import Ledger, Settings
from ledger.checks import stop_signals
from ledger.decision import decide
from ledger.packet import packet_of
from ledger.partitions import partition_of
from projections.decisions import as_of_now, decisions, pause_of
from projections.trail import trail as trail_of

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
        if pause is not None:
            item, one = pause_of(item, subject, pause)
        if item is None:
            found = []
        else:
            as_of = then or as_of_now(item, datetime.now(UTC))
            found = decisions(item, as_of) if pause is None else [decide(item, one, as_of)]
    content = [each.as_dict() for each in found]
    if as_json:
        print_json(content if pause is None else content[0])
    else:
        from consumers.cli import show

        show.decisions(console(), subject, content)


def packet(
    subject: Subject,
    pause: Annotated[str, typer.Option("--pause", metavar="P", help="The pause.")],
    at: At = None,
    as_json: AsJson = False,
    log: LogUrl = None,
    index: IndexUrl = None,
) -> None:
    """Print the packet of a pause: what was about to happen, whose it is, how long it holds, what became of it."""
    with caught_up(log, index, subject) as ledger:
        item, one = pause_of(ledger.index.work_item(subject, at=instant(at)), subject, pause)
    content = packet_of(item, one, stop_signals(item, one))
    if as_json:
        print_json(content)
    else:
        from consumers.cli import show

        show.packet(console(), content)


def trail(subject: Subject, at: At = None, as_json: AsJson = False, log: LogUrl = None, index: IndexUrl = None) -> None:
    """Print every entry of a work item with its verdict, oldest first."""
    then = instant(at)
    with caught_up(log, index, None) as ledger:
        lines = trail_of(ledger.index, ledger.indexer.identity.partitions, subject, at=then)
    content = [line.as_dict() for line in lines]
    if as_json:
        print_json(content)
    else:
        from consumers.cli import show

        show.trail(console(), subject, content)
