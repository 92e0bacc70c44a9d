"""No broker where one was expected: said in time, in one line, and with nothing left behind."""

from __future__ import annotations

import subprocess
import sys
import threading
import time

import pytest

from ledger.errors import LogUnavailable
from ledger.log import Draft
from ledger.logs.confluent import ConfluentLog
from ledger.logs.kafka import KafkaLog
from ledger.logs.topic import create_topic
from tests.broker import Broker, free_port
from tests.faults.waiting import until

pytestmark = pytest.mark.kafka


def test_a_broker_that_is_not_there_is_said_within_the_timeout() -> None:
    """Also that no thread stays behind to knock on."""
    threads = threading.active_count()
    started = time.monotonic()
    with pytest.raises(LogUnavailable, match="within 1 s"):
        KafkaLog(f"127.0.0.1:{free_port()}", "ledger", timeout_seconds=1)
    assert time.monotonic() - started < 10
    assert threading.active_count() <= threads


@pytest.mark.parametrize("scheme", ["kafka", "kafka+confluent"])
@pytest.mark.parametrize("servers", ["127.0.0.1:{port}", "no-such-host.invalid:9092"])
def test_nothing_but_our_one_line_reaches_the_terminal(servers: str, scheme: str) -> None:
    """The client's own log stays away from stderr."""
    url = f"{scheme}://{servers.format(port=free_port())}/ledger"
    code = (
        "import sys; from ledger.errors import LedgerError; from ledger.logs.address import open_log\n"
        f"try: open_log({url!r}, timeout_seconds=1)\n"
        "except LedgerError as error: sys.exit(str(error))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60)
    assert done.returncode == 1
    assert done.stdout == ""
    assert done.stderr.startswith("No Kafka broker at")
    assert len(done.stderr.splitlines()) == 1


@pytest.mark.parametrize("kind", [KafkaLog, ConfluentLog])
def test_who_closes_waits_for_nothing(own_broker: Broker, kind: type[KafkaLog]) -> None:
    """What is under way stays open, nothing is raised, and no thread goes on with it."""
    create_topic(own_broker.address, "ledger", partitions=1)
    threads = threading.active_count()
    log = kind(own_broker.address, "ledger", timeout_seconds=1)
    log.append([Draft(0, b"k", b"0")])[0].result(60)
    own_broker.pause()
    (future,) = log.append([Draft(0, b"k", b"1")])
    log.close()
    assert not future.done()
    until(lambda: threading.active_count() <= threads, what="the end of its threads")
