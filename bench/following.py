"""Reported: how far a reader of ``TOPIC.decisions`` is behind the log.

1,000 entries a second go onto the log; an indexer and the job ``decisions`` run as processes of their own, all on this
machine. Of each decision it is measured how long after the broker's time of its entry a plain consumer has it.
"""

from __future__ import annotations

import json
import statistics
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from bench.ledgers import folder, now
from bench.rounds import Reported
from bench.sizes import Sizes
from bench.workload import Workload, chunks
from consumers.outlet import POSITION_KEY
from consumers.settings import Settings
from ledger.errors import LedgerError
from ledger.logs.output_topics import output_topics
from ledger.logs.topic import create_topic
from ledger.times import parse_instant
from tests.broker import NoKafkaError, running_broker

PARTITIONS = 6
RATE = 1_000
_CHUNK = 10
_WARM_UP_SECONDS = 5.0
_LAST_SECONDS = 60.0
_INDEXER = """
import sys, time
from consumers.settings import Settings
ledger = Settings.read(*sys.argv[1:]).open()
while True:
    if not ledger.indexer.catch_up():
        time.sleep(0.005)
"""


class Reader(threading.Thread):
    """Follows the decisions, and notes the lag of each in milliseconds."""

    def __init__(self, address: str, topic: str) -> None:
        super().__init__(daemon=True)
        self.lags: list[float] = []
        self.counts = False
        self.ends = False
        self._address, self._topic = address, topic

    def run(self) -> None:
        from kafka import KafkaConsumer, TopicPartition

        consumer = KafkaConsumer(
            bootstrap_servers=self._address,
            group_id=None,
            enable_auto_commit=False,
            auto_offset_reset="earliest",
            isolation_level="read_committed",
        )
        consumer.assign([TopicPartition(self._topic, number) for number in range(PARTITIONS)])
        while not self.ends:
            polled = consumer.poll(100)
            arrived = time.time()
            for one in (one for some in polled.values() for one in some if one.key != POSITION_KEY):
                if self.counts:
                    as_of = parse_instant(json.loads(one.value)["as_of"]).timestamp()
                    self.lags.append((arrived - as_of) * 1000)
        consumer.close()


@contextmanager
def _process(*command: str) -> Iterator[None]:
    process = subprocess.Popen([sys.executable, *command], stdout=subprocess.DEVNULL)
    try:
        yield
    finally:
        process.kill()
        process.wait()


def _publish(settings: Settings, workload: Workload, seconds: float) -> None:
    """Entries at a steady rate, whatever the readers do."""
    log = settings.open_log()
    try:
        due = time.monotonic()
        futures: list[Any] = []
        for chunk in chunks(workload.drafts(int(RATE * seconds)), _CHUNK):
            futures = [*futures[-RATE:], *log.append(chunk)]
            due += _CHUNK / RATE
            time.sleep(max(0.0, due - time.monotonic()))
        for future in futures:
            future.result(60)
    finally:
        log.close()


def following(sizes: Sizes) -> list[Reported]:
    """The lag's median and its 99th percentile, in milliseconds."""
    title = f"Lag of a reader of the decisions topic, at {RATE:,} entries a second"
    try:
        lags = _lags(sizes.following_seconds)
    except NoKafkaError as error:
        return [Reported("following", title, [], skipped=f"no Kafka broker: {error}")]
    hundredths = statistics.quantiles(lags, n=100)
    values = [("median", hundredths[49], "ms"), ("99th percentile", hundredths[98], "ms")]
    return [Reported("following", title, values, notes={"decisions": len(lags), "partitions": PARTITIONS})]


def _lags(seconds: float) -> list[float]:
    with running_broker() as broker, folder() as place:
        topic = "bench"
        create_topic(broker.address, topic, partitions=PARTITIONS)
        settings = Settings.read(f"kafka://{broker.address}/{topic}", f"sqlite:///{place / 'index.db'}")
        settings.open().close()
        workload = Workload(PARTITIONS, start=now())
        job = ("-m", "tests.faults.emitter_process", settings.log_url, settings.index_url)
        with (
            _process("-c", _INDEXER, settings.log_url, settings.index_url),
            _process(*job, ",".join(map(str, range(PARTITIONS)))),
        ):
            _wait_for(broker.address, output_topics(topic).decisions)
            reader = Reader(broker.address, output_topics(topic).decisions)
            reader.start()
            _publish(settings, workload, _WARM_UP_SECONDS)
            reader.counts = True
            _publish(settings, workload, seconds)
            waited_until = time.monotonic() + _LAST_SECONDS
            while len(reader.lags) < 2 and time.monotonic() < waited_until:  # on a busy machine it starts late
                time.sleep(0.1)
            time.sleep(1.0)
            reader.ends = True
            reader.join(10)
    return reader.lags


def _wait_for(address: str, topic: str) -> None:
    from ledger.logs.topic import describe_topic

    for _ in range(300):
        try:
            describe_topic(address, topic)
            return
        except LedgerError:
            time.sleep(0.1)
    raise SystemExit("the job did not make its topics")
