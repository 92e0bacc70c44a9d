"""A ledger in a folder: its log and its index, opened as the programs open them, and its tables read back."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any

from consumers.indexer import Indexer
from consumers.settings import Ledger, Settings
from ledger.cloudevents import STRUCTURED_HEADERS, Fault, read_event
from ledger.fold import First, fold_entry
from ledger.index import Index
from ledger.log import Draft, Log
from ledger.packet import WorkItem
from ledger.partitions import partition_of
from ledger.record import Record
from ledger.recorders.address import index_address

TABLES = {
    "trail": ("partition", "offset"),
    "decisions": ("subject", "pause"),
    "deadlines": ("subject", "pause"),
    "owners": ("subject", "execution"),
    "index_positions": ("partition",),
    "index_firsts": ("subject", "source", "id"),
    "stored_events": ("originator_id", "originator_version"),
    "tracking": ("application_name", "notification_id"),
}
"""Tables whose rows must be the same whoever indexed, and their keys, which are their first columns."""
_COLUMNS = {"stored_events": "originator_id, originator_version, topic, state"}
WAIT_SECONDS = 30.0


def url(path: Path) -> str:
    """The address of an embedded log or an index."""
    return f"sqlite:///{path}"


@contextmanager
def opened(log_url: str, index: Path | str) -> Iterator[Ledger]:
    """Log, index (a file, or an address) and indexer, closed afterwards."""
    index_url = url(index) if isinstance(index, Path) else index
    with closing(Settings.read(log_url, index_url).open(create=True)) as ledger:
        yield ledger


def caught_up(log_url: str, index: Path | str) -> int:
    """Fold into an index all that the log holds; how many entries were folded here."""
    with opened(log_url, index) as ledger:
        return ledger.indexer.catch_up()


def put(log: Log, lines: Sequence[tuple[str | None, bytes]]) -> None:
    """Record lines (subject, line) as a publisher in structured mode does, and wait for their receipts."""
    drafts = [
        Draft(
            partition_of(subject or "", log.partitions),
            None if subject is None else subject.encode(),
            value,
            STRUCTURED_HEADERS,
        )
        for subject, value in lines
    ]
    for future in log.append(drafts):
        future.result(WAIT_SECONDS)


def dump(index: Path | str, *tables: str) -> dict[str, list[tuple[Any, ...]]]:
    """The rows of tables in the order of their keys: those of the projections and of the index.

    ``index`` is a file, or an address.
    """
    address = index if isinstance(index, Path) else index_address(index)
    with closing(Index(address, ())) as opened_index:
        select = opened_index.recorder.select
        rows = {table: select(f"SELECT {_COLUMNS.get(table, '*')} FROM {table}") for table in tables or TABLES}
    return {table: _by_key(table, found) for table, found in rows.items()}


def _by_key(table: str, rows: list[tuple[Any, ...]]) -> list[tuple[Any, ...]]:
    """Sorted here: databases sort texts in ways of their own."""
    width = len(TABLES[table])
    return sorted(rows, key=lambda row: row[:width])


def records_of(log: Log) -> list[Record]:
    """Every readable record, partition by partition."""
    records: list[Record] = []
    for partition in range(log.partitions):
        offset, end = log.bounds(partition)
        while offset < end:
            found = log.read(partition, offset, most=4_096, wait_seconds=1.0)
            records += found.records
            offset = found.next_offset
    return records


def folded(log: Log) -> tuple[dict[str, list[WorkItem]], list[str]]:
    """The fold in memory, entry by entry, without an index: every state of every work item, and all verdicts."""
    states: dict[str, list[WorkItem]] = {}
    firsts: dict[tuple[str, str, str], First] = {}
    verdicts: list[str] = []
    for record in records_of(log):
        event = read_event(record, log.partitions)
        if isinstance(event, Fault):
            verdicts.append("malformed")
            continue
        name = (event.subject, event.source, event.id)
        known = states.setdefault(event.subject, [WorkItem.unseen(event.subject, record.partition)])
        item, verdict = fold_entry(known[-1], record, event, firsts.get(name))
        known.append(item)
        firsts.setdefault(name, First(record, verdict))
        verdicts.append(verdict.verdict)
    return states, verdicts


class Wrapped:
    """A log whose ``read`` calls back after each slice, to let something happen between reading and writing."""

    def __init__(self, log: Log) -> None:
        self._log = log
        self.after_read: Any = None

    def __getattr__(self, name: str) -> Any:
        return getattr(self._log, name)

    def read(self, partition: int, offset: int, *, most: int, wait_seconds: float = 0.0) -> Any:
        found = self._log.read(partition, offset, most=most, wait_seconds=wait_seconds)
        if self.after_read is not None:
            happens, self.after_read = self.after_read, None
            happens()
        return found


def indexer_on(log: Any, ledger: Ledger) -> Indexer:
    """An indexer that reads another handle of the log."""
    return Indexer(log, ledger.index)
