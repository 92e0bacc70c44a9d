"""No runtime at all: a program that keeps its pending action in a file, as many home-made agents do."""

from __future__ import annotations

import json
from typing import Any

from ledger.runtimes.gate import Who
from ledger.runtimes.pauses import Paused
from ledger.runtimes.shut import Shut
from tests.contract.runtimes.program import serve
from tests.contract.runtimes.scene import AMOUNT, SUBJECT, Approval, Scene


class Plain:
    """The agent: pauses before a refund, and goes on when it is told to."""

    def start(self, scene: Scene) -> Any:
        action = scene.action()
        (scene.folder / "state.json").write_text(json.dumps(action))
        if scene.wired:
            with scene.gate() as gate:
                gate.pause(
                    self._paused(action),
                    **scene.terms,
                )
        return None

    def resume(self, scene: Scene, approval: Approval) -> Any:
        action = json.loads((scene.folder / "state.json").read_text())
        amount = AMOUNT if approval.amount is None else approval.amount
        if not scene.wired:
            return scene.effect(amount) if approval.outcome != "reject" else None
        paused, who = self._paused(action), Who(approval.actor)
        with scene.gate() as gate:
            try:
                edited = scene.action(amount) if approval.outcome == "edit" else None
                paused = gate.review(paused, approval.outcome, edited=edited, who=who)
                if approval.outcome == "reject":
                    return None
                with gate.guard(gate.request_resume(paused, who=who)) as permit:
                    return scene.effect(amount, permit)
            except Shut as shut:
                return {"shut": shut.branch}

    def recover(self, scene: Scene) -> Any:
        return self.resume(scene, Approval())

    def _paused(self, action: dict[str, Any]) -> Paused:
        return Paused.of(runtime="plain", subject=SUBJECT, execution="run-1", interrupt="refund", action=action)


if __name__ == "__main__":
    serve(Plain())
