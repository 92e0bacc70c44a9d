"""A court for tests of the publisher that need to hold time in their hands: it does what it is told, and keeps it."""

from __future__ import annotations

import threading
from collections.abc import Callable, Sequence
from concurrent.futures import Future
from pathlib import Path

from ledger.errors import LogUnavailable
from ledger.log import Draft, Receipt
from ledger.outbox import Outbox
from ledger.sending import Sending
from ledger.verdict import Verdict

Ruling = Callable[[Draft], Exception | None]


class ScriptedCourt:
    """Records everything at once, unless told otherwise. ``values`` is what the log took, in order."""

    partitions = 1

    def __init__(self) -> None:
        self.values: list[bytes | None] = []
        self.acknowledges = True
        self.away = False
        self.judges = True
        self.late: bytes | None = None
        self.refuses: Ruling = lambda draft: None
        self.asked = threading.Event()
        self.closed = threading.Event()
        self.open_futures: list[tuple[Draft, Future[Receipt]]] = []

    def record(self, drafts: Sequence[Draft]) -> Sequence[Future[Receipt]]:
        self.asked.set()
        if self.away:
            raise LogUnavailable("away")
        for draft in drafts:
            if (error := self.refuses(draft)) is not None:
                raise error
        return [self._put(draft) for draft in drafts]

    def _put(self, draft: Draft) -> Future[Receipt]:
        future: Future[Receipt] = Future()
        if self.acknowledges and draft.value != self.late:
            self._resolve(draft, future)
        else:
            self.open_futures.append((draft, future))
        return future

    def _resolve(self, draft: Draft, future: Future[Receipt]) -> None:
        self.values.append(draft.value)
        future.set_result(Receipt(0, len(self.values) - 1, 1_000))

    def acknowledge(self) -> None:
        """Acknowledge all that is open, and from now on everything at once."""
        self.acknowledges = True
        while self.open_futures:
            self._resolve(*self.open_futures.pop(0))

    def rest(self, *, idle: bool) -> None:
        pass

    def judge(self, recorded: Sequence[tuple[Receipt, Sending]]) -> Sequence[Verdict]:
        if not self.judges:
            raise LogUnavailable("no index")
        return [
            Verdict(0, one.offset, one.recorded_at, None, None, None, None, "accepted", "ok") for one, _ in recorded
        ]

    def close(self) -> None:
        self.closed.set()


def waiting_in(path: Path) -> list[bytes]:
    outbox = Outbox(path, "log")
    found = [fact.value for fact in outbox.waiting(10_000)]
    outbox.close()
    return found
