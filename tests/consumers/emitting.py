"""A job of ``decisions`` on a topic, its driving, and what its topics then hold."""

from __future__ import annotations

import itertools
import json
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from kafka import KafkaConsumer, TopicPartition

from consumers.decisions import DecisionsJob, open_job
from consumers.outlet import POSITION_KEY
from consumers.settings import Settings
from ledger.errors import Fenced, LogUnavailable

PARTITIONS = 3
ALL = frozenset(range(PARTITIONS))


def settings_of(address: str, topic: str, index: Path) -> Settings:
    return Settings.read(f"kafka://{address}/{topic}", f"sqlite:///{index}")


@contextmanager
def running(settings: Settings, partitions: frozenset[int] = ALL) -> Iterator[DecisionsJob]:
    """The job with these partitions, closed afterwards."""
    job = open_job(settings)
    try:
        job.take(partitions)
        yield job
    finally:
        job.close()


def drive(job: DecisionsJob, settings: Settings, *, seconds: float = 60.0) -> int:
    """Step until all that the log holds is emitted; how often it had to be tried again."""
    log = settings.open_log()
    troubles, deadline = 0, time.monotonic() + seconds
    try:
        ends = dict(enumerate(end for _, end in log.all_bounds()))
    finally:
        log.close()
    while {one: line.place.next_offset for one, line in job._lines.items()} != ends:
        assert time.monotonic() < deadline, "the job did not come to the end of the log"
        try:
            job.step()
        except (Fenced, LogUnavailable):
            troubles += 1
            time.sleep(0.05)  # as the runner does between tries
    return troubles


def emit_all(settings: Settings) -> None:
    """Emit all that the log holds, by one job."""
    with running(settings) as job:
        drive(job, settings)


def committed(address: str, topic: str, *, partitions: int = PARTITIONS) -> list[Any]:
    """Every committed record of a topic, partition by partition, once no transaction is under way any more.

    A commit is answered before all of its markers are written: until then readers of what is committed don't see it.
    """
    ends = _ends(address, topic, partitions)
    consumer = KafkaConsumer(
        bootstrap_servers=address,
        group_id=None,
        enable_auto_commit=False,
        auto_offset_reset="earliest",
        isolation_level="read_committed",
    )
    found: list[Any] = []
    try:
        for partition in (TopicPartition(topic, number) for number in range(partitions)):
            consumer.assign([partition])
            consumer.seek(partition, 0)
            deadline = time.monotonic() + 120
            while consumer.position(partition) < ends[partition]:
                assert time.monotonic() < deadline, "the topic could not be read to its end"
                found += itertools.chain.from_iterable(consumer.poll(200).values())
    finally:
        consumer.close()
    return found


def _ends(address: str, topic: str, partitions: int) -> dict[TopicPartition, int]:
    """The end of each partition, of what is under way too."""
    consumer = KafkaConsumer(bootstrap_servers=address, group_id=None, isolation_level="read_uncommitted")
    try:
        ends: dict[TopicPartition, int] = consumer.end_offsets(
            [TopicPartition(topic, one) for one in range(partitions)]
        )
    finally:
        consumer.close()
    return ends


def emitted_verdicts(settings: Settings) -> list[dict[str, Any]]:
    address, topic = settings.log_url.removeprefix("kafka://").split("/")
    return [json.loads(one.value) for one in committed(address, f"{topic}.verdicts")]


def emitted_decisions(settings: Settings) -> list[tuple[bytes, dict[str, Any]]]:
    """Keys and values, in order; positions left out."""
    address, topic = settings.log_url.removeprefix("kafka://").split("/")
    return [
        (one.key, json.loads(one.value)) for one in committed(address, f"{topic}.decisions") if one.key != POSITION_KEY
    ]


def expected(settings: Settings) -> tuple[list[dict[str, Any]], dict[bytes, dict[str, Any]]]:
    """What the fold in memory says: all verdicts by partition and offset, and the last decision of every pause.

    Of an open pause at its work item's last entry, of a closed one at the last entry that changed it.
    """
    from ledger.decision import decide
    from ledger.fold import Replay
    from ledger.json_text import write_json
    from tests.faults.ledgers import records_of

    log = settings.open_log()
    try:
        records = records_of(log)
        replay = Replay(log.partitions)
    finally:
        log.close()
    verdicts, latest = [], {}
    for record in records:
        verdict = replay.take(record)
        verdicts.append(verdict.as_dict())
        item = None if verdict.verdict == "malformed" else replay.items[verdict.subject or ""]
        for name, pause in {} if item is None else item.pauses.items():
            assert item is not None
            assert item.instant is not None
            key = write_json([item.subject, name])
            known = latest.get(key)
            if pause.is_open or known is None or known[0] is not pause:
                latest[key] = (pause, decide(item, pause, item.instant).as_dict())
    return verdicts, {key: content for key, (_, content) in latest.items()}


def but(content: dict[str, Any], *names: str) -> dict[str, Any]:
    """A value without some of its members."""
    return {name: value for name, value in content.items() if name not in names}


def check(settings: Settings) -> None:
    """Every verdict is there once and in order; the last decision of each pause is what the fold says."""
    verdicts, decisions = expected(settings)
    assert emitted_verdicts(settings) == verdicts
    told = emitted_decisions(settings)
    last = dict(told)
    assert last.keys() == decisions.keys()
    for key, content in decisions.items():
        assert but(last[key], "as_of", "entry") == but(content, "as_of")
    places = [(key, value["entry"]) for key, value in told]
    assert len(set(places)) == len(places), "a decision was told twice"
