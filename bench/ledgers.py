"""Ledgers to measure on: embedded logs of any length, filled in chunks, and indexed."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path

from bench.workload import ACTIVE_ITEMS, Workload, chunks
from consumers.settings import Ledger, Settings
from ledger.log import Draft
from ledger.logs.sqlite import SqliteLog

_CHUNK = 5_000


@contextmanager
def folder() -> Iterator[Path]:
    """A folder on the disk of this project, since `/tmp` may be memory; gone afterwards."""
    place = os.environ.get("PAUSELEDGER_BENCH_FOLDER") or Path.cwd()
    with tempfile.TemporaryDirectory(prefix=".bench-", dir=place, ignore_cleanup_errors=True) as made:
        yield Path(made)


def now() -> datetime:
    """The publishers' clock when a log is filled that stamps its records itself."""
    return datetime.now(UTC)


def fill(path: Path, drafts: Iterator[Draft], progress: Callable[[int], None] | None = None) -> None:
    """An embedded log of these records, new at ``path``."""
    log = SqliteLog(path)
    try:
        for chunk in chunks(drafts, _CHUNK):
            log.append(chunk)
            if progress is not None:
                progress(len(chunk))
    finally:
        log.close()


def filled(path: Path, entries: int, *, active: int = ACTIVE_ITEMS) -> Workload:
    """An embedded log of so many entries, not indexed yet; the workload that it came from."""
    workload = Workload(start=now(), active=active)
    fill(path, workload.drafts(entries))
    return workload


def opened(path: Path, index: Path | None = None) -> Ledger:
    """The ledger in a file, its index in the same one unless told."""
    return Settings.read(f"sqlite:///{path}", None if index is None else f"sqlite:///{index}").open(create=True)


def indexed(path: Path) -> None:
    """Bring the index of an embedded ledger up to its log."""
    ledger = opened(path)
    try:
        ledger.indexer.catch_up()
    finally:
        ledger.close()
