"""What a job of the fleet is. ``pauseledger run JOB…`` runs them; each is in a file of its own.

A job keeps nothing that counts in its own memory: what it knows comes from the log and the index, and what it did is
there to be found by whoever does it next. So any process may be killed at any moment, and several may do the same.
"""

from __future__ import annotations

from collections.abc import Callable, Set
from typing import Protocol

from consumers.settings import Settings


class Job(Protocol):
    """A job that has opened what it needs. All methods are called on one thread."""

    def take(self, partitions: Set[int]) -> None:
        """Work on these partitions from now on, each from the job's own position; the others are another's."""
        ...

    def step(self) -> int:
        """Do some of what there is to do, for seconds at most; how much that was, zero where there was nothing.

        May wait a part of a second for something to do. Raises ``LogUnavailable``, ``DiskFailed`` or ``Fenced`` for
        what may pass by itself: nothing is lost, and the next step goes on. Any other ``LedgerError`` halts the job.
        """
        ...

    def close(self) -> None:
        """Finish what was begun, and close what was opened."""
        ...


OpenJob = Callable[[Settings], Job]
