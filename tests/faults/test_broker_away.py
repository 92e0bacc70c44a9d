"""The broker away, frozen, without enough replicas, made again or restored: nothing is lost, and nothing pretended.

In CI two outages of 6 s and one of 20 s with too few in-sync replicas; in soak five of 10 s, and one of 135 s.
"""

from __future__ import annotations

import shutil
import subprocess
import sys
import threading
import time
import uuid
from collections import Counter
from collections.abc import Callable, Sequence
from concurrent.futures import Future
from pathlib import Path

import pytest

from consumers.publishing import open_publisher
from ledger.errors import LogChanged
from ledger.logs.topic import create_topic
from ledger.sending import Answer, Unknown
from tests.broker import Broker, Cluster
from tests.faults.command import run
from tests.faults.ledgers import caught_up, folded, opened, put, records_of, url
from tests.faults.lines import note, resume
from tests.faults.waiting import until

pytestmark = pytest.mark.kafka

DEADLINE_SECONDS = 5.0
DRAIN_SECONDS = 90.0


class Stream:
    """A thread that publishes notes all the time, a few dozen a second, and now and then a request."""

    def __init__(self, log_url: str, folder: Path) -> None:
        self.log_url = log_url
        self.index = folder / "index.db"
        self.publisher = open_publisher(
            log_url, index_url=url(self.index), outbox=folder / "outbox", deadline_seconds=DEADLINE_SECONDS
        )
        self.facts: list[Future[Answer]] = []
        self.requests: list[Future[Answer]] = []
        self.waited: list[float] = []
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run)
        self._thread.start()

    def _run(self) -> None:
        while not self._stop.wait(0.02):
            number = len(self.facts)
            self._submit(self.facts, note(number, f"T-{number % 7}"))
            if number % 20 == 0:
                self._submit(self.requests, resume(f"resume-{number}"))

    def _submit(self, answers: list[Future[Answer]], value: bytes) -> None:
        began = time.monotonic()
        answer = self.publisher.submit(value)
        answer.add_done_callback(lambda _: self.waited.append(time.monotonic() - began))
        answers.append(answer)

    def has_answers(self, more: int) -> None:
        """Wait until so many more facts have verdicts."""
        before = self._judged()
        until(lambda: self._judged() >= before + more, seconds=DRAIN_SECONDS, what=f"{more} more verdicts")

    def _judged(self) -> int:
        return sum(one.done() and not isinstance(one.result(), Unknown) for one in self.facts)

    def finish(self) -> None:
        """Stop publishing, and let the outbox empty itself."""
        self._stop.set()
        self._thread.join()
        until(lambda: self.publisher.waiting == 0, seconds=DRAIN_SECONDS, what="an empty outbox")
        self.publisher.close()


def check(stream: Stream) -> Counter[str]:
    """Every fact is on the log and counts once; every future is answered in time; unknown ones are settled."""
    facts, requests = ([one.result(0) for one in answers] for answers in (stream.facts, stream.requests))
    assert max(stream.waited) < DEADLINE_SECONDS + 3.0
    assert all(one.kept or one.entry is not None for one in facts if isinstance(one, Unknown))
    caught_up(stream.log_url, stream.index)
    with opened(stream.log_url, stream.index) as ledger:
        records = {(one.partition, one.offset) for one in records_of(ledger.log)}
        states, verdicts = folded(ledger.log)
        for answer in [*facts, *requests]:
            if not isinstance(answer, Unknown):
                assert (answer.partition, answer.offset) in records
        accepted = Counter(
            entry.verdict().id
            for subject in states
            for entry in ledger.index.entries(subject)
            if entry.outcome == "accepted"
        )
    assert {name: count for name, count in accepted.items() if name and name.startswith("note-")} == {
        f"note-{number}": 1 for number in range(len(facts))
    }
    counted = Counter(verdicts)
    counted["facts"], counted["unknown"] = len(facts), sum(isinstance(one, Unknown) for one in [*facts, *requests])
    counted["slowest_ms"] = int(1000 * max(stream.waited))
    print(dict(counted))
    return counted


def outages(stream: Stream, away: Sequence[Callable[[], None]], back: Callable[[], None], seconds: float) -> None:
    """One outage after the other, each of a different kind; verdicts come before, between and after."""
    for go in away:
        stream.has_answers(20)
        go()
        time.sleep(seconds)  # the outage itself
        back()
    stream.has_answers(20)
    stream.finish()


def away_and_back(broker: Broker, folder: Path, times: int, seconds: float) -> Counter[str]:
    """Freeze the broker and kill it, in turns."""
    log_url = f"kafka://{broker.address}/ledger"
    create_topic(broker.address, "ledger", partitions=3)
    killed: list[bool] = []

    def freeze() -> None:
        broker.pause()
        killed.append(False)

    def kill() -> None:
        broker.kill()
        killed.append(True)

    def back() -> None:
        if killed[-1]:
            broker.start()
        else:
            broker.unpause()

    stream = Stream(log_url, folder)
    outages(stream, [(freeze, kill)[number % 2] for number in range(times)], back, seconds)
    return check(stream)


@pytest.mark.timeout(400)
def test_a_broker_that_is_away_costs_nothing(own_broker: Broker, tmp_path: Path) -> None:
    """Frozen for 6 s and killed for 6 s under a stream of facts: each arrives, and each counts once."""
    found = away_and_back(own_broker, tmp_path, 2, 6.0)
    assert found["unknown"] > 0


@pytest.mark.soak
@pytest.mark.timeout(900)
def test_a_broker_that_is_away_five_times(own_broker: Broker, tmp_path: Path) -> None:
    """Five outages of 10 s, frozen and killed in turns."""
    assert away_and_back(own_broker, tmp_path, 5, 10.0)["unknown"] > 0


def too_few_replicas(cluster: Cluster, folder: Path, seconds: float) -> Counter[str]:
    """Three brokers, three replicas, two of which must be in sync; two brokers are killed."""
    create_topic(cluster.address, "ledger", partitions=3, durable=True)
    stream = Stream(f"kafka://{cluster.address}/ledger", folder)
    victims = cluster.brokers[1:]

    def kill() -> None:
        for broker in victims:
            broker.kill()

    def back() -> None:
        for broker in victims:
            broker.start(wait=False)
        for broker in victims:
            broker.wait_until_ready()

    outages(stream, [kill], back, seconds)
    return check(stream)


@pytest.mark.timeout(400)
def test_too_few_replicas_for_a_while(cluster: Cluster, tmp_path: Path) -> None:
    """For 20 s nothing can be acknowledged: afterwards all of it is there."""
    assert too_few_replicas(cluster, tmp_path, 20.0)["unknown"] > 0


@pytest.mark.soak
@pytest.mark.timeout(900)
def test_too_few_replicas_for_long(cluster: Cluster, tmp_path: Path) -> None:
    """For 135 s, which wedges clients that have a delivery timeout of their own."""
    assert too_few_replicas(cluster, tmp_path, 135.0)["unknown"] > 0


def test_a_later_process_sends_what_a_killed_one_kept(own_broker: Broker, tmp_path: Path) -> None:
    """The publisher dies with unknown facts in its outbox; another finds them, and they arrive under the same ids."""
    log_url = f"kafka://{own_broker.address}/ledger"
    create_topic(own_broker.address, "ledger", partitions=3)
    own_broker.pause()
    arguments = [sys.executable, "-m", "tests.faults.outage_publisher", log_url, str(tmp_path / "outbox"), "50"]
    process = subprocess.Popen(arguments, cwd=Path(__file__).parents[2], stdout=subprocess.PIPE)
    assert process.stdout is not None
    said = [process.stdout.readline() for _ in range(50)]
    process.kill()
    process.communicate()
    own_broker.unpause()
    assert said == [b"unknown\n"] * 50
    with open_publisher(log_url, index_url=url(tmp_path / "later.db"), outbox=tmp_path / "outbox") as publisher:
        until(lambda: publisher.waiting == 0, seconds=DRAIN_SECONDS, what="an empty outbox")
    with opened(log_url, tmp_path / "later.db") as ledger:
        states, _ = folded(ledger.log)
        ledger.indexer.catch_up()
        accepted = [one.verdict().id for one in ledger.index.entries("T-1") if one.outcome == "accepted"]
    assert sorted(name or "" for name in accepted) == sorted(f"note-{number}" for number in range(50))
    assert list(states) == ["T-1"]


def test_a_request_that_was_answered_unknown_in_the_queue_is_not_sent(own_broker: Broker, tmp_path: Path) -> None:
    """The broker was away when they were asked for: when it is back the facts arrive, the requests do not."""
    log_url = f"kafka://{own_broker.address}/ledger"
    create_topic(own_broker.address, "ledger", partitions=1)
    own_broker.kill()
    options = {"index_url": url(tmp_path / "index.db"), "outbox": tmp_path / "outbox"}
    with open_publisher(log_url, **options, deadline_seconds=2.0) as publisher:  # type: ignore[arg-type]
        answers = [publisher.submit(value) for n in range(20) for value in (note(n), resume(f"resume-{n}"))]
        assert {answer.result(10).verdict for answer in answers} == {"unknown"}
        own_broker.start()
        until(lambda: publisher.waiting == 0, seconds=DRAIN_SECONDS, what="an empty outbox")
        assert publisher.publish(note(99), deadline_seconds=30.0).accepted
    with opened(log_url, tmp_path / "index.db") as ledger:
        assert not any(b"resume" in (record.value or b"") for record in records_of(ledger.log))


@pytest.fixture
def address(broker: Broker) -> str:
    """A fresh topic of two partitions, with a few entries, on the shared broker."""
    name = f"ledger-{uuid.uuid4()}"
    create_topic(broker.address, name, partitions=2)
    return f"kafka://{broker.address}/{name}"


def filled(log_url: str, index: Path, first: int, count: int) -> None:
    with opened(log_url, index) as ledger:
        put(ledger.log, [(f"T-{n}", note(n, f"T-{n}")) for n in range(first, first + count)])
        ledger.indexer.catch_up()


def halted(log_url: str, folder: Path, *words: str) -> None:
    """Every command that reads halts with one line and exit code 1, until the index is rebuilt."""
    addresses = ("--log", log_url, "--index", url(folder / "index.db"))
    for command in (("trail", "T-1"), ("decision", "T-1"), ("publish",)):
        found = run(*command, *addresses, folder=folder, stdin=note(1))
        assert (found.code, found.out, found.err.count("\n")) == (1, "", 1), found
        for word in (*words, "rebuild"):
            assert word in found.err
    assert run("rebuild", *addresses, folder=folder).code == 0
    assert run("trail", "T-1", *addresses, folder=folder).code == 0


def test_a_topic_made_again_halts(broker: Broker, address: str, tmp_path: Path) -> None:
    """Also when the new one is longer than what was read of the old; an open indexer halts too."""
    from kafka import KafkaAdminClient

    filled(address, tmp_path / "index.db", 0, 10)
    topic = address.rpartition("/")[2]
    with opened(address, tmp_path / "index.db") as ledger:
        with KafkaAdminClient(bootstrap_servers=broker.address) as admin:
            admin.delete_topics([topic])
            until(lambda: topic not in admin.list_topics())
        create_topic(broker.address, topic, partitions=2)
        filled(address, tmp_path / "other.db", 100, 50)
        with pytest.raises(LogChanged):
            ledger.indexer.catch_up()
    halted(address, tmp_path, "made again")


def test_partitions_that_were_added_halt(broker: Broker, address: str, tmp_path: Path) -> None:
    """Keys would lie elsewhere from now on: a ledger keeps its partitions for life."""
    from kafka import KafkaAdminClient

    filled(address, tmp_path / "index.db", 0, 10)
    topic = address.rpartition("/")[2]
    with opened(address, tmp_path / "index.db") as ledger:
        with KafkaAdminClient(bootstrap_servers=broker.address) as admin:
            admin.create_partitions({topic: 5})
        until(lambda: ledger.log.identity().partitions == 5)
        filled(address, tmp_path / "other.db", 100, 50)
        with pytest.raises(LogChanged, match="partitions"):
            ledger.indexer.catch_up()
    halted(address, tmp_path, "partitions")


@pytest.mark.parametrize(
    "later", [0, pytest.param(10, marks=pytest.mark.soak), 40], ids=["shorter", "as long", "longer"]
)
def test_a_broker_restored_from_an_old_copy_halts(own_broker: Broker, tmp_path: Path, later: int) -> None:
    """Shorter than what was read, or grown again by other entries: another history lies there."""
    address = f"kafka://{own_broker.address}/ledger"
    create_topic(own_broker.address, "ledger", partitions=1)
    filled(address, tmp_path / "index.db", 0, 20)
    own_broker.stop()
    shutil.copytree(own_broker.folder, tmp_path / "copy")
    own_broker.start()
    filled(address, tmp_path / "index.db", 20, 10)
    own_broker.stop()
    shutil.rmtree(own_broker.folder)
    shutil.copytree(tmp_path / "copy", own_broker.folder)
    own_broker.start()
    if later:
        filled(address, tmp_path / "other.db", 100, later)
    halted(address, tmp_path)
