"""A runtime's program: a process that does, command by command, what a real deployment of it would.

Every command builds the runtime anew from what lies in the scene's folder, as a process that was just started does.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any, Protocol

from tests.contract.runtimes.scene import Approval, Scene


class Program(Protocol):
    """What each runtime's module gives to :func:`serve`. What is returned is JSON, for messages only."""

    def start(self, scene: Scene) -> Any:
        """Run until the agent is paused before its effect: a refund of ``AMOUNT`` on the work item ``SUBJECT``.

        Wired, the pause is on the ledger before this returns, owned by ``OWNER``, with ``requires_review``,
        ``fresh_for`` of the scene and ``side_effect`` ``not_happened``.
        """
        ...

    def resume(self, scene: Scene, approval: Approval) -> Any:
        """A person has answered: hand it to the runtime, and let it run to its end.

        Wired, it goes through the gate; where that stays shut the program ends as its adapter's users are told to, and
        returns ``{"shut": branch}``.
        """
        ...

    def recover(self, scene: Scene) -> Any:
        """The process died in the middle of ``resume``: what an operator, or the runtime itself, does then.

        Wired, the same with the ledger in it; never an observation: that is for whoever has looked.
        """
        ...


def serve(program: Program) -> None:
    """Do the commands that come on stdin, a line of JSON each, and answer on stdout."""
    for line in sys.stdin:
        asked = json.loads(line)
        scene = Scene(Path(asked["folder"]), **asked["scene"])
        match asked["command"]:
            case "start":
                told = program.start(scene)
            case "recover":
                told = program.recover(scene)
            case _:
                told = program.resume(scene, Approval(**asked["approval"]))
        print(json.dumps({"told": told}), flush=True)
