"""Keeping the index up to the log where nobody else does."""

from __future__ import annotations

import time
from collections.abc import Mapping

from consumers.settings import Ledger
from ledger.errors import LogChanged

_STILL_SECONDS = 1.0
"""After so long without a move the index may have nobody who keeps it up to the log."""
_ALONE_SECONDS = 0.05
"""How often it is looked for more where we keep it up to the log by ourselves."""


class Upkeep:
    """Keeps the index up to the log where nobody else does, and sees that the log is still the one it was."""

    def __init__(self, ledger: Ledger) -> None:
        self._ledger = ledger
        self._identity = ledger.indexer.identity
        self._seen: dict[int, int] = {}
        self._since: dict[int, float] = {}
        self._alone: set[int] = set()
        """The partitions that nobody else has moved since we did."""

    def folded(self, ends: Mapping[int, int], emitted: Mapping[int, int]) -> int:
        """Fold what the log has more of the emitted partitions, where the index stood still; how many entries.

        Raises ``LogChanged`` where the log was made again, or is shorter than what was emitted.
        """
        still = [one for one in emitted if self._stands_still(one, ends.get(one, 0))]
        if not still:
            return 0
        log = self._ledger.log
        if log.identity() != self._identity:
            raise LogChanged(f"The log {self._identity.topic!r} was made again.", "Start again.")
        bounds = log.all_bounds()
        count = 0
        for partition in still:
            _, end = bounds[partition]
            if end < emitted[partition]:
                was = f"it ends at {end}, and was emitted up to {emitted[partition]}"
                raise LogChanged(f"Partition {partition} of {self._identity.topic!r} was cut: {was}.")
            if end > ends.get(partition, 0):
                count += self._fold(partition)
        return count

    def _stands_still(self, partition: int, end: int) -> bool:
        now = time.monotonic()
        if self._seen.get(partition) != end:
            self._seen[partition], self._since[partition] = end, now
            self._alone.discard(partition)
            return False
        patience = _ALONE_SECONDS if partition in self._alone else _STILL_SECONDS
        if now - self._since[partition] < patience:
            return False
        self._since[partition] = now
        return True

    def _fold(self, partition: int) -> int:
        count = len(self._ledger.indexer.step(partition))
        if count:
            self._alone.add(partition)
            self._seen[partition] = self._ledger.indexer.position(partition).next_offset
        return count
