"""Fixtures for all tests: a real Kafka broker, started when the first test asks for it, and a fresh topic each."""

from __future__ import annotations

import os
import uuid
from collections.abc import Callable, Iterator
from typing import TypeVar

import pytest

from tests.broker import Broker, Cluster, NoKafkaError, running_broker, running_cluster


def pytest_configure(config: pytest.Config) -> None:
    """kafka-python 3.0 uses what Python 3.11 deprecates, and leaves sockets open whose connection was refused."""
    never_connected = r"unclosed <socket\.socket fd=\d+, family=\d+, type=1, proto=6, laddr=\('0\.0\.0\.0', \d+\)>"
    config.addinivalue_line("filterwarnings", f"ignore:{never_connected}:ResourceWarning")
    config.addinivalue_line("filterwarnings", "ignore:(read|open)_text is deprecated:DeprecationWarning")


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
    except NoKafkaError as error:
        if os.environ.get("CI") == "true":
            raise
        pytest.skip(f"no Kafka broker: {error}")


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
