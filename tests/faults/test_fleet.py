"""A fleet of indexers under fire: killed, frozen beyond their sessions, joined by others, while publishers write.

However the partitions went round, the shared index must be row for row that of a fresh replay of the same topic. The
index is given by its address, so that each kind of index is tried alike.
"""

from __future__ import annotations

import itertools
import random
import signal
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from kafka import KafkaProducer

from bench.workload import Workload
from ledger.logs.topic import create_topic
from tests.broker import Broker
from tests.consumers.processes import Process, Processes, processes
from tests.faults.ledgers import caught_up, dump, url
from tests.faults.waiting import until
from tests.postgres import Postgres

pytestmark = pytest.mark.kafka

ROUNDS, SOAK_ROUNDS, ZOMBIES = 20, 200, 20
PARTITIONS = 6
ENTRIES_A_SECOND = 400
MOST_PROCESSES = 3
SESSION_SECONDS = 1.0
FROZEN_SECONDS = 1.7


class Publishing:
    """A thread with a plain producer, which writes the workload at a steady pace."""

    def __init__(self, servers: str, topic: str, seed: int) -> None:
        self._producer = KafkaProducer(bootstrap_servers=servers, acks="all", linger_ms=5)
        self._topic = topic
        self._drafts = Workload(PARTITIONS, seed=seed).drafts(10**9)
        self._stop = threading.Event()
        self.sent = 0
        self._thread = threading.Thread(target=self._run)
        self._thread.start()

    def _run(self) -> None:
        while not self._stop.wait(0.05):
            for one in itertools.islice(self._drafts, int(ENTRIES_A_SECOND * 0.05)):
                self._producer.send(
                    self._topic, one.value, key=one.key, partition=one.partition, headers=list(one.headers)
                )
                self.sent += 1

    def stop(self) -> None:
        """Stop, once all that was sent is recorded."""
        self._stop.set()
        self._thread.join()
        self._producer.flush(60)
        self._producer.close()


@contextmanager
def publishing(servers: str, topic: str, seed: int) -> Iterator[Publishing]:
    publisher = Publishing(servers, topic, seed)
    try:
        yield publisher
    finally:
        publisher.stop()


def killed(fleet: Processes, alive: list[Process], one: Process) -> None:
    """``kill -9``; another is started in its place."""
    one.kill()
    alive.remove(one)
    alive.append(fleet.start())


def frozen(fleet: Processes, alive: list[Process], one: Process) -> None:
    """Stopped beyond its session, while the others go on, and woken: it believes that it still has its partitions."""
    one.send(signal.SIGSTOP)
    time.sleep(FROZEN_SECONDS)  # the session itself
    one.send(signal.SIGCONT)


def joined(fleet: Processes, alive: list[Process], one: Process) -> None:
    """Another joins; where there are too many, one is drained, and must end well."""
    alive.append(fleet.start())
    alive[-1].has_share()
    if len(alive) > MOST_PROCESSES:
        alive.remove(one)
        assert one.drained() == 0, one.path.read_text()


Act = Callable[[Processes, list[Process], Process], None]
ACTS: tuple[Act, ...] = (killed, frozen, joined)


def under_fire(fleet: Processes, acts: list[Act], chance: random.Random) -> None:
    """One act after the other; between them the index must move on. At the end all are drained, and end well."""
    alive = [fleet.start(), fleet.start()]
    for process in alive:
        process.has_share()
    for act in acts:
        before = fleet.indexed()
        act(fleet, alive, chance.choice(alive))
        until(
            lambda before=before: fleet.indexed() > before + ENTRIES_A_SECOND, seconds=60.0, what="an index that moves"
        )


def fought(broker: Broker, folder: Path, index_url: str, acts: list[Act], seed: int) -> Counter[str]:
    """A fleet on a new topic under fire; what was counted. The index must be whole in the end."""
    topic = f"fleet-{folder.name}"
    create_topic(broker.address, topic, partitions=PARTITIONS)
    log_url = f"kafka://{broker.address}/{topic}"
    with processes(folder, log_url, index_url, session_seconds=str(SESSION_SECONDS)) as fleet:
        with publishing(broker.address, topic, seed) as publisher:
            under_fire(fleet, acts, random.Random(seed))
        fleet.caught_up(publisher.sent)
        for process in fleet.all:
            if process.process.poll() is None:
                assert process.drained() == 0, process.path.read_text()
        counted = Counter(act.__name__ for act in acts)
        counted["rounds"], counted["entries"], counted["processes"] = len(acts), publisher.sent, len(fleet.all)
        for process in fleet.all:
            assert process.said("halted") == [], process.path.read_text()
            counted["fenced"] += len(process.said("another indexer was faster"))
    caught_up(log_url, folder / "fresh.db")
    expected, found = dump(folder / "fresh.db"), dump(index_url)
    for name, rows in expected.items():
        assert found[name] == rows, f"{name} is not what a fresh replay has"
    assert len(found["trail"]) == publisher.sent
    print(f"{index_url.partition(':')[0]}: {dict(counted)}")
    return counted


@pytest.fixture(params=["postgres", pytest.param("sqlite", marks=pytest.mark.soak)])
def index_url(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    """An empty index that all processes share; one in SQLite only in the long runs."""
    if request.param == "sqlite":
        return url(tmp_path / "index.db")
    server: Postgres = request.getfixturevalue("postgres")
    return server.new_index()


def some_acts(rounds: int, chance: random.Random) -> list[Act]:
    """As many of each kind, nearly, in any order."""
    acts = [ACTS[number % len(ACTS)] for number in range(rounds)]
    chance.shuffle(acts)
    return acts


def test_a_fleet_under_fire(broker: Broker, tmp_path: Path, index_url: str) -> None:
    """Twenty rounds of kills, zombies and joins: the index is that of a fresh replay."""
    seed = 11
    counted = fought(broker, tmp_path, index_url, some_acts(ROUNDS, random.Random(seed)), seed)
    assert counted["fenced"] > 0
    assert all(counted[act.__name__] >= ROUNDS // len(ACTS) for act in ACTS)


@pytest.mark.soak
def test_zombies_write_nothing(broker: Broker, tmp_path: Path, index_url: str) -> None:
    """Twenty times an indexer sleeps through its session with entries in its hands: it is fenced, none counts twice."""
    counted = fought(broker, tmp_path, index_url, [frozen] * ZOMBIES, 12)
    assert counted["fenced"] > 0


def test_database_and_broker_restart_in_the_middle(own_broker: Broker, own_postgres: Postgres, tmp_path: Path) -> None:
    """Each stopped in order and killed, while two indexers work: they wait, go on, and the index is whole."""
    restarts: list[Act] = [
        lambda *_: own_postgres.restart(),
        lambda *_: own_broker.restart(),
        lambda *_: crashed(own_postgres),
        lambda *_: crashed(own_broker),
    ]
    for number, act in enumerate(restarts):
        act.__name__ = f"restart-{number}"
    fought(own_broker, tmp_path, own_postgres.new_index(), restarts, 14)


def crashed(server: Broker | Postgres) -> None:
    """Killed, and started again."""
    server.kill()
    server.start()


@pytest.mark.soak
@pytest.mark.timeout(3_600)
def test_a_fleet_under_fire_for_long(broker: Broker, tmp_path: Path, index_url: str) -> None:
    """Two hundred rounds."""
    seed = random.randrange(10**6)
    print(f"seed {seed}")
    counted = fought(broker, tmp_path, index_url, some_acts(SOAK_ROUNDS, random.Random(seed)), seed)
    assert counted["fenced"] > 0
