"""Waiting for conditions, never for time: each wait ends as soon as it may, and fails when it takes too long."""

from __future__ import annotations

import time
from collections.abc import Callable

LOOK_AGAIN_SECONDS = 0.02


def until(holds: Callable[[], object], *, seconds: float = 120.0, what: str = "the condition") -> None:
    """Return when ``holds`` does; fail after ``seconds``."""
    deadline = time.monotonic() + seconds
    while not holds():
        assert time.monotonic() < deadline, f"{what} did not come within {seconds:g} s"
        time.sleep(LOOK_AGAIN_SECONDS)
