"""Delivering alerts: each to every target, at least once, by threads that a slow target can't take from the others.

The threads only send. What becomes of a try is written on the thread of the job, by the process whose claim it was.
"""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Collection, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from typing import NamedTuple, Protocol

from consumers.alerts.store import AlertStore, Due
from consumers.alerts.sweep import Clock, our_clock
from ledger.times import to_milliseconds

WORKERS = 4
"""Tries under way at once, for each target."""
CLAIM_SECONDS = 60.0
"""After this a try that nobody has told the end of is made again: longer than any try takes."""


class Outcome(NamedTuple):
    """What became of a try. ``said`` is for people, and holds no address and no secret.

    ``wait_seconds`` is what the target asked for; ``resting``: of all that is for it. ``hopeless``: no later try helps.
    """

    delivered: bool
    said: str
    wait_seconds: float = 0.0
    resting: bool = False
    hopeless: bool = False


class Target(Protocol):
    """Whom alerts are sent to."""

    name: str

    def send(self, due: Due) -> Outcome:
        """Try once, for at most some ten seconds. Called on several threads at once."""
        ...

    def wait_seconds(self, attempts: int) -> float | None:
        """How long to wait after so many tries failed; null where that was the last."""
        ...

    def close(self) -> None:
        """Close connections; nothing is being sent any more."""
        ...


class Couriers:
    """The threads, the claims and their ends. ``counts`` is by target and ``delivered``, ``failed`` or ``dead``."""

    def __init__(self, store: AlertStore, targets: Sequence[Target], clock: Clock = our_clock) -> None:
        self.counts: Counter[tuple[str, str]] = Counter()
        self._store = store
        self._clock = clock
        self._lanes = [_Lane(target) for target in targets]

    @property
    def names(self) -> list[str]:
        """The names of the targets."""
        return [lane.target.name for lane in self._lanes]

    def send(self, partitions: Collection[int]) -> int:
        """Write down what became of tries, and begin those that are due; how much that was."""
        return sum(self._collected(lane) + self._begun(lane, partitions) for lane in self._lanes)

    def wait(self, seconds: float) -> None:
        """Until a try has ended, or so long."""
        flying = [future for lane in self._lanes for future in lane.flying.values()]
        if flying:
            wait(flying, seconds, FIRST_COMPLETED)
        else:
            time.sleep(seconds)

    def close(self) -> None:
        """Let the tries under way end, write down what became of them, and close the targets."""
        for lane in self._lanes:
            lane.pool.shutdown(wait=True)
        try:
            for lane in self._lanes:
                self._collected(lane)
        finally:
            for lane in self._lanes:
                lane.target.close()

    def _now(self) -> int:
        return to_milliseconds(self._clock())

    def _begun(self, lane: _Lane, partitions: Collection[int]) -> int:
        room = WORKERS - len(lane.flying)
        now = self._now()
        if room <= 0 or not partitions or time.monotonic() < lane.rests_until:
            return 0
        begun = 0
        for due in self._store.due(lane.target.name, partitions, now, WORKERS + len(lane.flying)):
            if due.id in lane.flying or begun == room:
                continue
            if self._store.claim(due, now + int(CLAIM_SECONDS * 1000)):
                lane.flying[due.id] = lane.pool.submit(_tried, lane.target, due)
                begun += 1
        return begun

    def _collected(self, lane: _Lane) -> int:
        ended = [future for future in lane.flying.values() if future.done()]
        for future in ended:
            due, outcome = future.result()
            self._write(lane, due, outcome)
            del lane.flying[due.id]
        return len(ended)

    def _write(self, lane: _Lane, due: Due, outcome: Outcome) -> None:
        now, name = self._now(), lane.target.name
        if outcome.delivered:
            self._store.delivered(due, now, outcome.said)
            self.counts[name, "delivered"] += 1
            return
        if outcome.resting:
            lane.rests_until = time.monotonic() + outcome.wait_seconds
        wait_seconds = None if outcome.hopeless else lane.target.wait_seconds(due.attempts + 1)
        if wait_seconds is None:
            self._store.dead(due, outcome.said, now)
            self.counts[name, "dead"] += 1
        else:
            seconds = max(wait_seconds, outcome.wait_seconds)
            self._store.failed(due, outcome.said, now + int(seconds * 1000))
            self.counts[name, "failed"] += 1


class _Lane:
    """One target: its threads and what they do. ``flying`` is by the alert's id."""

    def __init__(self, target: Target) -> None:
        self.target = target
        self.pool = ThreadPoolExecutor(WORKERS, thread_name_prefix="pauseledger-alerts")
        self.flying: dict[str, Future[tuple[Due, Outcome]]] = {}
        self.rests_until = 0.0


def _tried(target: Target, due: Due) -> tuple[Due, Outcome]:
    try:
        return due, target.send(due)
    except Exception as error:  # a try that ends in a bug is a try that failed, and is tried again
        return due, Outcome(False, f"failed with {type(error).__name__}")
