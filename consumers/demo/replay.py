"""What the ledger says of a day that is over: replayed from the index, as it is and as it was at 12:00."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from typing import Any, NamedTuple

from consumers.demo.script import Promise, Scene
from consumers.settings import Ledger
from ledger.checks import stop_signals
from ledger.packet import WorkItem, packet_of
from ledger.partitions import partition_of
from projections.decisions import decisions
from projections.trail import trail

Decided = Mapping[str, Any]


class View(NamedTuple):
    """A work item's pause at an instant: null where it had none. ``entries`` counts what was folded for it."""

    as_of: datetime
    entries: int
    packet: Mapping[str, Any] | None
    decision: Decided | None


class Finding(NamedTuple):
    """All that the ledger holds of a scene's work item."""

    scene: Scene
    subject: str
    trail: list[dict[str, Any]]
    noon: View
    evening: View

    @property
    def surprises(self) -> list[str]:
        """What differs from what the scene promises."""
        views = (("12:00", self.noon, self.scene.at_noon), ("the evening", self.evening, self.scene.at_evening))
        return [
            f"{self.subject}: the decision at {when} is promised to be {wanted}, and was {_seen(view.decision)}."
            for when, view, wanted in views
            if _seen(view.decision) != wanted
        ]


def _seen(decision: Decided | None) -> Promise | None:
    if decision is None:
        return None
    checks = decision["checks"]
    results = tuple(checks[name]["result"] for name in ("freshness", "ownership", "side_effect"))
    return Promise(
        decision["decision"],
        decision["rule"],
        results,
        decision["debt"] is not None,
        tuple(decision["obligations"]),
    )


def _view(item: WorkItem | None, as_of: datetime) -> View:
    found = [] if item is None else decisions(item, as_of)
    if item is None or not found:
        return View(as_of, 0 if item is None else item.version, None, None)
    pause = found[0].pause
    return View(as_of, item.version, packet_of(item, pause, stop_signals(item, pause)), found[0].as_dict())


def find(ledger: Ledger, scene: Scene, subject: str, noon: datetime, evening: datetime) -> Finding:
    """Replay a work item twice: all of its entries, and those up to noon."""
    partitions = ledger.indexer.identity.partitions
    ledger.indexer.catch_up_partition(partition_of(subject, partitions))
    return Finding(
        scene,
        subject,
        [line.as_dict() for line in trail(ledger.index, partitions, subject)],
        _view(ledger.index.work_item(subject, at=noon), noon),
        _view(ledger.index.work_item(subject, at=evening), evening),
    )
