"""The tables of the projections after a history, however its batches were cut."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path

import pytest

from consumers import indexer as indexer_module
from ledger.cloudevents import STRUCTURED_HEADERS
from ledger.log import Draft
from ledger.logs.sqlite import SqliteLog
from tests.faults.ledgers import caught_up, url
from tests.faults.lines import day, line, resume
from tests.vectors import read_vectors

VECTORS = sorted((Path(__file__).parents[2] / "docs" / "vectors").glob("*.json"))


def everything(path: Path) -> Path:
    """A log that holds all the project's stories one after the other, a busy day, and noise."""
    ticks = iter(range(1_774_688_400_000, 10**15, 250))
    log = SqliteLog(path, clock=lambda: next(ticks))
    drafts = [Draft(0, r.key, r.value, r.headers) for story in VECTORS for r in read_vectors(story).records]
    drafts = [draft for draft in drafts if draft.key is not None or draft.value is not None]
    for value in day(600, work_items=5):
        drafts.append(Draft(0, json.loads(value)["subject"].encode(), value, STRUCTURED_HEADERS))
    drafts += [Draft(0, b"T-0", b"\x00noise"), Draft(0, None, resume(), STRUCTURED_HEADERS)]
    drafts.append(Draft(0, b"T-0", line("no.such.type", {}, subject="T-0"), STRUCTURED_HEADERS))
    for start in range(0, len(drafts), 7):
        log.append(drafts[start : start + 7])
    log.close()
    return path


def indexed(log: Path, index: Path, batch: int, monkeypatch: pytest.MonkeyPatch) -> int:
    """Index a log in batches of so many entries."""
    monkeypatch.setattr(indexer_module, "BATCH_ENTRIES", batch)
    return caught_up(url(log), index)


def distinct(rows: Sequence[object]) -> int:
    return len(set(rows))
