"""Watchers that are killed at any moment, and two at once: every deadline reaches every target, under one id."""

from __future__ import annotations

import random
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from consumers.alerts.store import AlertStore
from consumers.settings import Settings
from tests.broker import Broker
from tests.consumers.alerts.receiver import SECRET, Receiver, receiving
from tests.faults.command import environment
from tests.faults.ledgers import put, url
from tests.faults.lines import line
from tests.faults.lines import opened as pause_data
from tests.faults.waiting import until

SEED = 20260328
COUNT = 120
ROUNDS = 6
ROOT = Path(__file__).parents[2]


@pytest.fixture
def receiver() -> Iterator[Receiver]:
    with receiving() as found:
        yield found


@contextmanager
def watching(settings: Mapping[str, str], log: Path, count: int = 1) -> Iterator[list[Any]]:
    """Watchers as processes, killed afterwards."""
    command = [sys.executable, "-m", "tests.faults.watching_process"]
    with log.open("ab") as output:
        started = [
            subprocess.Popen(command, cwd=ROOT, env=environment(**settings), stdout=output, stderr=output)
            for _ in range(count)
        ]
    try:
        yield started
    finally:
        for process in started:
            process.kill()
            process.wait()


def settings_of(log_url: str, folder: Path, receiver: Receiver) -> dict[str, str]:
    return {
        "PAUSELEDGER_LOG": log_url,
        "PAUSELEDGER_INDEX": url(folder / "index.db"),
        "PAUSELEDGER_WEBHOOKS": receiver.url,
        "PAUSELEDGER_WEBHOOK_SECRET": SECRET,
        "PAUSELEDGER_ALERT_GRACE_SECONDS": "0.2",
    }


def open_pauses(log_url: str) -> None:
    """So many pauses, whose freshness passes within the next seconds, and whose heartbeat is not due for hours."""
    log = Settings.read(log_url).open_log(create=True)
    try:
        lines = []
        for number in range(COUNT):
            subject = f"T-{number}"
            terms = pause_data(fresh_for=f"PT{0.1 + number * 8 / COUNT:.3f}S", heartbeat_timeout="PT2H")
            lines.append((subject, line("pause.opened", terms, id="o", subject=subject)))
        put(log, lines)
    finally:
        log.close()


def told(folder: Path) -> dict[str, tuple[str, set[str]]]:
    """By work item: the id of its alert, and the states of its deliveries."""
    index = Settings.read(url(folder / "index.db")).open_index()
    try:
        store = AlertStore(index)
        found = store.told()
        assert len({one.alert.subject for one in found}) == len(found), "two alerts for one deadline"
        return {one.alert.subject: (one.alert.id, {each.state for each in one.deliveries}) for one in found}
    finally:
        index.close()


def are_delivered(folder: Path) -> bool:
    return [one[1] for one in told(folder).values()] == [{"delivered"}] * COUNT


def test_watchers_that_are_killed_tell_every_deadline(tmp_path: Path, receiver: Receiver) -> None:
    """Two at once, killed up to six times at seeded moments while deadlines pass: nothing is lost, and ids stay."""
    log_url = url(tmp_path / "log.db")
    open_pauses(log_url)
    settings = settings_of(log_url, tmp_path, receiver)
    chance = random.Random(SEED)
    for _ in range(ROUNDS):
        before = len(receiver.posts)
        with watching(settings, tmp_path / "out.txt", count=2):
            until(lambda b=before: len(receiver.posts) > b or are_delivered(tmp_path), what="a post")
            time.sleep(chance.random() / 4)  # the random moment itself
        receiver.hold.clear()  # the next ones are killed in the middle of their posts, too
        held = len(receiver.posts)
        with watching(settings, tmp_path / "out.txt"):
            until(lambda b=held: len(receiver.posts) > b or are_delivered(tmp_path), what="a post that is held")
        receiver.hold.set()
    with watching(settings, tmp_path / "out.txt", count=2):
        until(lambda: are_delivered(tmp_path), what="every delivery", seconds=150)
    by_subject: dict[str, set[str]] = {}
    for post in receiver.posts:
        event = post.event
        assert event["type"] == "pauseledger.alert.freshness_expired"
        by_subject.setdefault(event["subject"], set()).add(event["id"])
    assert by_subject == {subject: {one[0]} for subject, one in told(tmp_path).items()}
    assert "Traceback" not in (tmp_path / "out.txt").read_text()


@pytest.mark.kafka
def test_a_broker_that_goes_away_loses_no_alert(own_broker: Broker, tmp_path: Path, receiver: Receiver) -> None:
    """The watcher lives through it, delivers to webhooks meanwhile, and tells what passed when the broker is back."""
    from ledger.logs.topic import create_topic

    create_topic(own_broker.address, "ledger", partitions=3)
    log_url = f"kafka://{own_broker.address}/ledger"
    open_pauses(log_url)
    settings = settings_of(log_url, tmp_path, receiver)
    with watching(settings, tmp_path / "out.txt") as (process,):
        until(lambda: len(receiver.posts) > 3, what="the first posts", seconds=60)
        own_broker.stop()
        time.sleep(3)
        own_broker.start()
        until(lambda: len(set(receiver.ids)) == COUNT, what="every post", seconds=120)
        until(lambda: are_delivered(tmp_path), what="every delivery", seconds=150)
        assert process.poll() is None
    assert "Traceback" not in (tmp_path / "out.txt").read_text()
