"""The job ``notary``: follows its partitions and signs each after so many entries, or so long after the first of them.

Where the log is not the one that was signed it halts, and nothing is signed. Several may run on one folder of keys; on
folders of their own they would sign two histories, and the second refuses to start.
"""

from __future__ import annotations

import time
from collections.abc import Collection, Set

import structlog

from consumers.evidence.journal import Signed
from consumers.evidence.notary import Notary, open_notary
from consumers.operations import metrics
from consumers.settings import Settings
from ledger.log import Waiting

_WAIT_SECONDS = 0.25
_STEP_SECONDS = 1.0
"""After so long a step ends, if there is more to do or not: signals and rebalances wait for it."""
_LOOK_SECONDS = 2.0
"""How often a notary with nothing to do looks whether its log is still there, and what it was."""


class NotaryJob:
    """See :class:`consumers.jobs.Job`."""

    def __init__(self, notary: Notary, *, entries: int, seconds: float) -> None:
        self._notary = notary
        self._entries = entries
        self._seconds = seconds
        self._partitions: list[int] = []
        self._since: dict[int, float] = {}
        """When the first leaf was read that is not signed yet."""
        self._looked = time.monotonic()
        self._has_failed = True
        self._log = structlog.get_logger().bind(job="notary")

    def take(self, partitions: Set[int]) -> None:
        """See the port. What is new is opened at the next step."""
        for partition in set(self._partitions) - partitions:
            self._notary.forget(partition)
            self._since.pop(partition, None)
        self._partitions = sorted(partitions)

    def step(self) -> int:
        """See the port: the number of offsets hashed."""
        self._has_failed = True  # unless it comes to its end
        count = self._step()
        self._has_failed = False
        return count

    def _step(self) -> int:
        until = time.monotonic() + _STEP_SECONDS
        count = 0
        wait_seconds = _WAIT_SECONDS
        while (found := self._read(wait_seconds)) and time.monotonic() < until:
            count += found
            wait_seconds = 0.0
            self._sign_what_is_due()
        self._sign_what_is_due()
        if not count + found:
            self._look_again()
        return count + found

    def close(self) -> None:
        """Sign what was read, unless something was amiss."""
        try:
            for partition in () if self._has_failed else self._partitions:
                if self._notary.tree(partition).unsigned:
                    self._tell(partition, self._notary.sign(partition))
        finally:
            self._notary.close()

    def _read(self, wait_seconds: float) -> int:
        """Hash a batch of each partition that has one; how many offsets."""
        log = self._notary.log
        waiting: Collection[int] = tuple(self._partitions)
        if not waiting:
            return 0
        each_seconds = wait_seconds / len(waiting)
        if isinstance(log, Waiting):
            offsets = {one: self._notary.tree(one).next_offset for one in waiting}
            waiting, each_seconds = log.ready(offsets, wait_seconds=wait_seconds), 0.0
        return sum(self._read_one(one, each_seconds) for one in waiting)

    def _read_one(self, partition: int, wait_seconds: float) -> int:
        try:
            tree = self._notary.tree(partition)
            before = tree.no_record
            count = tree.read(wait_seconds=wait_seconds)
        except BaseException:
            self._notary.forget(partition)  # what was half done is done again, from what was signed
            raise
        if tree.no_record > before:
            gaps = tree.no_record - before
            self._log.info("offsets without a readable record", partition=partition, count=gaps, all=tree.no_record)
        return count

    def _sign_what_is_due(self) -> None:
        now = time.monotonic()
        for partition in self._partitions:
            tree = self._notary.tree(partition)
            if not tree.unsigned:
                self._since.pop(partition, None)
                continue
            since = self._since.setdefault(partition, now)
            if tree.unsigned >= self._entries or now - since >= self._seconds:
                self._tell(partition, self._notary.sign(partition))
                del self._since[partition]

    def _tell(self, partition: int, signed: Signed) -> None:
        size, label = signed.checkpoint.size, str(partition)
        metrics.CHECKPOINT_LEAVES.labels(label).set(size)
        metrics.CHECKPOINT_SECONDS.labels(label).set_to_current_time()
        metrics.NO_RECORD_LEAVES.labels(label).set(signed.no_record)
        root = signed.checkpoint.root.hex()
        self._log.info("signed", partition=partition, size=size, root=root, no_record=signed.no_record)

    def _look_again(self) -> None:
        """That nothing comes may mean that another log lies there. Keys may be rotated in the meantime, too."""
        if time.monotonic() - self._looked >= _LOOK_SECONDS:
            for partition in self._partitions:
                self._notary.look_again(partition)
            self._looked = time.monotonic()


def open_job(settings: Settings) -> NotaryJob:
    """Open keys, log and journal. Raises as those do."""
    return NotaryJob(open_notary(settings), entries=settings.notary_entries, seconds=settings.notary_seconds)
