"""Fixtures for all tests: a real Kafka broker and a real PostgreSQL, started when the first test asks for them."""

from __future__ import annotations

import os
import uuid
import warnings
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TypeVar

import pytest

from tests.broker import Broker, Cluster, NoKafkaError, running_broker, running_cluster
from tests.postgres import NoPostgresError, Postgres, running_postgres

_KAFKAS = (
    # Sockets whose connection was refused, or that it was closing when its thread was ended, and those of TLS.
    (r"unclosed <socket\.socket fd=\d+, family=\d+, type=1, proto=6, ", ResourceWarning),
    ("unclosed <ssl", ResourceWarning),
    (r"(read|open)_text is deprecated", DeprecationWarning),
)
"""What is kafka-python's own doing, and nothing that a test could mend."""


def pytest_configure(config: pytest.Config) -> None:
    """Once for each test, and once for the end of the session, which looks at what is left."""
    for pattern, category in _KAFKAS:
        config.addinivalue_line("filterwarnings", f"ignore:{pattern}:{category.__name__}")
        warnings.filterwarnings("ignore", pattern, category)


@pytest.hookimpl(hookwrapper=True)
def pytest_runtest_makereport(item: pytest.Item) -> Iterator[None]:
    """In CI a skipped test is a failure: there everything that a test needs must have been installed."""
    result = yield
    report = result.get_result()  # type: ignore[attr-defined]
    if os.environ.get("CI") == "true" and report.skipped and not hasattr(report, "wasxfail"):
        report.outcome = "failed"
        report.longrepr = f"{item.nodeid} was skipped in CI: {report.longrepr}"


Started = TypeVar("Started")


def _or_skip(start: Callable[[], Started]) -> Started:
    try:
        return start()
    except (NoKafkaError, NoPostgresError) as error:
        if os.environ.get("CI") == "true":
            raise
        pytest.skip(str(error))


@pytest.fixture(scope="session")
def broker() -> Iterator[Broker]:
    """One broker for the whole session: tests use topics of their own, and neither stop nor kill it."""
    running = running_broker()
    yield _or_skip(running.__enter__)
    running.__exit__(None, None, None)


@pytest.fixture
def own_broker() -> Iterator[Broker]:
    """A broker that the test may stop, freeze and kill."""
    running = running_broker()
    yield _or_skip(running.__enter__)
    running.__exit__(None, None, None)


@pytest.fixture
def cluster() -> Iterator[Cluster]:
    """Three brokers that the test may kill."""
    running = running_cluster(3)
    yield _or_skip(running.__enter__)
    running.__exit__(None, None, None)


@pytest.fixture
def topic(broker: Broker) -> str:
    """The name of a fresh topic on ``broker``, made as a ledger's, with three partitions."""
    from ledger.logs.topic import create_topic

    name = f"ledger-{uuid.uuid4()}"
    create_topic(broker.address, name, partitions=3)
    return name


@pytest.fixture(scope="session")
def postgres() -> Iterator[Postgres]:
    """One PostgreSQL for the whole session: tests use schemas of their own, and neither stop nor kill it."""
    running = running_postgres()
    yield _or_skip(running.__enter__)
    running.__exit__(None, None, None)


@pytest.fixture
def own_postgres() -> Iterator[Postgres]:
    """A PostgreSQL that the test may stop and kill."""
    running = running_postgres()
    yield _or_skip(running.__enter__)
    running.__exit__(None, None, None)


@pytest.fixture(params=["sqlite", "postgres"])
def new_index(request: pytest.FixtureRequest, tmp_path: Path) -> Callable[[], str]:
    """Addresses of indexes that nobody has used, in each database that there may be one."""
    if request.param == "postgres":
        server: Postgres = request.getfixturevalue("postgres")
        return server.new_index
    return lambda: f"sqlite:///{tmp_path}/index-{uuid.uuid4().hex}.db"
