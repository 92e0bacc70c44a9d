"""The topics beside a ledger, on a real broker: every verdict once, the newest decision of every pause."""

from __future__ import annotations

import json
import sqlite3
import time
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest
from kafka import KafkaAdminClient

from bench.workload import Workload
from consumers.decisions import DecisionsJob, open_job
from consumers.outlet import TOPIC_ID_HEADER
from consumers.settings import Settings
from ledger.errors import LogChanged, UnusableLog, WrongUsage
from ledger.log import Draft
from ledger.logs.output_topics import output_topics
from ledger.logs.topic import create_topic, describe_topic
from ledger.partitions import partition_of
from ledger.recorders.address import index_address
from tests.broker import Broker
from tests.consumers.emitting import (
    PARTITIONS,
    check,
    committed,
    drive,
    emit_all,
    emitted_decisions,
    emitted_verdicts,
    running,
    settings_of,
)

pytestmark = pytest.mark.kafka


@pytest.fixture
def settings(broker: Broker, topic: str, tmp_path: Path) -> Settings:
    return settings_of(broker.address, topic, tmp_path / "index.db")


def record(settings: Settings, drafts: list[Draft]) -> None:
    """Put drafts on the log, and wait for them."""
    log = settings.open_log()
    try:
        for future in log.append(drafts):
            future.result(30)
    finally:
        log.close()


def event(subject: str, name: str, number: int, data: dict[str, Any], *, key: bytes | None = None) -> Draft:
    content = {
        "specversion": "1.0",
        "id": f"e-{number}",
        "source": "/test",
        "type": f"pauseledger.{name}",
        "subject": subject,
        "actor": "user:anna",
        "data": data,
    }
    key = subject.encode() if key is None else key
    return Draft(partition_of(subject, PARTITIONS), key, json.dumps(content).encode())


def opened(subject: str, pause: str, number: int, **more: Any) -> Draft:
    data = {"execution": "x-1", "pause": pause, "owner": "user:anna", "side_effect": "not_happened", **more}
    return event(subject, "pause.opened", number, data)


def test_a_mixed_workload_is_told_whole_and_once(settings: Settings) -> None:
    """Verdicts as the fold gives them, in order, and the last decision of every pause, over several transactions."""
    workload = Workload(PARTITIONS, active=80)
    record(settings, list(workload.drafts(3_000)))
    emit_all(settings)
    check(settings)
    record(settings, list(workload.drafts(500)))
    emit_all(settings)
    check(settings)
    kinds = {one["verdict"] for one in emitted_verdicts(settings)}
    assert kinds == {"accepted", "refused", "duplicate", "malformed"}


def test_verdicts_are_keyed_by_subject_and_say_which_ledger(settings: Settings, broker: Broker, topic: str) -> None:
    """Keys are the subject's bytes, none where there is no subject, each on its own partition with the topic's id."""
    odd = ['a"b\\c', "ünï/∂ 工", "x" * 256, "\t\x01"]
    drafts = [opened(subject, "p", number) for number, subject in enumerate(odd)]
    drafts += [Draft(0, b"\xff\xfe\x00", b"\x80 no text"), Draft(1, None, b"[]"), Draft(2, b"k", b"{}")]
    drafts += [event("y" * 5_000, "note.added", 9, {"text": "?"})]
    record(settings, drafts)
    emit_all(settings)
    check(settings)
    identity = describe_topic(broker.address, topic).topic_id.encode()
    for one in committed(broker.address, output_topics(topic).verdicts):
        value = json.loads(one.value)
        known = value["subject"] is not None and len(value["subject"]) <= 256
        assert one.key == (value["subject"].encode() if known else None)
        assert one.partition == value["partition"]
        assert dict(one.headers) == {"content-type": b"application/json", TOPIC_ID_HEADER: identity}
    keys = [tuple(json.loads(key)) for key, _ in emitted_decisions(settings)]
    assert sorted(keys) == sorted((subject, "p") for subject in odd)


def test_a_granted_fence_is_told(settings: Settings) -> None:
    """Who has only Kafka learns the fence and what it is for from the verdict."""
    action = {"kind": "write", "name": "crm.update"}
    record(settings, [opened("T", "p", 1, fresh_for="P1D", pending_action=action)])
    emit_all(settings)
    digest = emitted_decisions(settings)[-1][1]["action_digest"]
    record(
        settings,
        [event("T", "resume.requested", 2, {"execution": "x-1", "pause": "p", "action_digest": digest})],
    )
    emit_all(settings)
    verdict = emitted_verdicts(settings)[-1]
    assert (verdict["verdict"], verdict["fence"], verdict["action_digest"]) == ("accepted", verdict["offset"], digest)
    last = emitted_decisions(settings)[-1][1]
    assert (last["decision"], last["fence"]) == ("reconcile", verdict["fence"])
    assert last["entry"] == f"{verdict['partition']}:{verdict['offset']}"


def test_only_what_changed_is_told(settings: Settings) -> None:
    """A note changes no decision and tells none; a heartbeat moves ``valid_until`` and is told; a close is the last."""
    here = {"execution": "x-1", "pause": "p"}
    record(settings, [opened("T", "p", 1, fresh_for="P9D", heartbeat_timeout="PT1H")])
    time.sleep(0.01)  # a heartbeat in the millisecond of the opening would move nothing
    record(
        settings,
        [
            event("T", "note.added", 2, {"text": "hm"}),
            event("T", "heartbeat.recorded", 3, here),
            event("T", "pause.closed", 4, {**here, "outcome": "abandoned"}),
            event("T", "note.added", 5, {"text": "done"}),
            event("T", "work.moved", 6, {"to": "elsewhere"}),
        ],
    )
    emit_all(settings)
    offsets = [int(value["entry"].partition(":")[2]) for _, value in emitted_decisions(settings)]
    last = emitted_decisions(settings)[-1][1]
    assert (offsets, last["decision"], last["valid_until"]) == ([0, 2, 3], "closed", None)
    check(settings)


def test_however_it_is_cut_it_says_the_same(settings: Settings, tmp_path: Path) -> None:
    """Emitted at once from an index of its own, after both topics were removed, every record is the same again."""
    workload = Workload(PARTITIONS, active=30)
    for _ in range(4):
        record(settings, list(workload.drafts(150)))
        emit_all(settings)
    before = emitted_verdicts(settings), emitted_decisions(settings)
    remove(settings, *output_topics(topic_of(settings)))
    again = settings_of(address_of(settings), topic_of(settings), tmp_path / "another.db")
    emit_all(again)
    assert (emitted_verdicts(again), emitted_decisions(again)) == before


def test_nobody_else_indexes(settings: Settings) -> None:
    """Alone, the job folds what the log has: entries that come while it runs are told too."""
    workload = Workload(PARTITIONS, active=20)
    with running(settings) as job:
        for _ in range(3):
            record(settings, list(workload.drafts(60)))
            drive(job, settings)
    check(settings)


def test_a_partition_is_emitted_only_while_it_is_taken(settings: Settings) -> None:
    """What was not taken, or was given back, stays unsaid until somebody takes it."""
    workload = Workload(PARTITIONS, active=20)
    record(settings, list(workload.drafts(200)))
    ledger = settings.open()
    ledger.indexer.catch_up()
    ledger.close()
    with running(settings, frozenset({1})) as job:
        while job.step():
            pass
        job.take(frozenset({2}))
        while job.step():
            pass
        assert {one["partition"] for one in emitted_verdicts(settings)} == {1, 2}
    emit_all(settings)
    check(settings)


def step_often(job: DecisionsJob) -> None:
    """Some ten seconds' steps."""
    for _ in range(40):
        job.step()


def address_of(settings: Settings) -> str:
    return settings.log_url.removeprefix("kafka://").partition("/")[0]


def topic_of(settings: Settings) -> str:
    return settings.log_url.rpartition("/")[2]


def remove(settings: Settings, *topics: str) -> None:
    """Delete topics, and wait until they are gone."""
    from tests.faults.waiting import until

    admin = KafkaAdminClient(bootstrap_servers=address_of(settings))
    try:
        admin.delete_topics(list(topics))
        until(lambda: not set(topics) & set(admin.list_topics()), what="the topics' end")
    finally:
        admin.close()


def test_a_rebuild_meanwhile_changes_nothing(settings: Settings) -> None:
    """The index is emptied and folded again under the job: nothing is told again, and it goes on."""
    workload = Workload(PARTITIONS, active=40)
    record(settings, list(workload.drafts(400)))
    with running(settings) as job:
        drive(job, settings)
        ledger = settings.open(start_over=True)
        job.step()
        ledger.indexer.catch_up()
        ledger.close()
        record(settings, list(workload.drafts(100)))
        drive(job, settings)
    check(settings)


def test_the_topics_are_as_they_must_be(settings: Settings, broker: Broker, topic: str) -> None:
    """As many partitions as the ledger's; verdicts expire when the setting says, decisions are compacted."""
    chosen = settings.model_copy(update={"verdicts_retention_days": 2.0})
    open_job(chosen).close()
    names = output_topics(topic)
    verdicts = describe_topic(broker.address, names.verdicts)
    decisions = describe_topic(broker.address, names.decisions)
    assert verdicts.partitions == decisions.partitions == PARTITIONS
    assert verdicts.settings["cleanup.policy"] == "delete"
    assert verdicts.settings["retention.ms"] == str(2 * 24 * 60 * 60 * 1000)
    assert decisions.settings["cleanup.policy"] == "compact"


@pytest.mark.parametrize(("partitions", "policy"), [(2, "compact"), (PARTITIONS, "delete")])
def test_an_unfit_topic_is_refused(settings: Settings, topic: str, partitions: int, policy: str) -> None:
    """A topic of that name with another partition count or policy is not written to."""
    admin = KafkaAdminClient(bootstrap_servers=address_of(settings))
    wanted = {"num_partitions": partitions, "replication_factor": 1, "configs": {"cleanup.policy": policy}}
    admin.create_topics({output_topics(topic).decisions: wanted})
    admin.close()
    with pytest.raises(UnusableLog, match=r"partitions|cleanup\.policy"):
        open_job(settings)


def test_a_ledger_that_was_made_again_halts_the_next_job(settings: Settings, broker: Broker, tmp_path: Path) -> None:
    """With a fresh index nothing but the topics themselves remembers the ledger before: the job halts there."""
    record(settings, list(Workload(PARTITIONS, active=20).drafts(100)))
    emit_all(settings)
    remove(settings, topic_of(settings))
    create_topic(broker.address, topic_of(settings), partitions=PARTITIONS)
    fresh = settings_of(address_of(settings), topic_of(settings), tmp_path / "fresh.db")
    with running(fresh) as job, pytest.raises(LogChanged, match="another topic"):
        job.step()


def test_a_ledger_that_is_made_again_halts_a_running_job(settings: Settings, broker: Broker) -> None:
    """The job sees within seconds that the topic under it is another, and halts."""
    record(settings, list(Workload(PARTITIONS, active=20).drafts(100)))
    with running(settings) as job:
        drive(job, settings)
        remove(settings, topic_of(settings))
        create_topic(broker.address, topic_of(settings), partitions=PARTITIONS)
        with pytest.raises(LogChanged):
            step_often(job)


def test_another_past_halts(settings: Settings) -> None:
    """Where the index says otherwise of the entry that was emitted last, nothing more is emitted."""
    record(settings, [opened("T", "p", 1)])
    emit_all(settings)
    with closing(sqlite3.connect(index_address(settings.index_url))) as connection, connection:
        (state,) = connection.execute("SELECT state FROM stored_events").fetchone()
        connection.execute("UPDATE stored_events SET state = ?", (state.replace(b"user:anna", b"user:emma"),))
    record(settings, [event("T", "note.added", 2, {"text": "hm"})])
    before = len(emitted_verdicts(settings))
    with running(settings) as job, pytest.raises(LogChanged, match="another"):
        step_often(job)
    assert len(emitted_verdicts(settings)) == before


def test_decisions_without_a_position_are_refused(settings: Settings, topic: str) -> None:
    """The decisions' topic alone was removed: to begin again would tell verdicts twice, so the job halts."""
    record(settings, [opened("T", "p", 1)])
    emit_all(settings)
    remove(settings, output_topics(topic).decisions)
    with running(settings) as job, pytest.raises(UnusableLog, match="no position"):
        job.step()


def test_the_embedded_log_has_no_topics(tmp_path: Path) -> None:
    """Beside an SQLite log the job is wrong usage, and says what to do instead."""
    with pytest.raises(WrongUsage, match="no topics"):
        open_job(Settings.read(f"sqlite:///{tmp_path / 'log.db'}"))
