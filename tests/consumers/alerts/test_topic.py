"""``TOPIC.alerts`` on a real broker: made as it must be, and every alert on it, where its work item lives."""

from __future__ import annotations

import json
import uuid
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest
from kafka import KafkaConsumer, TopicPartition

from consumers.alerts.store import Due
from consumers.alerts.topic import AlertTopic
from consumers.settings import Settings
from consumers.watcher import Watcher, open_job
from ledger.errors import LogUnavailable, UnusableLog
from ledger.logs.address import KafkaAddress
from ledger.logs.topic import TopicDesk, describe_topic
from ledger.partitions import partition_of
from tests.broker import Broker, free_port
from tests.consumers.alerts.watching import run_until
from tests.faults.ledgers import put, url
from tests.faults.lines import line
from tests.faults.lines import opened as pause_data

pytestmark = pytest.mark.kafka


def read(broker: Broker, topic: str, count: int) -> list[Any]:
    """The first records of a topic, with their keys, headers and partitions."""
    consumer = KafkaConsumer(bootstrap_servers=broker.address, auto_offset_reset="earliest", enable_auto_commit=False)
    try:
        consumer.assign([TopicPartition(topic, one) for one in range(3)])
        found: list[Any] = []
        for _ in range(60):
            found += [record for some in consumer.poll(500).values() for record in some]
            if len(found) >= count:
                break
        return found
    finally:
        consumer.close()


@pytest.fixture
def settings(broker: Broker, topic: str, tmp_path: Path) -> Settings:
    log = Settings.read(f"kafka://{broker.address}/{topic}").open_log()
    with closing(log):
        lines = [
            (f"T-{n}", line("pause.opened", pause_data(fresh_for="PT0.1S"), id="o", subject=f"T-{n}")) for n in range(9)
        ]
        put(log, lines)
    return Settings.read(f"kafka://{broker.address}/{topic}", url(tmp_path / "index.db"), alert_grace_seconds=0.1)


@pytest.fixture
def watcher(settings: Settings) -> Iterator[Watcher]:
    with closing(open_job(settings)) as job:
        yield job


def states(watcher: Watcher) -> dict[str, int]:
    return {state: count for (_, state), count in watcher.store.tally().items()}


def test_alerts_are_on_the_topic(broker: Broker, topic: str, watcher: Watcher) -> None:
    """As CloudEvents in structured mode, keyed by the work item, on its partition; those of our partitions only."""
    mine = [f"T-{n}" for n in range(9) if partition_of(f"T-{n}", 3) != 1]
    watcher.take({0, 2})
    run_until([watcher], lambda: states(watcher) == {"delivered": len(mine)}, "the deliveries")
    watcher.take({0, 1, 2})
    run_until([watcher], lambda: states(watcher) == {"delivered": 9}, "the others'")
    records = read(broker, f"{topic}.alerts", 9)
    events = [json.loads(record.value) for record in records]
    assert len(records) == len({event["id"] for event in events}) == 9
    for record, event in zip(records, events, strict=True):
        assert event["subject"] == record.key.decode()
        assert record.partition == partition_of(event["subject"], 3)
        assert (event["source"], event["type"]) == (topic, "pauseledger.alert.freshness_expired")
        assert dict(record.headers)["content-type"].startswith(b"application/cloudevents+json")


def test_the_topic_is_made_as_the_ledger_is_cut(broker: Broker, topic: str, watcher: Watcher) -> None:
    """As many partitions, deleted by age, not the ledger's endless retention; found again by the next watcher."""
    state = describe_topic(broker.address, f"{topic}.alerts")
    assert (state.partitions, state.settings["cleanup.policy"]) == (3, "delete")
    assert state.settings["retention.ms"] == "604800000"
    AlertTopic(KafkaAddress((broker.address,), topic), 3).close()


def test_a_topic_cut_otherwise_is_refused(broker: Broker, topic: str) -> None:
    """With what to do about it."""
    with closing(TopicDesk(broker.address, f"{topic}.alerts", timeout_seconds=10.0, settings={})) as desk:
        desk.create(2, None, {})
    with pytest.raises(UnusableLog, match="has 2 partitions, and the ledger has 3"):
        AlertTopic(KafkaAddress((broker.address,), topic), 3)


def test_a_name_that_is_too_long_is_refused(broker: Broker) -> None:
    """Kafka's names have 249 characters at most."""
    with pytest.raises(UnusableLog, match="too long"):
        AlertTopic(KafkaAddress((broker.address,), "x" * 243), 3)


def test_no_broker_is_told_as_such(topic: str) -> None:
    """It may be back later."""
    with pytest.raises(LogUnavailable):
        AlertTopic(KafkaAddress((f"127.0.0.1:{free_port()}",), topic), 3, timeout_seconds=1.0)


def test_what_is_on_its_way_is_not_sent_twice(own_broker: Broker, monkeypatch: pytest.MonkeyPatch) -> None:
    """A broker that is frozen for a while gets one record; a try that ends meanwhile is one that failed."""
    from consumers.alerts import topic as topic_module
    from ledger.logs.topic import create_topic

    name = f"ledger-{uuid.uuid4()}"
    create_topic(own_broker.address, name, partitions=3)
    target = AlertTopic(KafkaAddress((own_broker.address,), name), 3)
    try:
        assert target.send(Due("a-0", target.name, 0, 0, "T-1", "{}")).delivered
        monkeypatch.setattr(topic_module, "SEND_SECONDS", 0.3)
        due = Due("a-1", target.name, 0, 0, "T-1", "{}")
        own_broker.pause()
        try:
            tries = [target.send(due) for _ in range(3)]
        finally:
            own_broker.unpause()
        assert [(one.delivered, one.said) for one in tries] == [(False, "not acknowledged yet")] * 3
        monkeypatch.setattr(topic_module, "SEND_SECONDS", 30.0)
        assert target.send(due).said == "recorded at 0:1"
        large = Due("a-2", target.name, 0, 0, "T-1", "x" * 2_000_000)
        assert target.send(large).hopeless
        assert [target.wait_seconds(attempts) for attempts in (1, 3, 99, 5_000)] == [2.0, 8.0, 60.0, 60.0]
    finally:
        target.close()
