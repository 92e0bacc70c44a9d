"""The eight scenes that every runtime must play, wired and not wired: what is done, in which order.

A play gives what a stranger could count afterwards: how often the money was refunded, and what the ledger says.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

from consumers.gates import open_gate
from ledger.errors import NotFound
from ledger.runtimes.gate import Gate, Who
from ledger.runtimes.pauses import Paused
from tests.contract.runtimes.scene import AMOUNT, OWNER, SUBJECT, effects
from tests.contract.runtimes.worker import Worker

APPROVE = {"outcome": "approve"}
STALE_AFTER = 1.5
"""Seconds for which the plan is fresh where the approval comes too late."""


class Play(NamedTuple):
    """One scene being played by one runtime, wired or not."""

    workers: tuple[Worker, Worker]
    folder: Path
    wired: bool
    extra: dict[str, Any]

    def do(self, command: str, approval: dict[str, Any] | None = None, **scene: Any) -> Any:
        return self.workers[0].do(command, self.folder, approval=approval, **self.told(scene))

    def told(self, scene: dict[str, Any]) -> dict[str, Any]:
        return {"wired": self.wired, "extra": self.extra, **scene}


class Scene(NamedTuple):
    """A scene: its words in the table, how it is played, and which effects are right, wired."""

    title: str
    play: Callable[[Play], None]
    right: list[int]
    decision: tuple[str, ...]
    """The decisions, or outcomes of a closed pause, one of which the ledger must give at the end."""


def _approve(play: Play) -> None:
    play.do("start")
    play.do("resume", APPROVE)


def _reject(play: Play) -> None:
    play.do("start")
    play.do("resume", {"outcome": "reject"})


def _edit(play: Play) -> None:
    play.do("start")
    play.do("resume", {"outcome": "edit", "amount": 5})


def _too_late(play: Play) -> None:
    play.do("start", fresh_seconds=STALE_AFTER)
    time.sleep(STALE_AFTER + 0.1)  # the time itself is the scene
    play.do("resume", APPROVE)


def _wrong_owner(play: Play) -> None:
    play.do("start")
    play.do("resume", {"outcome": "approve", "actor": "user:mallory"})


def _two_at_once(play: Play) -> None:
    play.do("start")
    for number, worker in enumerate(play.workers):
        told = play.told({"barrier": f"at-the-gate-{number}"})
        worker.begin("resume", play.folder, approval=APPROVE, **told)
    for worker in play.workers:
        worker.told()


def _killed(moment: str) -> Callable[[Play], None]:
    def play_it(play: Play) -> None:
        play.do("start")
        assert play.do("resume", APPROVE, crash=moment) == "killed"
        play.do("recover")
        if play.wired:
            landed = effects(play.folder)
            assert landed == ([AMOUNT] if moment == "effect" else []), "acted while nobody knew"
            with ledger_of(play.folder) as gate:
                paused = the_pause(gate)
                assert gate.decision(paused)["decision"] == "reconcile"
                gate.reconcile(paused, lambda _: "happened" if landed else "not_happened", who=Who(OWNER))
            play.do("resume", APPROVE)

    return play_it


def _takeover(play: Play) -> None:
    play.do("start")
    if play.wired:
        with ledger_of(play.folder) as gate:
            old = the_pause(gate)
            by_hand = Paused(SUBJECT, "by-hand", "")
            claim = {"owner": "user:bob", "manual": True, "replaces": old.execution}
            gate.ask("execution.claimed", by_hand, claim, who=Who("user:bob"))
    play.do("resume", APPROVE)
    if play.wired:
        with ledger_of(play.folder) as gate:
            item = gate.work_item(SUBJECT)
            assert (item["canonical"], item["owner"]) == ("by-hand", "user:bob")


SCENES = {
    "approve": Scene("approved in time", _approve, [AMOUNT], ("executed",)),
    "reject": Scene("rejected", _reject, [], ("rejected",)),
    "edit": Scene("approved with another amount", _edit, [5], ("executed",)),
    "too-late": Scene("approved after its deadline", _too_late, [], ("review",)),
    "wrong-owner": Scene("approved by somebody else", _wrong_owner, [], ("review",)),
    "two-at-once": Scene("two approvals at once", _two_at_once, [AMOUNT], ("executed",)),
    "killed-after-grant": Scene("killed after the approval, before acting", _killed("grant"), [AMOUNT], ("executed",)),
    "killed-after-attempt": Scene("killed just before the effect", _killed("attempt"), [AMOUNT], ("executed",)),
    "killed-after-effect": Scene(
        "killed just after the effect", _killed("effect"), [AMOUNT], ("executed", "settled", "settle")
    ),
    "takeover": Scene("taken over by a person while paused", _takeover, [], ("terminated",)),
}


def ledger_of(folder: Path) -> Any:
    """A gate on a scene's ledger, for whoever stands beside the runtime."""
    return open_gate(
        f"sqlite:///{folder}/ledger.db", outbox=folder / "people.db", source="urn:people", actor="service:scenes"
    )


def the_pause(gate: Gate) -> Paused:
    """The pause that a scene's runtime has opened: there must be one."""
    item = gate.work_item(SUBJECT)
    assert len(item["pauses"]) == 1, item["pauses"]
    (one,) = item["pauses"]
    return Paused(SUBJECT, one["execution"], one["pause"])


def ending(folder: Path) -> str:
    """What the ledger says of the pause at the end: its decision, or how it was closed."""
    with ledger_of(folder) as gate:
        try:
            decision = gate.decision(the_pause(gate))
        except NotFound:
            return "nothing"
        return (
            str(decision["decision"])
            if decision["decision"] != "closed"
            else str(gate.packet(the_pause(gate))["outcome"])
        )
