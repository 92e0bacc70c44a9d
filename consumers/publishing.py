"""A publisher on a ledger named by its addresses: log, index and outbox put together."""

from __future__ import annotations

from collections.abc import Sequence
from concurrent.futures import Future
from contextlib import suppress
from pathlib import Path

from pydantic import SecretStr

from consumers.indexer import Indexer
from consumers.personal.opening import open_sealing
from consumers.settings import Settings
from ledger.cloudevents import ReadLine
from ledger.errors import Fenced, LedgerError, LogUnavailable
from ledger.log import Draft, Log, Receipt
from ledger.logs.address import log_name
from ledger.outbox import Outbox
from ledger.publisher import Publisher
from ledger.sending import Sending
from ledger.verdict import Verdict
from projections.trail import verdict_at

_MOST_ENTRIES_AHEAD = 4_096
_MOST_BYTES_AHEAD = 16 * 1024 * 1024


class IndexCourt:
    """Records on the log, then folds up to what was recorded: any process may index.

    The index is written behind the verdicts, many at once; a verdict rests on the log alone.
    """

    def __init__(self, log: Log, indexer: Indexer) -> None:
        self.partitions = indexer.identity.partitions
        self._log = log
        self._indexer = indexer
        self._judged: dict[int, int] = {}
        self._one_file = getattr(log, "path", None) == indexer.index.address

    def record(self, drafts: Sequence[Draft]) -> Sequence[Future[Receipt]]:
        if self._one_file:  # whose lock a commit would hold: SQLite waits for it in long naps
            self._indexer.settle()
        return self._log.append(drafts)

    def judge(self, recorded: Sequence[tuple[Receipt, Sending]]) -> Sequence[Verdict]:
        own: dict[int, dict[int, ReadLine | None]] = {}
        for receipt, sending in recorded:
            line = None if sending.event is None else (sending.value, sending.event)
            own.setdefault(receipt.partition, {})[receipt.offset] = line
        found: dict[tuple[int, int], Verdict] = {}
        for partition, lines in own.items():
            end = max(lines) + 1
            self._judged[partition] = max(end, self._judged.get(partition, 0))
            while self._indexer.position(partition).next_offset < end:
                verdicts = self._indexer.step_ahead(partition, read_before=lines, wait_seconds=1.0)
                found |= {(partition, one.offset): one for one in verdicts if one.offset in lines}
                self.rest(idle=False)
        return [found.get((one.partition, one.offset)) or self._indexed(one) for one, _ in recorded]

    def _indexed(self, receipt: Receipt) -> Verdict:
        """The verdict of an entry that was folded before, here or by another indexer."""
        index = self._indexer.index
        verdict = index.verdict_ahead(receipt.partition, receipt.offset)
        if verdict is None:
            self._indexer.settle()
        with suppress(Fenced):  # emptied this moment: not indexed yet
            verdict = verdict or verdict_at(index, self.partitions, receipt.partition, receipt.offset)
        if verdict is None:
            raise LogUnavailable(f"Entry {receipt.partition}:{receipt.offset} is not indexed yet.", "Try again.")
        return verdict

    def rest(self, *, idle: bool) -> None:
        """Write the index, when there is time or much to write."""
        entries, size = self._indexer.index.ahead()
        if idle or entries >= _MOST_ENTRIES_AHEAD or size >= _MOST_BYTES_AHEAD:
            self._indexer.write(settle=idle)

    def _write_all_judged(self) -> None:
        """Write what is ahead; where another indexer came in between, fold the rest of what was judged here again."""
        self._indexer.write()
        for partition, end in self._judged.items():
            while self._indexer.position(partition).next_offset < end:
                self._indexer.step(partition, wait_seconds=1.0)

    def close(self) -> None:
        try:
            with suppress(LedgerError):  # the log has it: whoever reads next indexes it, and is told what is wrong
                self._write_all_judged()
            self._indexer.index.close()
        finally:
            self._log.close()


def open_publisher(
    log_url: str | None = None,
    *,
    index_url: str | None = None,
    outbox: str | Path | None = None,
    deadline_seconds: float = 30.0,
    personal_keys: str | None = None,
    personal_store_key: SecretStr | None = None,
) -> Publisher:
    """A publisher for ``PAUSELEDGER_LOG`` (or ``log_url``), which makes the embedded log where there is none.

    ``outbox`` is the file that keeps facts whose fate is unknown: unless given, ``pauseledger.outbox`` in this folder.
    What is marked as personal is sealed with ``PAUSELEDGER_PERSONAL_KEYS`` (or ``personal_keys``).
    Raises ``WrongUsage`` for an address that can't be meant; a log that can't be reached is waited for.
    """
    settings = Settings.read(
        log_url, index_url, personal_keys=personal_keys or None, personal_store_key=personal_store_key
    )
    path = Path("pauseledger.outbox") if outbox is None else Path(outbox)

    def open_court() -> IndexCourt:
        ledger = settings.open(create=True)
        return IndexCourt(ledger.log, ledger.indexer)

    sealing = open_sealing(settings)
    kept = Outbox(path, log_name(settings.log_url))
    return Publisher(open_court, outbox=kept, sealing=sealing, deadline_seconds=deadline_seconds)
