"""The reader behind a gate: nobody waits for longer than he said, and nobody waits for what can't come any more."""

from __future__ import annotations

import os
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from consumers import gates
from consumers.gates import LedgerReader
from consumers.settings import Settings
from ledger.errors import LogUnavailable, WrongUsage
from tests.faults.ledgers import url
from tests.faults.waiting import until


class Stuck:
    """A log that gives no answer until it is let go."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.reading = threading.Event()
        self.go_on = threading.Event()
        monkeypatch.setattr(LedgerReader, "_caught_up", self._caught_up)

    def _caught_up(self, *_: object) -> None:
        self.reading.set()
        assert self.go_on.wait(30)


@pytest.fixture
def stuck(monkeypatch: pytest.MonkeyPatch) -> Iterator[Stuck]:
    log = Stuck(monkeypatch)
    yield log
    log.go_on.set()


def reader_on(folder: Path, seconds: float) -> LedgerReader:
    return LedgerReader(Settings.read(url(folder / "log.db"), None), seconds=seconds)


def asked(reader: LedgerReader) -> tuple[threading.Thread, list[Exception]]:
    """One who asks and waits, and the error that he got."""
    errors: list[Exception] = []

    def ask() -> None:
        try:
            reader.item("T-1")
        except Exception as error:
            errors.append(error)

    thread = threading.Thread(target=ask)
    thread.start()
    return thread, errors


def test_what_waits_is_bounded(tmp_path: Path, stuck: Stuck, monkeypatch: pytest.MonkeyPatch) -> None:
    """While a log hangs, so many questions wait and no more: the next is told so at once, not after its deadline."""
    monkeypatch.setattr(gates, "_WAITING", 2)
    reader = reader_on(tmp_path, 30)
    first = asked(reader)
    assert stuck.reading.wait(20)
    waiting = [asked(reader) for _ in range(2)]
    until(reader._questions.full)
    with pytest.raises(LogUnavailable, match="2 questions wait"):
        reader.item("T-1")
    stuck.go_on.set()
    for thread, errors in (first, *waiting):
        thread.join(20)
        assert errors == []
    reader.close()
    assert not reader._thread.is_alive()


def test_closing_waits_for_no_room(tmp_path: Path, stuck: Stuck, monkeypatch: pytest.MonkeyPatch) -> None:
    """Closed while a log hangs and the queue is full: it returns, those who wait are told, and the thread ends."""
    monkeypatch.setattr(gates, "_WAITING", 1)
    monkeypatch.setattr(gates, "_CLOSING_SECONDS", 0.01)
    reader = reader_on(tmp_path, 30)
    first = asked(reader)
    assert stuck.reading.wait(20)
    thread, errors = asked(reader)
    until(reader._questions.full)
    reader.close()
    stuck.go_on.set()
    first[0].join(20)
    thread.join(20)
    assert [str(error).split(".")[0] for error in errors] == ["This reader of the ledger is closed"]
    reader._thread.join(20)
    assert not reader._thread.is_alive()


def test_a_closed_reader_says_so(tmp_path: Path) -> None:
    """It is asked after its end: the answer comes at once."""
    reader = reader_on(tmp_path, 30)
    assert reader.item("T-1") is None
    reader.close()
    reader.close()
    with pytest.raises(LogUnavailable, match="closed"):
        reader.item("T-1")


def test_a_forked_reader_says_so_at_once(tmp_path: Path) -> None:
    """Its thread did not come along: nobody waits for it, and closing it leaves the parent's as it was."""
    reader = reader_on(tmp_path, 30)
    assert reader.item("T-1") is None
    child = os.fork()
    if child == 0:
        try:
            reader._questions.mutex.acquire()  # as another thread of the parent may have it at that moment
            reader.item("T-1")
        except WrongUsage as error:
            reader.close()
            os._exit(7 if "fork" in str(error) else 1)
        finally:
            os._exit(2)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 7
    assert reader.item("T-1") is None
    reader.close()
