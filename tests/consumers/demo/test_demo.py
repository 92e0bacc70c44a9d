"""The demo on real logs: what it shows is what the ledger says, and it says so where a promise is not kept."""

from __future__ import annotations

import io
import json
import re
from collections.abc import Iterator
from contextlib import redirect_stdout
from pathlib import Path
from typing import Any, NamedTuple, cast

import pytest
from rich.console import Console

from consumers.demo import sending
from consumers.demo.run import run_demo
from consumers.demo.script import CLEAR, NOISE, SCENES, STALE, TAKEOVER, UNKNOWN, Scene
from consumers.demo.sending import Sender, cues
from consumers.settings import Settings
from ledger.errors import UnusableLog
from ledger.events import EVENTS
from ledger.publisher import Publisher
from ledger.sending import Unknown

SECONDS_PER_HOUR = 0.5
"""The nearest that two things may not change places lie half an hour apart on the day: 250 ms."""

REFERENCE = re.compile(r'"\$([a-z]+)\.(fence|entry|action_digest)"')


class Run(NamedTuple):
    """One run of the demo: its exit code, what it told people, and its JSON (null without ``as_json``)."""

    code: int
    told: str
    content: dict[str, Any]

    def codes(self, scene: Scene) -> list[str]:
        return [one["code"] for one in self.content["verdicts"] if one["scene"] == scene.file]

    def verdicts(self, scene: Scene, kind: str) -> list[dict[str, Any]]:
        found = [one for one in self.content["verdicts"] if one["scene"] == scene.file]
        return [one for one in found if one["type"] == f"pauseledger.{kind}"]

    def of(self, scene: Scene, when: str) -> dict[str, Any]:
        """The decision of a scene's pause, by ``decisions`` or ``at_noon``."""
        return cast(dict[str, Any], self.content[when][SCENES.index(scene)])


def run(settings: Settings, *, as_json: bool, width: int = 80, seconds_per_hour: float = SECONDS_PER_HOUR) -> Run:
    told, stdout = io.StringIO(), io.StringIO()
    console = Console(file=told, width=width, highlight=False)
    with redirect_stdout(stdout):
        code = run_demo(settings, console, as_json=as_json, seconds_per_hour=seconds_per_hour)
    return Run(code, told.getvalue(), json.loads(stdout.getvalue()) if as_json else {})


@pytest.fixture(scope="module")
def settings(tmp_path_factory: pytest.TempPathFactory) -> Settings:
    """One embedded ledger, on which the demo runs again and again."""
    return Settings.read(f"sqlite:///{tmp_path_factory.mktemp('demo')}/demo.db")


@pytest.fixture(scope="module")
def played(settings: Settings) -> Run:
    """The demo, told to a script."""
    return run(settings, as_json=True)


def branches(found: Run, when: str) -> list[str]:
    return [one["decision"] for one in found.content[when]]


def test_every_promise_is_kept(played: Run) -> None:
    """Every verdict has the code that the script promises, and so the exit code is 0."""
    assert [(one["expect"], one["code"]) for one in played.content["verdicts"] if one["expect"] != one["code"]] == []
    assert (played.content["surprises"], played.code) == ([], 0)
    assert len(played.content["verdicts"]) == sum(len(scene.steps) for scene in SCENES)


def test_json_is_all_there_is_on_stdout(played: Run) -> None:
    """For a script nothing is told but the JSON object."""
    assert played.told == ""
    assert {"work_items", "verdicts", "decisions", "at_noon"} <= played.content.keys()


def test_the_evening_differs_from_noon(played: Run) -> None:
    """What the ledger would have said at 12:00 is not what it says at the end."""
    assert branches(played, "at_noon") == ["resume", "resume", "reconcile", "terminate", "resume"]
    assert branches(played, "decisions") == ["review", "closed", "reconcile", "closed", "review"]
    assert {one["as_of"] for one in played.content["at_noon"]} == {played.content["noon"]}


def test_a_plan_that_has_gone_stale(played: Run) -> None:
    """A resume at 16:00 of a plan that was fresh until 15:00 is refused, and goes to review."""
    assert played.codes(STALE) == ["ok", "ok", "decision-review"]
    assert played.of(STALE, "at_noon")["checks"]["freshness"]["result"] == "fresh"
    assert played.of(STALE, "decisions")["checks"]["freshness"]["result"] == "expired"


def test_one_grant_and_one_attempt(played: Run) -> None:
    """The second request and the replayed fence are refused, and the grant's fence is its offset."""
    granted, second = played.verdicts(CLEAR, "resume.requested")
    attempted, replayed = played.verdicts(CLEAR, "side_effect.attempted")
    assert granted["fence"] == granted["offset"] == attempted["fence"]
    assert (second["code"], replayed["code"]) == ("decision-reconcile", "stale-fence")
    assert attempted["valid_until"] > attempted["recorded_at"]
    packet = played.content["work_items"][SCENES.index(CLEAR)]["packet"]
    assert (packet["state"], packet["outcome"], packet["side_effect"]) == ("closed", "executed", "happened")


def test_an_unknown_outcome_is_owed(played: Run) -> None:
    """A crash after the attempt leaves a debt with an owner and a due time, at 12:00 and at the end alike."""
    granted = played.verdicts(UNKNOWN, "resume.requested")[0]
    for when in ("at_noon", "decisions"):
        debt = played.of(UNKNOWN, when)["debt"]
        assert debt["owner"] == "role:payout-operations"
        assert debt["since"] == granted["recorded_at"]
        assert debt["since"] < debt["due"] < played.content["evening"]


def test_a_takeover_ends_the_old_branch(played: Run) -> None:
    """While contested the paused branch is to be terminated with its obligation, and the claim closes it."""
    assert played.of(TAKEOVER, "at_noon")["obligations"] == ["reconcile-old-branch"]
    assert played.codes(TAKEOVER)[-3:] == ["no-longer-clear", "ok", "ok"]
    packet = played.content["work_items"][SCENES.index(TAKEOVER)]["packet"]
    assert (packet["outcome"], packet["side_effect"]) == ("terminated", "not_happened")
    assert played.of(TAKEOVER, "decisions")["debt"] is None


def test_noise_changes_nothing(played: Run) -> None:
    """A resent line, a stranger and a logger's line get their verdicts, and the owner lapses all the same."""
    assert played.codes(NOISE) == ["ok", "ok", "ok", "duplicate", "not-owner", "not-cloudevent", "lapsed"]
    assert played.of(NOISE, "decisions")["checks"]["ownership"]["result"] == "lapsed"
    assert played.of(NOISE, "decisions")["checks"]["ownership"]["entries"][-1].endswith(
        f":{played.verdicts(NOISE, 'heartbeat.recorded')[0]['offset']}"
    )


def test_people_can_read_it_again_on_the_same_ledger(settings: Settings, played: Run) -> None:
    """A second run has work items of its own, and tells all five stories in 80 plain columns."""
    again = run(settings, as_json=False)
    assert again.code == 0, again.told
    lines = again.told.splitlines()
    assert [line for line in lines if len(line.rstrip()) > 80 and not line.startswith("  pauseledger ")] == []
    assert "\x1b" not in again.told
    for scene in SCENES:
        assert scene.title in again.told
    first = {one["subject"] for one in played.content["work_items"]}
    assert [subject for subject in first if subject in again.told] == []
    table = again.told[again.told.index("-- The day in one table") :]
    assert all(word in table for word in ("review", "reconcile", "closed: executed", "closed: terminated"))


def test_a_broken_promise_is_said_and_ends_in_1(settings: Settings, monkeypatch: pytest.MonkeyPatch) -> None:
    """Where the ledger says something else than the script promises, the demo says so, to scripts and to people."""
    wrong = STALE._replace(steps=(*STALE.steps[:-1], STALE.steps[-1]._replace(expect="ok")))
    monkeypatch.setattr(sending, "SCENES", (wrong, *SCENES[1:]))
    found = run(settings, as_json=True)
    assert found.code == 1
    (surprise,) = found.content["surprises"]
    assert "PO-48120" in surprise
    assert "decision-review" in surprise
    assert "Not as promised" in found.told


def test_a_ledger_that_cannot_be_had_is_said_at_once(tmp_path: Path) -> None:
    """A log that is no ledger is an error before anything is told."""
    (tmp_path / "notes.db").write_text("these are my notes, not a ledger\n" * 50)
    with pytest.raises(UnusableLog):
        run(Settings.read(f"sqlite:///{tmp_path}/notes.db"), as_json=False)


class Silent:
    """A publisher whose log never answers."""

    def publish(self, line: bytes) -> Unknown:
        content = json.loads(line)
        return Unknown(content["subject"], content.get("id"), content.get("source"), content.get("type"))


def test_nothing_is_sent_that_rests_on_no_answer() -> None:
    """An attempt is not sent without the fence that it needs: without one it would say that somebody acted."""
    sender = Sender(cast(Publisher, Silent()), "x")
    sent = [sender.send(cue, None) for cue in cues() if cue.scene is CLEAR]
    unsent = [one.cue.line["id"] for one in sent if one.answer is None]
    assert unsent == ["attempted", "replayed"]
    assert all(one.surprise for one in sent)


def scene_lines() -> Iterator[tuple[Scene, list[dict[str, Any]]]]:
    for scene in SCENES:
        yield scene, [json.loads(line) for line in scene.lines()]


def test_the_files_hold_events() -> None:
    """Every line but the logger's is an event of the protocol, as soon as its references are filled in."""
    bad = []
    for scene, lines in scene_lines():
        assert len(lines) == len(scene.steps)
        for step, line in zip(scene.steps, lines, strict=True):
            if "fence" in line.get("data", {}):
                line["data"]["fence"] = 7
            if "settles" in line.get("data", {}):
                line["data"]["settles"] = "0:7"
            if "specversion" in line:
                EVENTS.validate_python(line)
            else:
                bad.append(step.expect)
    assert bad == ["not-cloudevent"]


def test_references_name_earlier_lines() -> None:
    """What is filled in at run time is named by a line of the same file, further up; no result stands in a file."""
    for scene in SCENES:
        known: set[str] = set()
        for text in scene.lines():
            assert {name for name, _ in REFERENCE.findall(text)} <= known
            assert "sha256:" not in text
            assert not re.search(r'"fence": *\d', text)
            known.add(json.loads(text).get("id", ""))


def test_the_script_covers_what_it_promises() -> None:
    """Among the promises is every branch of the article's table, and each way of not being accepted."""
    expected = {step.expect for scene in SCENES for step in scene.steps}
    assert {
        "ok",
        "decision-review",
        "decision-reconcile",
        "stale-fence",
        "no-longer-clear",
        "duplicate",
        "not-owner",
        "not-cloudevent",
        "lapsed",
    } == expected
    decided = {promise.decision for scene in SCENES for promise in (scene.at_noon, scene.at_evening)}
    assert decided == {"resume", "review", "reconcile", "terminate", "closed"}


def test_one_line_is_sent_twice() -> None:
    """The duplicate is the same line, byte for byte."""
    lines = NOISE.lines()
    assert [one for one in lines if lines.count(one) > 1] == [lines[2], lines[3]]


@pytest.mark.kafka
def test_a_real_broker_keeps_the_promises_too(broker: Any, topic: str, tmp_path: Path) -> None:
    """On a Kafka topic with three partitions every verdict and every decision is the same."""
    settings = Settings.read(f"kafka://{broker.address}/{topic}", f"sqlite:///{tmp_path}/index.db")
    found = run(settings, as_json=True)
    assert found.content["surprises"] == []
    assert found.code == 0
    assert branches(found, "at_noon") == ["resume", "resume", "reconcile", "terminate", "resume"]
    assert branches(found, "decisions") == ["review", "closed", "reconcile", "closed", "review"]
