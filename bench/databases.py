"""Reported: a Kafka topic into SQLite and into PostgreSQL, through each client, by one indexer and by two.

Each indexer is a process of its own, which says how long it took and what of a processor's time. Two share the
partitions between them, as a consumer group would share them out.
"""

from __future__ import annotations

import itertools
import json
import os
import statistics
import subprocess
import sys
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

from bench.indexing import PARTITIONS, filled_topic
from bench.ledgers import folder
from bench.rounds import Reported, say
from bench.sizes import Sizes
from tests.broker import NoKafkaError, running_broker
from tests.postgres import NoPostgresError, Postgres, running_postgres

_INDEXER = """
import gc, json, resource, sys, time
from bench.rounds import GC_THRESHOLDS
from consumers.settings import Settings
gc.set_threshold(*GC_THRESHOLDS)
ledger = Settings.read(*sys.argv[1:3]).open()
print("ready", flush=True)
sys.stdin.readline()
before, began = resource.getrusage(resource.RUSAGE_SELF), time.perf_counter()
folded = sum(map(ledger.indexer.catch_up_partition, map(int, sys.argv[3].split(","))))
after = resource.getrusage(resource.RUSAGE_SELF)
cpu = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
print(json.dumps({"seconds": time.perf_counter() - began, "cpu": cpu, "folded": folded}), flush=True)
ledger.close()
"""
_CASES = (("kafka", "sqlite", 1), ("kafka+confluent", "sqlite", 1), ("kafka", "postgres", 1),
          ("kafka+confluent", "postgres", 1), ("kafka", "sqlite", 2), ("kafka", "postgres", 2))  # fmt: skip
_TITLE = "Kafka topic to index, by client, database and number of indexers"


@contextmanager
def _indexer(log_url: str, index_url: str, partitions: Sequence[int]) -> Iterator[subprocess.Popen[str]]:
    command = [sys.executable, "-c", _INDEXER, log_url, index_url, ",".join(map(str, partitions))]
    environment = {**os.environ, "PYTHONPATH": str(Path.cwd())}
    pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE}
    with subprocess.Popen(command, text=True, env=environment, **pipes) as process:  # type: ignore[call-overload]
        assert process.stdout.readline() == "ready\n"
        yield process


def _measured(log_url: str, index_url: str, processes: int, entries: int) -> tuple[float, float]:
    """Entries a second, and processor seconds of all indexers for 100,000 entries."""
    shares = [range(number, PARTITIONS, processes) for number in range(processes)]
    with _all(_indexer(log_url, index_url, share) for share in shares) as running:
        for process in running:
            process.stdin.write("go\n")
            process.stdin.flush()
        told = [json.loads(process.stdout.readline()) for process in running]
    assert sum(one["folded"] for one in told) == entries
    return entries / max(one["seconds"] for one in told), sum(one["cpu"] for one in told) / entries * 100_000


@contextmanager
def _all(processes: Iterator[Any]) -> Iterator[list[Any]]:
    with ExitStack() as stack:
        yield [stack.enter_context(one) for one in processes]


def _new_index(database: str, server: Postgres, place: Path, number: int) -> str:
    return server.new_index() if database == "postgres" else f"sqlite:///{place}/index-{number}.db"


def databases(sizes: Sizes) -> list[Reported]:
    try:
        with running_broker() as broker, running_postgres() as server, folder() as place:
            numbers = itertools.count()
            found: dict[tuple[str, str, int], list[tuple[float, float]]] = {case: [] for case in _CASES}
            with filled_topic(broker, sizes.kafka) as (topic, _):
                for turn in range(sizes.few_rounds):
                    for case in _CASES:
                        client, database, processes = case
                        index = _new_index(database, server, place, next(numbers))
                        log_url = f"{client}://{broker.address}/{topic}"
                        found[case].append(_measured(log_url, index, processes, sizes.kafka))
                        say(f"  databases {turn + 1}/{sizes.few_rounds} {case}: {found[case][-1][0]:.0f} entries/s")
    except (NoKafkaError, NoPostgresError) as error:
        return [Reported("databases", _TITLE, [], skipped=str(error))]
    values = []
    for (client, database, processes), each in found.items():
        name = f"{client} to {database}, {processes} indexer{'s' if processes > 1 else ''}"
        rate, cpu = (statistics.median(column) for column in zip(*each, strict=True))
        values += [(name, rate, "entries/s"), (f"{name}, a processor's time for 100,000 entries", cpu, "s")]
    return [Reported("databases", _TITLE, values, notes={"entries": sizes.kafka, "rounds": sizes.few_rounds})]
