"""Figures: publishing to the embedded log, a whole file and one event at a time, durable and with verdicts."""

from __future__ import annotations

import itertools
import os
import sqlite3
import subprocess
import sys
from pathlib import Path

from bench.ledgers import folder, now
from bench.plain import cases, save_one_by_one
from bench.rounds import Figure, in_turns, rates, seconds
from bench.sizes import Sizes
from bench.workload import Workload
from consumers.publishing import open_publisher

COMMAND = [sys.executable, "-c", "from consumers.cli.app import main; main()"]
"""``pauseledger`` of the code that is measured, installed or not."""


def lines(count: int) -> list[bytes]:
    """So many events for a fresh embedded log, one JSON a line."""
    return [draft.value or b"" for draft in Workload(start=now()).drafts(count)]


def command(folder: Path, log: Path, *arguments: str) -> float:
    """The seconds of one whole ``pauseledger`` process on an embedded ledger."""
    environment = {**os.environ, "PAUSELEDGER_LOG": f"sqlite:///{log}", "PYTHONPATH": str(Path.cwd())}
    environment.pop("PAUSELEDGER_INDEX", None)

    def run() -> None:
        done = subprocess.run(
            [*COMMAND, *arguments], stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, cwd=folder, env=environment
        )
        if done.returncode != 0:
            raise RuntimeError(f"pauseledger {arguments[0]} failed: {done.stderr.decode()[-500:]}")

    return seconds(run)


def publish_file(sizes: Sizes) -> list[Figure]:
    published = lines(sizes.publish)
    texts = [line.decode() for line in published[: sizes.saved]]
    with folder() as place:
        names = itertools.count()
        file = place / "events.jsonl"
        file.write_bytes(b"\n".join(published) + b"\n")

        def saved() -> float:
            with cases(place / f"cases-{next(names)}.db") as app:
                return seconds(lambda: save_one_by_one(app, texts))

        ours, theirs = in_turns(
            "publish-file",
            lambda: command(place, place / f"ledger-{next(names)}.db", "publish", str(file), "--json"),
            saved,
            sizes.rounds,
        )
    return [
        Figure(
            name="publish-file",
            title="Embedded: publish a file",
            unit="entries/s",
            ours="pauseledger publish FILE --json, the whole process",
            theirs="eventsourcing: Application.save, one event at a time, SQLite, default settings",
            target=4.0,
            at_least=True,
            ours_each=rates(ours, sizes.publish),
            theirs_each=rates(theirs, sizes.saved),
            notes={"entries": sizes.publish, "saved": sizes.saved},
        )
    ]


def _insert_one_by_one(path: Path, values: list[bytes]) -> float:
    connection = sqlite3.connect(path, isolation_level=None)
    try:
        connection.execute("PRAGMA journal_mode=WAL")
        connection.execute("PRAGMA synchronous=FULL")
        connection.execute("CREATE TABLE records (number INTEGER PRIMARY KEY, value BLOB)")

        def run() -> None:
            for value in values:
                connection.execute("INSERT INTO records (value) VALUES (?)", (value,))

        return seconds(run)
    finally:
        connection.close()


def _publish_one_by_one(place: Path, number: int, values: list[bytes]) -> float:
    """The first event opens the ledger and is not counted."""
    log = f"sqlite:///{place}/ledger-{number}.db"
    with open_publisher(log, index_url=log, outbox=place / f"outbox-{number}") as publisher:
        publisher.publish(values[0])

        def run() -> None:
            for value in values[1:]:
                publisher.publish(value)

        return seconds(run)


def publish_one(sizes: Sizes) -> list[Figure]:
    values = lines(sizes.one_by_one + 1)
    with folder() as place:
        names = itertools.count()
        ours, theirs = in_turns(
            "publish-one",
            lambda: _publish_one_by_one(place, next(names), values),
            lambda: _insert_one_by_one(place / f"bare-{next(names)}.db", values[1:]),
            sizes.rounds,
        )
    return [
        Figure(
            name="publish-one",
            title="Embedded: one event, durable, with its verdict",
            unit="entries/s",
            ours="Publisher.publish, each waited for",
            theirs="sqlite3: one INSERT a transaction, WAL, synchronous=FULL, same disk",
            target=0.35,
            at_least=True,
            ours_each=rates(ours, sizes.one_by_one),
            theirs_each=rates(theirs, sizes.one_by_one),
            notes={"entries": sizes.one_by_one},
        )
    ]
