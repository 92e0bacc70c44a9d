"""The job ``decisions`` killed, frozen, doubled and without its broker: everything is told once, and nothing older."""

from __future__ import annotations

import gc
import random
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from bench.workload import Workload, chunks
from consumers.settings import Settings
from ledger.errors import Fenced, LogUnavailable
from ledger.logs.kafka_emitter import Emitter, Output
from ledger.logs.output_topics import output_topics
from ledger.logs.topic import create_topic
from tests.broker import Broker
from tests.consumers.emitting import PARTITIONS, check, committed, drive, emit_all, running, settings_of
from tests.faults.waiting import until

pytestmark = pytest.mark.kafka
SEED = 20260328
ENTRIES_A_KILL = 1_500
"""Fewer than that are emitted before a kill, so that something is left for the last one: with nothing left it waits."""
ALL_OF_THEM = ",".join(map(str, range(PARTITIONS)))


@pytest.fixture
def settings(broker: Broker, topic: str, tmp_path: Path) -> Settings:
    return settings_of(broker.address, topic, tmp_path / "index.db")


def fill(settings: Settings, workload: Workload, entries: int) -> None:
    """Put entries on the log and fold them."""
    log = settings.open_log()
    try:
        for chunk in chunks(workload.drafts(entries), 1_000):
            for future in log.append(chunk):
                future.result(60)
    finally:
        log.close()
    ledger = settings.open()
    ledger.indexer.catch_up()
    ledger.close()


@contextmanager
def emitting(settings: Settings) -> Iterator[subprocess.Popen[str]]:
    """A process of the job with all partitions; killed at the end."""
    process = subprocess.Popen(
        [sys.executable, "-m", "tests.faults.emitter_process", settings.log_url, settings.index_url, ALL_OF_THEM],
        stdout=subprocess.PIPE,
        text=True,
    )
    try:
        yield process
    finally:
        process.send_signal(signal.SIGCONT)
        process.kill()
        process.wait()
        assert process.stdout is not None
        process.stdout.close()


def told(settings: Settings) -> int:
    """The end of the verdicts' topic, markers and what was aborted included: it moves while somebody emits."""
    from kafka import KafkaConsumer, TopicPartition

    address, topic = settings.log_url.removeprefix("kafka://").split("/")
    consumer = KafkaConsumer(bootstrap_servers=address, group_id=None)
    try:
        names = [TopicPartition(output_topics(topic).verdicts, number) for number in range(PARTITIONS)]
        return sum(consumer.end_offsets(names).values())
    finally:
        consumer.close()


@pytest.mark.parametrize("kills", [3, pytest.param(8, marks=pytest.mark.soak)])
def test_killed_again_and_again_it_tells_everything_once(settings: Settings, kills: int) -> None:
    """Kills at random moments while entries are emitted, with some left for each, then once to the end."""
    chance = random.Random(SEED)
    fill(settings, Workload(PARTITIONS, active=200), kills * ENTRIES_A_KILL)
    for _ in range(kills):
        with emitting(settings) as process:
            before = None
            while before is None or (told(settings) == before and process.poll() is None):
                try:
                    before = told(settings) if before is None else before
                except Exception:
                    time.sleep(0.05)  # the first of them makes the topics
            time.sleep(chance.random() / 5)  # the random moment itself
    emit_all(settings)
    check(settings)


def test_of_two_emitters_the_older_is_fenced(settings: Settings) -> None:
    """Who comes later has the partitions; the older is told so and writes nothing, and everything is there once."""
    workload = Workload(PARTITIONS, active=60)
    fill(settings, workload, 600)
    with running(settings) as older, running(settings) as newer:
        drive(older, settings)
        newer.step()
        fill(settings, workload, 600)
        with pytest.raises(Fenced):
            older.step()
        drive(newer, settings)
        check(settings)


def test_two_that_both_hold_all_partitions_take_turns(settings: Settings) -> None:
    """A group that is at odds with itself costs time and no truth: both go on, and everything is there once."""
    workload = Workload(PARTITIONS, active=60)
    fill(settings, workload, 500)
    with emitting(settings), emitting(settings):
        for _ in range(6):
            fill(settings, workload, 200)
            time.sleep(1)  # long enough for both to want the same entries
    emit_all(settings)
    check(settings)


@pytest.mark.soak
def test_a_zombie_writes_nothing_older(settings: Settings) -> None:
    """Frozen in its work, overtaken, and woken: what it still wanted to say is refused, and it begins anew."""
    workload = Workload(PARTITIONS, active=100)
    fill(settings, workload, 1_000)
    with emitting(settings) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == "ready\n"
        fill(settings, workload, 12_000)
        before = told(settings)
        until(lambda: told(settings) > before, what="the zombie's beginning")
        process.send_signal(signal.SIGSTOP)
        emit_all(settings)
        fill(settings, workload, 300)
        emit_all(settings)
        ends = told(settings)
        process.send_signal(signal.SIGCONT)
        # The broker may have dropped its connections: then it learns that first, and opens them as the newest.
        assert process.stdout.readline() in ("fenced\n", "away\n")
        time.sleep(2)  # long enough to say what it wanted to
        assert told(settings) == ends
        check(settings)


def test_a_fenced_commit_is_no_success(broker: Broker, topic: str, settings: Settings) -> None:
    """Records sent before another came, and ended after: the older is fenced, and none of them is committed."""
    emit_all(settings)
    name = output_topics(topic).decisions
    older = Emitter(broker.address, "pauseledger-test", 0, timeout_seconds=10.0, settings={})
    older.send([Output(name, b'["T","p"]', b"old")])
    newer = Emitter(broker.address, "pauseledger-test", 0, timeout_seconds=10.0, settings={})
    newer.send([Output(name, b'["T","p"]', b"new")])
    newer.end()
    newer.settle()
    with pytest.raises(Fenced):
        finish(older)
    for one in (older, newer):
        one.close()
    assert [one.value for one in committed(broker.address, name)] == [b"new"]


def finish(emitter: Emitter) -> None:
    """Commit what was sent."""
    emitter.end()
    emitter.settle()


def test_a_fenced_emitter_sends_nothing(broker: Broker, topic: str, settings: Settings) -> None:
    """Who begins after another came is refused, whether at the first record or at the commit."""
    emit_all(settings)
    name = output_topics(topic).decisions
    older = Emitter(broker.address, "pauseledger-test-2", 0, timeout_seconds=10.0, settings={})
    newer = Emitter(broker.address, "pauseledger-test-2", 0, timeout_seconds=10.0, settings={})
    older.send([Output(name, b'["T","p"]', b"old")])
    with pytest.raises(Fenced):
        finish(older)
    for one in (older, newer):
        one.close()
    assert committed(broker.address, name) == []


def test_the_broker_restarts_in_the_middle(own_broker: Broker, tmp_path: Path) -> None:
    """While it is away the job says so and loses nothing; afterwards it goes on where the topic says."""
    create_topic(own_broker.address, "ledger", partitions=PARTITIONS)
    settings = settings_of(own_broker.address, "ledger", tmp_path / "index.db")
    workload = Workload(PARTITIONS, active=60)
    fill(settings, workload, 3_000)
    with running(settings) as job:
        job.step()
        own_broker.kill()
        with pytest.raises(LogUnavailable):
            step_often(job)
        own_broker.start()
        drive(job, settings, seconds=120)
        fill(settings, workload, 300)
        drive(job, settings, seconds=120)
    check(settings)
    until(lambda: not producers(), what="the end of the producers' threads")
    gc.collect()  # kafka-python's sockets whose connection was refused, while their warning is still kept quiet


def producers() -> list[str]:
    """The producers whose threads run in this process."""
    return [one.name for one in threading.enumerate() if one.name.startswith("kafka-python-producer")]


def step_often(job: object) -> None:
    """Some steps, of which one will meet what is wrong."""
    for _ in range(200):
        job.step()  # type: ignore[attr-defined]
