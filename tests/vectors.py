"""Vectors: entries, and what every reader must conclude from them. The format is that of the shared vectors.

A file has ``entries`` (``partition``, ``offset``, ``recorded_at``, ``line``), ``verdicts`` (one an entry, in order) and
``decisions`` (for a ``subject`` and an instant ``at``, in the order the pauses were opened). The comparison is over the
members that a vector gives; one that is absent there is absent or null here. ``docs/vectors/README.md`` says more, and
names what a file may have beside these: ``partitions``, and an entry's ``key``, ``headers`` and ``value_base64``.
"""

from __future__ import annotations

import base64
import json
from collections.abc import Iterable, Iterator
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any, NamedTuple

from ledger.cloudevents import STRUCTURED_HEADERS, subject_of
from ledger.decision import decide
from ledger.fold import Replay
from ledger.packet import WorkItem
from ledger.record import Headers, Record
from ledger.times import EPOCH, parse_instant

VERDICT_MEMBERS = ("verdict", "code", "fence", "action_digest")
FIRST_MEMBERS = ("verdict", "code", "fence")
CHECKS = ("freshness", "ownership", "side_effect")


class Vectors(NamedTuple):
    """One file, its lines made into records as a log would hold them."""

    records: list[Record]
    verdicts: list[dict[str, Any]]
    decisions: list[dict[str, Any]]
    partitions: int = 1


def files_in(folder: Path) -> list[Path]:
    """The vector files of a folder, in order; none where there is no such folder."""
    return sorted(folder.glob("*.json"))


def read_vectors(path: Path) -> Vectors:
    return vectors_of(json.loads(path.read_bytes()))


def vectors_of(content: dict[str, Any]) -> Vectors:
    """The content of a file, made into records."""
    records = [_record(entry) for entry in content["entries"]]
    return Vectors(records, content["verdicts"], content["decisions"], content.get("partitions", 1))


def _value(entry: dict[str, Any]) -> bytes | None:
    if "line" in entry:
        return str(entry["line"]).encode()
    return None if entry["value_base64"] is None else base64.b64decode(entry["value_base64"])


def _headers(entry: dict[str, Any]) -> Headers:
    if "headers" not in entry:
        return STRUCTURED_HEADERS
    return tuple((name, None if text is None else text.encode()) for name, text in entry["headers"])


def _record(entry: dict[str, Any]) -> Record:
    value = _value(entry)
    key = entry["key"] if "key" in entry else subject_of(value or b"")
    recorded_at = (parse_instant(entry["recorded_at"]) - EPOCH) // timedelta(milliseconds=1)
    raw_key = None if key is None else key.encode()
    return Record(entry["partition"], entry["offset"], recorded_at, raw_key, value, _headers(entry))


def wrong_verdicts(vectors: Vectors) -> list[str]:
    """What the fold says otherwise than the vectors, a line a difference."""
    verdicts = Replay(vectors.partitions).take_all(vectors.records)
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


def item_at(records: Iterable[Record], subject: str, at: datetime, partitions: int = 1) -> WorkItem | None:
    """The work item folded from its entries with an instant up to ``at``: time travel. Instants never go back."""
    replay, item = Replay(partitions), None
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
        for difference in _decided_otherwise(vectors, asked)
    ]


def _decided_otherwise(vectors: Vectors, asked: dict[str, Any]) -> Iterator[str]:
    at = parse_instant(asked["at"])
    item = item_at(vectors.records, asked["subject"], at, vectors.partitions)
    got = [] if item is None else [decide(item, pause, at).as_dict() for pause in item.pauses.values()]
    if len(got) != len(asked["decisions"]):
        yield f"{len(got)} decisions, not {len(asked['decisions'])}"
        return
    for decision, expected in zip(got, asked["decisions"], strict=True):
        results = {name: decision["checks"][name]["result"] for name in CHECKS}
        yield from _unequal(decision | results, expected, expected)
