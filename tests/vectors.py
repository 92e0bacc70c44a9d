"""Vectors: entries, and what every reader must conclude from them. The format is that of the shared vectors.

A file has ``entries`` (``partition``, ``offset``, ``recorded_at``, ``line``), ``verdicts`` (one an entry, in order) and
``decisions`` (for a ``subject`` and an instant ``at``, in the order the pauses were opened). The comparison is over the
members that a vector gives; one that is absent there is absent or null here.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any, NamedTuple

from ledger.cloudevents import STRUCTURED_HEADERS, subject_of
from ledger.decision import decide
from ledger.fold import Replay
from ledger.packet import WorkItem
from ledger.record import Record
from ledger.times import EPOCH, parse_instant

VERDICT_MEMBERS = ("verdict", "code", "fence", "action_digest")
FIRST_MEMBERS = ("verdict", "code", "fence")
CHECKS = ("freshness", "ownership", "side_effect")


class Vectors(NamedTuple):
    """One file, its lines made into records as a log would hold them."""

    records: list[Record]
    verdicts: list[dict[str, Any]]
    decisions: list[dict[str, Any]]


def files_in(folder: Path) -> list[Path]:
    """The vector files of a folder, in order; none where there is no such folder."""
    return sorted(folder.glob("*.json"))


def read_vectors(path: Path) -> Vectors:
    content = json.loads(path.read_bytes())
    records = [_record(entry) for entry in content["entries"]]
    return Vectors(records, content["verdicts"], content["decisions"])


def _record(entry: dict[str, Any]) -> Record:
    line = entry["line"].encode()
    subject = subject_of(line)
    recorded_at = (parse_instant(entry["recorded_at"]) - EPOCH) // timedelta(milliseconds=1)
    key = None if subject is None else subject.encode()
    return Record(entry["partition"], entry["offset"], recorded_at, key, line, STRUCTURED_HEADERS)


def wrong_verdicts(vectors: Vectors) -> list[str]:
    """What the fold says otherwise than the vectors, a line a difference."""
    verdicts = Replay(1).take_all(vectors.records)
    assert len(verdicts) == len(vectors.verdicts)
    return [
        f"entry {got.entry}: {difference}"
        for got, expected in zip(verdicts, vectors.verdicts, strict=True)
        for difference in _differences(got.as_dict(), expected)
    ]


def _differences(got: dict[str, Any], expected: dict[str, Any]) -> Iterator[str]:
    yield from _unequal(got, expected, VERDICT_MEMBERS)
    if (got.get("first") is None) != (expected.get("first") is None):
        yield f"first is {got.get('first')}, not {expected.get('first')}"
    elif expected.get("first") is not None:
        yield from _unequal(got["first"], expected["first"], FIRST_MEMBERS)


def _unequal(got: dict[str, Any], expected: dict[str, Any], members: Iterable[str]) -> Iterator[str]:
    for name in members:
        if got.get(name) != expected.get(name):
            yield f"{name} is {got.get(name)}, not {expected.get(name)}"


def item_at(records: Iterable[Record], subject: str, at: datetime) -> WorkItem | None:
    """The work item folded from its entries with an instant up to ``at``: time travel. Instants never go back."""
    replay, item = Replay(1), None
    for record in records:
        if record.key != subject.encode():
            continue
        replay.take(record)
        after = replay.items.get(subject)
        if after is not None and after.instant is not None and after.instant > at:
            return item
        item = after
    return item


def wrong_decisions(vectors: Vectors) -> list[str]:
    """Which decisions come out otherwise than in the vectors, a line a difference."""
    return [
        f"{asked['subject']} at {asked['at']}: {difference}"
        for asked in vectors.decisions
        for difference in _decided_otherwise(vectors.records, asked)
    ]


def _decided_otherwise(records: list[Record], asked: dict[str, Any]) -> Iterator[str]:
    at = parse_instant(asked["at"])
    item = item_at(records, asked["subject"], at)
    got = [] if item is None else [decide(item, pause, at).as_dict() for pause in item.pauses.values()]
    if len(got) != len(asked["decisions"]):
        yield f"{len(got)} decisions, not {len(asked['decisions'])}"
        return
    for decision, expected in zip(got, asked["decisions"], strict=True):
        results = {name: decision["checks"][name]["result"] for name in CHECKS}
        yield from _unequal(decision | results, expected, expected)
