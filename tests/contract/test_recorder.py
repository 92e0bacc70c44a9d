"""The eventsourcing library's own tests of recorders, on ours: SQLite and PostgreSQL.

Left out are its test of factories, which make recorders of kinds that an index doesn't have, and subscriptions, which
SQLite's recorder doesn't have: projections are driven from the log.
"""

from __future__ import annotations

import tempfile
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from uuid import uuid4

import pytest
from eventsourcing.persistence import AggregateRecorder, InfrastructureFactory
from eventsourcing.tests import persistence
from eventsourcing.utils import Environment

from ledger.recorders.address import IndexAddress, index_address, recorder_factory
from ledger.recorders.port import Recorder
from tests.postgres import Postgres

ENVIRONMENT = Environment("pauseledger", {"ORIGINATOR_ID_TYPE": "text"})


class OnSqlite:
    """What the library's cases ask for, on a fresh file."""

    INITIAL_VERSION = 1
    address: IndexAddress

    @pytest.fixture(autouse=True)
    def a_place(self) -> Iterator[None]:
        """A fresh index; all that was opened is closed afterwards."""
        with tempfile.TemporaryDirectory() as folder:
            self.address = Path(folder) / "index.db"
            with self.all_closed():
                yield

    @contextmanager
    def all_closed(self) -> Iterator[None]:
        """Close what was opened inside, once its threads have ended: the library's cases leave some that still ask."""
        self.made: list[InfrastructureFactory] = []
        before = set(threading.enumerate())
        yield
        for thread in set(threading.enumerate()) - before:
            if thread.daemon:  # those of a pool of connections, which end with it
                continue
            thread.join(60.0)
            assert not thread.is_alive()
        for factory in self.made:
            factory.close()

    def create_recorder(self) -> Recorder:
        """A recorder of the index, opened anew."""
        self.made.append(recorder_factory(self.address, ENVIRONMENT))
        recorder = self.made[-1].process_recorder()
        assert isinstance(recorder, Recorder)
        return recorder

    def new_originator_id(self) -> str:
        """The name of a work item that nobody has used."""
        return f"T-{uuid4()}"


class OnPostgres(OnSqlite):
    """The same, in a fresh schema."""

    @pytest.fixture(autouse=True)
    def a_place(self, postgres: Postgres) -> Iterator[None]:
        """A fresh index; all that was opened is closed afterwards."""
        self.address = index_address(postgres.new_index())
        with self.all_closed():
            yield


class Snapshots(OnSqlite):
    """The recorder of an index's snapshots, which is one of aggregates alone."""

    def create_recorder(self) -> AggregateRecorder:  # type: ignore[override]
        """That of the index, whose tables are made first."""
        super().create_recorder()
        return self.made[-1].aggregate_recorder(purpose="snapshots")


class TestSqliteSnapshots(Snapshots, persistence.AggregateRecorderTestCase):
    """Snapshots of work items."""


class TestPostgresSnapshots(Snapshots, OnPostgres, persistence.AggregateRecorderTestCase):
    """Snapshots of work items."""


class TestSqliteApplication(OnSqlite, persistence.ApplicationRecorderTestCase):
    """Notifications."""

    test_insert_subscribe = None


class TestPostgresApplication(OnPostgres, persistence.ApplicationRecorderTestCase):
    """Notifications."""

    EXPECT_CONTIGUOUS_NOTIFICATION_IDS = False


class TestSqliteTracking(OnSqlite, persistence.TrackingRecorderTestCase):
    """Positions."""


class TestPostgresTracking(OnPostgres, persistence.TrackingRecorderTestCase):
    """Positions."""


class TestSqliteProcess(OnSqlite, persistence.ProcessRecorderTestCase):
    """Entries and positions in one transaction."""


class TestPostgresProcess(OnPostgres, persistence.ProcessRecorderTestCase):
    """Entries and positions in one transaction."""


class TestSqliteOrder(OnSqlite, persistence.NonInterleavingNotificationIDsBaseCase):
    """Of what the library's own calls insert, notification ids follow the commits."""


class TestPostgresOrder(OnPostgres, persistence.NonInterleavingNotificationIDsBaseCase):
    """Of what the library's own calls insert, notification ids follow the commits."""
