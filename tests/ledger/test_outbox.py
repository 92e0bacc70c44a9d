"""The outbox keeps facts until the log has them, across processes, for each log its own."""

from __future__ import annotations

import sqlite3
import threading
from pathlib import Path

import pytest

from ledger.errors import LedgerError
from ledger.outbox import Outbox
from ledger.record import Headers

HEADERS: Headers = (("content-type", b"application/cloudevents+json"), ("x", b"\x00\xff"))


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "facts.outbox"


def test_what_is_put_is_kept_byte_for_byte(path: Path) -> None:
    """Subject, value and headers, also where there is no subject, in the order they were put."""
    facts = [("T-1", b"\x00\xff{}", HEADERS), (None, b"", ()), ("", b"[]", HEADERS)]
    outbox = Outbox(path, "log")
    numbers = outbox.put(facts)
    outbox.close()
    again = Outbox(path, "log")
    assert [(one.number, *one[1:]) for one in again.waiting(10)] == [
        (number, *fact) for number, fact in zip(numbers, facts, strict=True)
    ]
    again.close()


def test_no_file_is_made_before_the_first_fact(path: Path) -> None:
    """Looking into an outbox leaves no trace."""
    outbox = Outbox(path, "log")
    assert (len(outbox), list(outbox.waiting(5))) == (0, [])
    outbox.remove([1])
    outbox.close()
    assert not path.exists()


def test_facts_are_removed_by_their_numbers(path: Path) -> None:
    """Only those named; a number that is gone already does no harm."""
    outbox = Outbox(path, "log")
    numbers = outbox.put(("T-1", b"%d" % n, ()) for n in range(5))
    outbox.remove([numbers[1], numbers[3], 9_999])
    outbox.remove([numbers[1]])
    assert [one.value for one in outbox.waiting(10)] == [b"0", b"2", b"4"]
    assert [one.value for one in outbox.waiting(2)] == [b"0", b"2"]
    assert [one.value for one in outbox.waiting(10, after=numbers[0])] == [b"2", b"4"]
    outbox.close()


def test_each_log_has_its_own(path: Path) -> None:
    """A fact is never sent to another log than the one it was meant for."""
    first, second = Outbox(path, "kafka://a:1/x"), Outbox(path, "kafka://a:1/y")
    first.put([("T-1", b"x", ())])
    second = Outbox(path, "kafka://a:1/y")
    second.put([("T-1", b"y", ()), ("T-1", b"yy", ())])
    assert (len(first), len(second)) == (1, 2)
    assert [one.value for one in first.waiting(9)] == [b"x"]
    first.close()
    second.close()


def test_threads_and_handles_share_a_file(path: Path) -> None:
    """Eight writers on two handles: everything is there once, under its own number."""
    handles = [Outbox(path, "log"), Outbox(path, "log")]
    handles[0].put([("T-1", b"first", ())])

    def put(name: int) -> None:
        for number in range(20):
            handles[name % 2].put([("T-1", b"%d-%d" % (name, number), ())])

    threads = [threading.Thread(target=put, args=(name,)) for name in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    found = handles[0].waiting(1_000)
    assert len({one.number for one in found}) == len({one.value for one in found}) == 161
    for handle in handles:
        handle.close()


def test_it_is_synced_fully(path: Path) -> None:
    """What survives a power cut was synced: the connection says so, and writes ahead."""
    outbox = Outbox(path, "log")
    outbox.put([("T-1", b"x", ())])
    assert outbox._connection is not None
    assert outbox._connection.execute("PRAGMA synchronous").fetchone() == (2,)
    assert outbox._connection.execute("PRAGMA journal_mode").fetchone() == ("wal",)
    outbox.close()


def test_a_file_of_something_else_is_told_apart(path: Path) -> None:
    """Noise at its path is an error in one line, which names the file as the outbox."""
    path.write_bytes(b"no database at all " * 100)
    with pytest.raises(LedgerError, match="outbox") as caught:
        Outbox(path, "log")
    assert "PAUSELEDGER_LOG" not in str(caught.value)


def test_a_folder_that_is_not_there_is_told_when_it_matters(tmp_path: Path) -> None:
    """The file is made with the first fact, and so is the error."""
    outbox = Outbox(tmp_path / "nowhere" / "facts.outbox", "log")
    with pytest.raises(LedgerError, match="outbox"):
        outbox.put([("T-1", b"x", ())])
    assert len(outbox) == 0


def test_a_lock_held_by_somebody_else_is_waited_for(path: Path) -> None:
    """Another process's write of a moment is no error."""
    outbox = Outbox(path, "log")
    outbox.put([("T-1", b"x", ())])
    other = sqlite3.connect(path, isolation_level=None, check_same_thread=False)
    other.execute("BEGIN IMMEDIATE")
    ends = threading.Timer(0.3, other.execute, ("COMMIT",))
    ends.start()
    outbox.put([("T-1", b"y", ())])
    ends.join()
    other.close()
    assert len(outbox) == 2
    outbox.close()
