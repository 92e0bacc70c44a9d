"""The streams that are open: how many there are, whose, and that all of them end when the server does.

A stream has its place before its first question is asked, and keeps it until its answer has ended, however that ends:
so no number of streams that are opened at once goes over the limit.
"""

from __future__ import annotations

from collections import Counter

from consumers.api.problems import Problem


class Live:
    """Counts streams, and stops them. ``stop`` may be called from a signal handler; all else from the event loop."""

    def __init__(self, most: int) -> None:
        self._most = most
        self._of: Counter[str] = Counter()
        self.is_stopped = False

    @property
    def count(self) -> int:
        """How many streams are open."""
        return self._of.total()

    def stop(self) -> None:
        """End all streams: each looks at ``is_stopped`` after its nap."""
        self.is_stopped = True

    def take(self, who: str, *, share: float) -> Place:
        """A place for a stream of somebody, who may have this share of all, one at least.

        Raises a ``Problem`` where there are as many as may be, or the server ends.
        """
        if self.is_stopped:
            raise Problem("shutting-down", "The server is shutting down.")
        if self.count >= self._most:
            raise Problem("too-many-streams", f"{self._most} streams are open, and no more may be.")
        own = max(1, int(self._most * share))
        if self._of[who] >= own:
            raise Problem("too-many-streams", f"{own} streams of this credential are open, and no more may be.")
        self._of[who] += 1
        return Place(self._of, who)


class Place:
    """A stream's place, until it is left; to leave it twice does no harm."""

    def __init__(self, taken: Counter[str], who: str) -> None:
        self._taken = taken
        self._who: str | None = who

    def leave(self) -> None:
        if self._who is not None:
            self._taken[self._who] -= 1
            if not self._taken[self._who]:
                del self._taken[self._who]
            self._who = None
