"""Measuring two things against each other: in turns, so that a noisy machine is noisy for both."""

from __future__ import annotations

import statistics
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

GC_THRESHOLDS = (250_000, 20, 100)
"""Those of the command line (``consumers.cli.app``), for every process here and for both sides."""

Side = Callable[[], float]
"""Does the work once; what was measured of it. What it prepares and tidies up is left out."""


def say(text: str) -> None:
    """Progress, for whoever waits."""
    print(text, file=sys.stderr, flush=True)


@dataclass(frozen=True)
class Figure:
    """One measured ratio, its target, and the numbers that it is made of."""

    name: str
    title: str
    unit: str
    ours: str
    theirs: str
    target: float
    at_least: bool
    ours_each: Sequence[float] = ()
    theirs_each: Sequence[float] = ()
    skipped: str | None = None
    notes: dict[str, Any] = field(default_factory=dict)

    @property
    def ratio(self) -> float:
        """The ratio of the medians."""
        return statistics.median(self.ours_each) / statistics.median(self.theirs_each)

    @property
    def is_met(self) -> bool:
        return self.ratio >= self.target if self.at_least else self.ratio <= self.target

    def as_dict(self) -> dict[str, Any]:
        content: dict[str, Any] = {
            "name": self.name,
            "title": self.title,
            "unit": self.unit,
            "target": {"at_least" if self.at_least else "at_most": self.target},
            "ours": {"what": self.ours, **_summary(self.ours_each)},
            "theirs": {"what": self.theirs, **_summary(self.theirs_each)},
            "notes": self.notes,
        }
        if self.skipped is not None:
            return {**content, "skipped": self.skipped}
        pairs = [a / b for a, b in zip(self.ours_each, self.theirs_each, strict=True)]
        ratio = {"of_medians": self.ratio, "min": min(pairs), "max": max(pairs)}
        return {**content, "ratio": ratio, "met": self.is_met}


@dataclass(frozen=True)
class Reported:
    """What is measured and has no target: named values, or why there are none."""

    name: str
    title: str
    values: Sequence[tuple[str, float, str]]
    """What, how much, and its unit."""
    skipped: str | None = None
    notes: dict[str, Any] = field(default_factory=dict)

    def as_dict(self) -> dict[str, Any]:
        values = [{"what": what, "value": value, "unit": unit} for what, value, unit in self.values]
        content = {"name": self.name, "title": self.title, "reported": values, "notes": self.notes}
        return content if self.skipped is None else {**content, "skipped": self.skipped}


def _summary(each: Sequence[float]) -> dict[str, Any]:
    if not each:
        return {}
    return {"median": statistics.median(each), "min": min(each), "max": max(each), "each": list(each)}


def seconds(action: Callable[[], object]) -> float:
    """How long an action takes."""
    started = time.perf_counter()
    action()
    return time.perf_counter() - started


def in_turns(
    name: str, ours: Side, theirs: Side, rounds: int, *, warm_up: bool = True, unit: str = "s"
) -> tuple[list[float], list[float]]:
    """What each side measured, in turns A B A B …; with ``warm_up`` one turn goes before and is not counted."""
    ours_each: list[float] = []
    theirs_each: list[float] = []
    for turn in range(0 if warm_up else 1, rounds + 1):
        pair = ours(), theirs()
        say(
            f"  {name} {turn}/{rounds}: {pair[0]:.4f} {unit}, {pair[1]:.4f} {unit}" + ("" if turn else " (not counted)")
        )
        if turn:
            ours_each.append(pair[0])
            theirs_each.append(pair[1])
    return ours_each, theirs_each


def rates(each: Sequence[float], count: int) -> list[float]:
    """So many things in each of these seconds, as things a second."""
    return [count / one for one in each]
