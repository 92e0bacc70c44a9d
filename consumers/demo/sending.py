"""Sends the lines of the script one after another: names filled in, times mapped onto the run, each with its answer."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from typing import Any, NamedTuple

from consumers.demo.clock import OPENING, DayClock
from consumers.demo.script import SCENES, Scene, Step
from ledger.actions import action_digest
from ledger.events import REQUESTS
from ledger.json_text import read_json, write_json
from ledger.publisher import Publisher
from ledger.sending import Answer, request_id
from ledger.times import parse_instant
from ledger.verdict import Verdict


class Cue(NamedTuple):
    """One line of a scene, and the time of the day at which it is sent."""

    day_time: datetime
    scene: Scene
    step: Step
    line: Mapping[str, Any]


class Sent(NamedTuple):
    """What became of a cue. ``answer`` is null where it was not sent, because it rests on a verdict that never came."""

    cue: Cue
    answer: Answer | None

    @property
    def surprise(self) -> str | None:
        """What is wrong where the ledger did not say what the script promises."""
        code = "not sent" if self.answer is None else self.answer.code
        if code == self.cue.step.expect:
            return None
        return f"{self.cue.scene.subject}: {self.cue.step.told!r} promises {self.cue.step.expect}, and was {code}."


def cues() -> list[Cue]:
    """All lines of all scenes, in the order of the day; those of one scene keep the order of their file."""
    found = []
    for scene in SCENES:
        day_time = OPENING
        for step, text in zip(scene.steps, scene.lines(), strict=True):
            line = read_json(text.encode())
            day_time = parse_instant(line["time"]) if "time" in line else day_time
            found.append(Cue(day_time, scene, step, line))
    return sorted(found, key=lambda cue: cue.day_time)


def _asks(line: Mapping[str, Any]) -> bool:
    return line.get("type") in REQUESTS or "fence" in line.get("data", {})


class Sender:
    """Sends cues under work item names of this run: the file's name and a suffix."""

    def __init__(self, publisher: Publisher, suffix: str) -> None:
        self._publisher = publisher
        self._suffix = suffix
        self._lines: dict[tuple[str, str], tuple[Mapping[str, Any], Answer | None]] = {}

    def subject(self, scene: Scene) -> str:
        return f"{scene.subject}-{self._suffix}"

    def send(self, cue: Cue, clock: DayClock | None) -> Sent:
        """Send a line and wait for its answer; ``clock`` is null before the day began."""
        try:
            line = self._filled_in(cue)
        except LookupError:
            return self._noted(cue, None)
        if clock is not None:
            line = clock.on_the_run(line)
        return self._noted(cue, self._publisher.publish(write_json(line)))

    def _noted(self, cue: Cue, answer: Answer | None) -> Sent:
        self._lines[cue.scene.file, cue.line.get("id", "")] = (cue.line, answer)
        return Sent(cue, answer)

    def _filled_in(self, cue: Cue) -> dict[str, Any]:
        """The line with this run's names. A request gets an id of its own; the same fact said again keeps its id."""
        line = dict(cue.line) | {"subject": self.subject(cue.scene)}
        if _asks(line):
            line["id"] = request_id(line["id"])
        if "data" in line:
            line["data"] = {name: self._resolved(cue.scene, value) for name, value in line["data"].items()}
        return line

    def _resolved(self, scene: Scene, value: Any) -> Any:
        """What ``$LINE.MEMBER`` stands for. Raises ``LookupError`` where the ledger never said it."""
        if not isinstance(value, str) or not value.startswith("$"):
            return value
        name, _, member = value[1:].partition(".")
        line, answer = self._lines[scene.file, name]
        if member == "action_digest":
            return action_digest(line["data"]["pending_action"])
        found = getattr(answer, member) if isinstance(answer, Verdict) else None
        if found is None:
            raise LookupError(value)
        return found
