"""The verdicts and decisions of a bundle, made from its records alone: by the exporter, and again by the verifier."""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime
from typing import BinaryIO, NamedTuple

from ledger.evidence.bundle import Counts, Query
from ledger.evidence.case import Case, verdict_line
from ledger.evidence.entries_file import Entries, Group
from ledger.partitions import partition_of

Progress = Callable[[int], None]
"""Told of so many entries more."""


class Terms(NamedTuple):
    """How a bundle is judged: of entries up to ``until`` (milliseconds since 1970), as of an instant."""

    query: Query
    partitions: int
    until: int | None
    as_of: datetime | None


class Judged(NamedTuple):
    """How much was judged, which groups the query would choose, and how many did not end by an entry of their own."""

    counts: Counts
    wanted: frozenset[Group]
    unended: int


class Sink(NamedTuple):
    """Who is told of each line: of a verdict with its entry's number, of a decision with what opened the pause."""

    verdict: Callable[[int, bytes], None]
    decision: Callable[[str, bytes], None]


def ignored(*_: object) -> None:
    """Nobody wants to know."""


NOWHERE = Sink(ignored, ignored)


def judge(entries: Entries, file: BinaryIO, terms: Terms, sink: Sink, progress: Progress = ignored) -> Judged:
    """Judge all work items of a bundle, one after another by their names. ``file`` has the records."""
    members = entries.grouped.by_group(len(entries.groups))
    verdicts = decisions = work_items = unended = 0
    wanted = set()
    for group in sorted(entries.groups):
        number = entries.groups[group]
        numbers = members.of(number)
        case = Case(terms.partitions, terms.until, terms.query)
        for entry, ruled in zip(numbers, case.rule(entries.read(file, numbers)), strict=True):
            if ruled.verdict is not None:
                verdicts += 1
                sink.verdict(entry, verdict_line(ruled.record, ruled.verdict))
        for opened, line in case.decisions(terms.as_of):
            decisions += 1
            sink.decision(opened, line)
        work_items += case.item is not None
        if not terms.query.subjects:
            unended += case.item is not None and number not in entries.ending
        if case.is_wanted():
            wanted.add(group)
        progress(len(numbers))
    for subject in terms.query.subjects:  # also of one that was never heard of: it may have begun meanwhile
        number = entries.groups.get(Group(subject.encode(), partition_of(subject, terms.partitions)), -1)
        unended += number not in entries.ending
    counts = Counts(entries=len(entries), verdicts=verdicts, decisions=decisions, work_items=work_items)
    return Judged(counts, frozenset(wanted), unended)
