"""``pauseledger demo``: a day of pauses through the real publisher onto a real log, replayed, judged again at 12:00.

Nothing is staged: verdicts and decisions are what the ledger says. Where they are not what the script promises, the
demo says so and its exit code is 1; so it is also a check of a ledger's set-up, on a broker too.
"""

from __future__ import annotations

import secrets
import time
from collections.abc import Callable, Iterable
from datetime import datetime
from typing import Any, NamedTuple

from rich.console import Console

from consumers.cli.options import print_json
from consumers.demo import printing
from consumers.demo.clock import EVENING, NOON, OPENING, DayClock
from consumers.demo.replay import Finding, find
from consumers.demo.script import SCENES
from consumers.demo.sending import Cue, Sender, Sent, cues
from consumers.publishing import IndexCourt
from consumers.settings import Settings
from ledger.errors import LogUnavailable
from ledger.publisher import Publisher
from ledger.times import format_instant, from_milliseconds
from ledger.verdict import Verdict

_ANSWER_SECONDS = 15.0
_AFTER_NOON_SECONDS = 0.01

Heard = Callable[[Sent, DayClock | None], None]
"""Called with each line as it is answered; the clock is null before the day began."""


class Day(NamedTuple):
    """A day that is over: what was sent, and the instants of the log that were 12:00 and the evening."""

    clock: DayClock
    subjects: tuple[str, ...]
    sent: list[Sent]
    noon: datetime
    evening: datetime


def run_demo(settings: Settings, console: Console, as_json: bool = False, *, seconds_per_hour: float = 1.0) -> int:
    """Play the day on a ledger, and show what the ledger says of it; the exit code, 0 where it kept every promise.

    With ``as_json`` stdout carries one JSON object, and nothing is told. Raises what makes the ledger unusable.
    """
    settings.open(create=True).close()  # a publisher would wait for a broker that is away; here nobody wants to
    show = printing.Show(console, quiet=as_json)
    show.opening(settings.log_url)
    day = play(settings, show.step, seconds_per_hour)
    findings = replay(settings, day)
    surprises = [one.surprise for one in day.sent if one.surprise is not None]
    surprises += [text for finding in findings for text in finding.surprises]
    if as_json:
        print_json(as_content(day, findings, surprises))
    show.findings(findings, day.clock)
    show.closing(findings, surprises, _options(settings))
    return 1 if surprises else 0


def _options(settings: Settings) -> str:
    """The options by which other commands find this ledger."""
    usual = Settings.read(settings.log_url).index_url == settings.index_url
    return f"--log {settings.log_url}" + ("" if usual else f" --index {settings.index_url}")


def play(settings: Settings, heard: Heard, seconds_per_hour: float) -> Day:
    """Send the whole day; what was answered is heard at once."""

    def open_court() -> IndexCourt:
        ledger = settings.open()
        return IndexCourt(ledger.log, ledger.indexer)

    with Publisher(open_court, deadline_seconds=_ANSWER_SECONDS) as publisher:
        sender = Sender(publisher, secrets.token_hex(3))
        script = cues()
        sent: list[Sent] = []

        def send(chosen: Iterable[Cue], clock: DayClock | None) -> None:
            for cue in chosen:
                if clock is not None:
                    clock.wait_until(cue.day_time)
                sent.append(sender.send(cue, clock))
                heard(sent[-1], clock)

        send((cue for cue in script if cue.day_time == OPENING), None)
        clock = DayClock(_latest(sent), seconds_per_hour)
        send((cue for cue in script if OPENING < cue.day_time <= NOON), clock)
        clock.wait_until(NOON)
        noon = max(clock.instant(NOON), _latest(sent))  # a slow machine may have been late with the morning
        time.sleep(_AFTER_NOON_SECONDS)
        send((cue for cue in script if cue.day_time > NOON), clock)
        clock.wait_until(EVENING)
        evening = max(clock.instant(EVENING), _latest(sent))
    return Day(clock, tuple(sender.subject(scene) for scene in SCENES), sent, noon, evening)


def _latest(sent: Iterable[Sent]) -> datetime:
    """The log's time of what it recorded last."""
    times = [one.answer.recorded_at for one in sent if isinstance(one.answer, Verdict)]
    if not times:
        raise LogUnavailable("The log answered nothing in time.", "Look at it with: pauseledger doctor.")
    return from_milliseconds(max(times))


def replay(settings: Settings, day: Day) -> list[Finding]:
    """What the ledger says of each work item, from an index that is opened anew."""
    ledger = settings.open()
    try:
        pairs = zip(SCENES, day.subjects, strict=True)
        return [find(ledger, scene, subject, day.noon, day.evening) for scene, subject in pairs]
    finally:
        ledger.close()


def as_content(day: Day, findings: list[Finding], surprises: list[str]) -> dict[str, Any]:
    """The demo's JSON object: what was sent and found, and what was promised otherwise."""
    return {
        "work_items": [
            {"subject": one.subject, "scene": one.scene.file, "title": one.scene.title, "packet": one.evening.packet}
            for one in findings
        ],
        "verdicts": [
            {"scene": one.cue.scene.file, "expect": one.cue.step.expect}
            | ({"verdict": None, "code": None} if one.answer is None else one.answer.as_dict())
            for one in day.sent
        ],
        "decisions": [one.evening.decision for one in findings],
        "at_noon": [one.noon.decision for one in findings],
        "noon": format_instant(day.noon),
        "evening": format_instant(day.evening),
        "surprises": surprises,
    }
