"""A database set up not to sync, or one that failed over, loses its newest batches until they are folded again.

What was read meanwhile is no truth.
"""

from __future__ import annotations

import threading
from contextlib import closing
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import psycopg
import pytest

from consumers.alerts.store import AlertStore
from consumers.alerts.sweep import Sweep
from consumers.decisions import open_job
from consumers.settings import Ledger, Settings
from ledger.index import Index
from ledger.log import Log
from ledger.times import format_instant
from tests.broker import Broker
from tests.consumers.emitting import ALL, check, drive
from tests.faults.ledgers import put, url
from tests.faults.lines import DANA, line, opened
from tests.postgres import Postgres

FRESH_SECONDS = 2.0


@pytest.fixture
def forgetful(own_postgres: Postgres) -> Postgres:
    """A database whose administrator let it answer before it syncs, and that is in no hurry to do so."""
    with psycopg.connect(own_postgres.url, autocommit=True) as connection:
        connection.execute("ALTER SYSTEM SET synchronous_commit = off")
        connection.execute("ALTER SYSTEM SET wal_writer_delay = '10s'")
    own_postgres.restart()
    return own_postgres


def say(log: Log, number: int, name: str, **data: Any) -> None:
    """Record an event of T-1."""
    put(log, [("T-1", line(name, data, id=f"e-{number}", subject="T-1", actor=DANA))])


def crashed(postgres: Postgres) -> None:
    postgres.kill()
    postgres.start()


def synced(postgres: Postgres) -> None:
    """All that was committed so far survives a crash."""
    with psycopg.connect(postgres.url, autocommit=True) as connection:
        connection.execute("CHECKPOINT")


def stand(index: Index) -> int:
    return sum(position.next_offset for position in index.recorder.positions().values())


def folded_again(ledger: Ledger) -> None:
    ledger.indexer.forget()
    ledger.indexer.catch_up()


@pytest.mark.kafka
def test_the_emitter_takes_no_lost_batch_for_a_gap(broker: Broker, topic: str, forgetful: Postgres) -> None:
    """What it had seen indexed is gone when it reads on: it waits until it is there again, and leaves nothing out."""
    settings = Settings.read(f"kafka://{broker.address}/{topic}", forgetful.new_index())
    with closing(settings.open()) as other, closing(open_job(settings)) as job:
        job.take(ALL)
        say(other.log, 1, "pause.opened", **opened("p"))
        other.indexer.catch_up()
        drive(job, settings)
        places = {one: part.place for one, part in job._lines.items()}
        synced(forgetful)
        say(other.log, 2, "note.added", text="hm")
        other.indexer.catch_up()
        ends = job._indexed()
        crashed(forgetful)
        assert stand(other.index) == 1 < sum(ends.values())
        assert job._emit(ends) == 0
        assert {one: part.place for one, part in job._lines.items()} == places
        job._lines[next(one for one, end in ends.items() if end)].generation = None  # as one that has just begun
        folded_again(other)
        drive(job, settings)
    check(settings)


def test_the_watcher_tells_nothing_of_a_lost_heartbeat(
    forgetful: Postgres, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What made a pause fresh again was indexed and is lost: its old deadline is no alert."""
    settings = Settings.read(url(tmp_path / "log.db"), forgetful.new_index())
    with closing(settings.open(create=True)) as other, closing(settings.open()) as watching:
        until = datetime.now(UTC) + timedelta(seconds=FRESH_SECONDS)
        here = {"execution": "run-1", "pause": "p1"}
        say(other.log, 1, "pause.opened", **opened("p1", fresh_until=format_instant(until)))
        other.indexer.catch_up()
        store = AlertStore(watching.index)
        sweep = Sweep(watching, store, grace=timedelta(0))
        synced(forgetful)
        say(other.log, 2, "inputs.rechecked", **here, fresh_for="P1D")
        other.indexer.catch_up()
        threading.Event().wait(max(0.0, (until - datetime.now(UTC)).total_seconds() + 0.2))
        passed_until = sweep._passed_until

        def crash_first(*asked: Any) -> datetime:
            crashed(forgetful)
            return passed_until(*asked)

        monkeypatch.setattr(sweep, "_passed_until", crash_first)
        found = sweep.run({0}, [])
        assert stand(watching.index) == 1
        assert (list(found.alerts), found.complete) == ([], False)
        monkeypatch.setattr(sweep, "_passed_until", passed_until)
        folded_again(other)
        found = sweep.run({0}, [])
        assert (list(found.alerts), found.complete) == ([], True)
