"""Sending what the outbox holds, until the log has it.

One batch at a time is on its way, and nobody waits for it: what is published meanwhile is not held up. A batch that
the log has not acknowledged for ``LOST_SECONDS`` may be lost in its client, and is sent again; the fold counts it once.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from concurrent.futures import Future

from ledger.log import Draft, Receipt
from ledger.outbox import Outbox, Waiting
from ledger.sending import draft_for

LOST_SECONDS = 30.0
BATCH_FACTS = 1_000

Put = Callable[[Sequence[Draft]], Sequence[Future[Receipt]]]
"""Hands drafts to the log; a future for each. Raises ``LogUnavailable``."""


class Resender:
    """Sends the facts of one log's outbox, oldest first. Used by one thread."""

    def __init__(self, outbox: Outbox) -> None:
        self._outbox = outbox
        self._under_way: list[tuple[Waiting, Future[Receipt]]] = []
        self._lost_at = 0.0
        self._last = 0

    def step(self, put: Put, partitions: int) -> bool:
        """Forget what the log has, and send the next batch; whether one is on its way."""
        self._settle()
        if self._under_way and time.monotonic() < self._lost_at:
            return True
        facts = self._outbox.waiting(BATCH_FACTS, after=self._last)
        self._last = facts[-1].number if facts else 0  # after the newest, from the oldest again
        futures = put([draft_for(one.subject, one.value, partitions, one.headers) for one in facts])
        self._under_way = list(zip(facts, futures, strict=True))
        self._lost_at = time.monotonic() + LOST_SECONDS
        self._settle()
        return bool(facts)

    def _settle(self) -> None:
        """Remove from the outbox what the log has; what it refuses stays there, and comes round again."""
        done = [(fact, future) for fact, future in self._under_way if future.done()]
        self._outbox.remove([fact.number for fact, future in done if future.exception() is None])
        self._under_way = [(fact, future) for fact, future in self._under_way if not future.done()]
