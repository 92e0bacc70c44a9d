"""How often a credential may ask: a token bucket each, in this process's memory."""

from __future__ import annotations

import math
import time
from collections import OrderedDict
from collections.abc import Callable

from consumers.api.problems import Problem

_MOST_BUCKETS = 10_000


class Rates:
    """Buckets by the names of credentials. ``per_second`` 0 is no limit. Used by one thread.

    Each process counts for itself: of several servers each lets as much through.
    """

    def __init__(self, per_second: float, burst: int, clock: Callable[[], float] = time.monotonic) -> None:
        self._per_second = per_second
        self._burst = float(burst)
        self._clock = clock
        self._buckets: OrderedDict[str, tuple[float, float]] = OrderedDict()

    def take(self, name: str) -> None:
        """Count one request. Raises a ``Problem`` with the time to wait."""
        if not self._per_second:
            return
        now = self._clock()
        left, seen = self._buckets.pop(name, (self._burst, now))
        left = min(self._burst, left + (now - seen) * self._per_second)
        allowed = left >= 1.0
        self._buckets[name] = (left - 1.0 if allowed else left, now)
        if len(self._buckets) > _MOST_BUCKETS:  # who has not asked for longest has a full bucket by now, or nearly
            self._buckets.popitem(last=False)
        if not allowed:
            seconds = max(1, math.ceil((1.0 - left) / self._per_second))
            detail = f"This credential may ask {self._per_second:g} times a second, {self._burst:g} times at once."
            raise Problem("too-many-requests", detail, headers={"retry-after": str(seconds)})
