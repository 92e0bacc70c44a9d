"""A publisher in a process that was forked: its threads did not come along, so it says so instead of waiting."""

from __future__ import annotations

import os
import signal
import time
import warnings
from collections.abc import Callable
from pathlib import Path

from consumers.publishing import open_publisher
from ledger.errors import WrongUsage
from ledger.publisher import Publisher
from ledger.runtimes.gate import Gate
from tests.faults.courts import ScriptedCourt
from tests.faults.ledgers import url
from tests.faults.lines import note
from tests.ledger.conftest import Opening

PATIENCE_SECONDS = 10.0


def in_a_child(act: Callable[[], object]) -> str:
    """What became of it in a process that was forked from this one: the name of its error, and its words."""
    reads, writes = os.pipe()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)  # newer Pythons warn of forks of threaded processes
        child = os.fork()
    if child == 0:
        said = "nothing"
        try:
            act()
        except BaseException as error:
            said = f"{type(error).__name__}: {error}"
        finally:
            os.write(writes, said.encode())
            os._exit(0)
    os.close(writes)
    try:
        wait_for(child)
        with os.fdopen(reads, closefd=False) as pipe:
            return pipe.read()
    finally:
        os.close(reads)


def wait_for(child: int) -> None:
    deadline = time.monotonic() + PATIENCE_SECONDS
    while os.waitpid(child, os.WNOHANG)[0] == 0:
        if time.monotonic() > deadline:
            os.kill(child, signal.SIGKILL)
            os.waitpid(child, 0)
            raise AssertionError("the child waits for ever")
        time.sleep(0.01)


def test_a_forked_process_is_told_at_once(opening: Opening) -> None:
    """The child's publishing is refused with what to do; its parent publishes on."""
    publisher = opening()
    assert publisher.publish(note(1)).accepted
    for publish in (
        lambda: publisher.publish(note(2), deadline_seconds=0.5),
        lambda: publisher.submit(note(2)),
        lambda: publisher.submit_all([note(2)]),
        lambda: publisher.waiting,
    ):
        told = in_a_child(publish)
        assert told.startswith("WrongUsage: This publisher is another process's")
        assert "after the fork" in told
    assert publisher.publish(note(3)).accepted


def test_a_forked_process_may_leave_its_block(opening: Opening, court: ScriptedCourt) -> None:
    """A child that closes the parent's publisher, as leaving a with block does, closes nothing and waits for nobody."""
    court.acknowledges = False
    publisher = opening()
    answer = publisher.submit(note(1), deadline_seconds=2 * PATIENCE_SECONDS)
    assert in_a_child(publisher.close) == "nothing"
    court.acknowledge()
    assert answer.result(PATIENCE_SECONDS).accepted


def test_a_forked_process_may_open_its_own(tmp_path: Path) -> None:
    """As the error says: one that the child opens works, on the same log."""
    own, outbox = url(tmp_path / "log.db"), tmp_path / "outbox"

    def opened() -> Publisher:
        return open_publisher(own, outbox=outbox)

    def publish() -> None:
        with opened() as mine:
            assert mine.publish(note(2)).accepted

    with opened() as publisher:
        assert publisher.publish(note(1)).accepted
        assert in_a_child(publish) == "nothing"
        assert publisher.publish(note(3)).entry == "0:2"


def test_a_gate_in_a_forked_process_stays_shut(opening: Opening) -> None:
    """No request of a child is granted by its parent's gate: nothing is done, and it is told why."""
    from tests.ledger.runtimes.test_gate import paused_at

    gate = Gate(opening(), None, source="urn:test")  # type: ignore[arg-type]
    told = in_a_child(lambda: gate.request_resume(paused_at()))
    assert told.startswith(WrongUsage.__name__)
