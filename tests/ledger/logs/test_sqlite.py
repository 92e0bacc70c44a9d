"""The embedded log's own promises: what it syncs, which files it refuses and how, its clock, a full disk, processes."""

from __future__ import annotations

import multiprocessing
import os
import sqlite3
import subprocess
import sys
import tempfile
import threading
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path

import pytest

from ledger.errors import LedgerError, LogChanged, LogUnavailable, UnusableLog
from ledger.log import Draft
from ledger.logs.sqlite import SqliteLog

DRAFT = Draft(0, b"k", b"v" * 400)


def pragma(connection: sqlite3.Connection, name: str) -> object:
    """The value of a pragma on this very connection."""
    return connection.execute(f"PRAGMA {name}").fetchone()[0]


def test_every_connection_syncs_fully_and_writes_ahead(tmp_path: Path) -> None:
    """``synchronous`` is FULL and the journal a WAL, when the file is made and when it is opened again."""
    for _ in range(2):
        with closing(SqliteLog(tmp_path / "log.db")) as log:
            for connection in (log._writer, log._reader):
                assert pragma(connection, "synchronous") == 2
                assert pragma(connection, "journal_mode") == "wal"


def test_a_file_that_lost_its_write_ahead_log_mode_gets_it_back(tmp_path: Path) -> None:
    """Another tool may have changed the journal mode: opening sets it again."""
    path = tmp_path / "log.db"
    SqliteLog(path).close()
    with closing(sqlite3.connect(path)) as other:
        assert other.execute("PRAGMA journal_mode=DELETE").fetchone() == ("delete",)
    with closing(SqliteLog(path, create=False)) as log:
        assert pragma(log._writer, "journal_mode") == "wal"


def test_the_file_says_whose_it_is(tmp_path: Path) -> None:
    """``PRAGMA application_id`` spells paLd, for ``file`` and for people."""
    path = tmp_path / "log.db"
    SqliteLog(path).close()
    with closing(sqlite3.connect(path)) as other:
        assert pragma(other, "application_id") == int.from_bytes(b"paLd")


def test_the_index_may_share_the_file(tmp_path: Path) -> None:
    """Tables of others beside the log's own neither hinder it nor are touched."""
    path = tmp_path / "log.db"
    with closing(SqliteLog(path)) as log, closing(sqlite3.connect(path)) as index:
        index.execute("CREATE TABLE entries (n INTEGER)")
        index.execute("INSERT INTO entries VALUES (1)")
        index.commit()
        log.append([DRAFT])
        assert index.execute("SELECT * FROM entries").fetchall() == [(1,)]
    with closing(SqliteLog(path, create=False)) as log:
        assert log.bounds(0) == (0, 1)


def nothing(path: Path) -> None:
    """Leave nothing at the path."""


def folder(path: Path) -> None:
    """A folder at the path."""
    path.mkdir()


def no_sqlite(path: Path) -> None:
    """A text file."""
    path.write_text("dear diary\n" * 1000)


def empty(path: Path) -> None:
    """A file without a byte."""
    path.touch()


def no_ledger(path: Path) -> None:
    """An SQLite file of another program."""
    with closing(sqlite3.connect(path)) as other:
        other.execute("CREATE TABLE songs (title TEXT)")


def newer(path: Path) -> None:
    """A ledger whose format is one ahead."""
    SqliteLog(path).close()
    with closing(sqlite3.connect(path)) as other:
        other.execute("UPDATE log_identity SET format = format + 1")
        other.commit()


def nameless(path: Path) -> None:
    """A ledger that lost the row that says which it is."""
    SqliteLog(path).close()
    with closing(sqlite3.connect(path)) as other:
        other.execute("DELETE FROM log_identity")
        other.commit()


def damaged(path: Path) -> None:
    """A ledger whose pages after the first are noise."""
    with closing(SqliteLog(path)) as log:
        log.append([DRAFT] * 100)
    content = path.read_bytes()
    path.write_bytes(content[:100] + b"\xa5" * (len(content) - 100))


@pytest.mark.parametrize(
    ("lay", "said", "create"),
    [
        (nothing, "There is no ledger at", False),
        (folder, "is a folder", True),
        (no_sqlite, "is no SQLite file", True),
        (empty, "is empty", False),
        (no_ledger, "is an SQLite file of something else", True),
        (newer, "was made by a newer pauseledger", True),
        (nameless, "doesn't say which ledger it is", True),
        (damaged, "is damaged", True),
    ],
)
def test_a_file_that_is_no_ledger_is_refused_in_one_line(tmp_path: Path, lay: object, said: str, create: bool) -> None:
    """Each kind is told apart, the advice says what to do, and the file stays as it was."""
    assert callable(lay)
    path = tmp_path / "log.db"
    lay(path)
    before = path.read_bytes() if path.is_file() else None
    with pytest.raises(UnusableLog, match=said) as caught:
        SqliteLog(path, create=create)
    assert caught.value.advice
    assert "\n" not in str(caught.value)
    assert (path.read_bytes() if path.is_file() else None) == before


def test_a_folder_that_is_not_there_is_refused(tmp_path: Path) -> None:
    """Folders are never made: a typing error would hide in one."""
    with pytest.raises(UnusableLog, match="There is no folder"):
        SqliteLog(tmp_path / "nowhere" / "log.db")
    assert not (tmp_path / "nowhere").exists()


def test_an_empty_file_becomes_a_ledger_where_one_may_be_made(tmp_path: Path) -> None:
    """What ``mktemp`` leaves, or a creation that was cut short."""
    path = tmp_path / "log.db"
    path.touch()
    with closing(SqliteLog(path, create=True)) as log:
        assert log.bounds(0) == (0, 0)


@contextmanager
def as_somebody_else() -> Iterator[None]:
    """Root ignores modes: be nobody for a while."""
    if os.geteuid() != 0:
        yield
        return
    os.seteuid(65534)
    try:
        yield
    finally:
        os.seteuid(0)


def test_a_file_that_may_not_be_written_is_refused() -> None:
    """A ledger of somebody else: unavailable, with the advice to make it writable."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "log.db"
        SqliteLog(path).close()
        path.chmod(0o444)
        Path(folder).chmod(0o755 if os.geteuid() == 0 else 0o555)
        with as_somebody_else(), pytest.raises(LogUnavailable, match=r"can't be (written|opened)") as caught:
            SqliteLog(path)
        Path(folder).chmod(0o755)
    assert "writable" in caught.value.advice


def test_an_appender_that_is_replaced_on_disk_stops(tmp_path: Path) -> None:
    """Records must not go to a file that has no name any more."""
    path = tmp_path / "log.db"
    with closing(SqliteLog(path)) as log:
        path.rename(tmp_path / "old.db")
        SqliteLog(path).close()
        with pytest.raises(LogChanged, match="moved away or replaced"):
            log.append([DRAFT])


def test_time_stands_still_when_the_clock_steps_back(tmp_path: Path) -> None:
    """``recorded_at`` is the larger of the clock and the last record's, across handles too."""
    path = tmp_path / "log.db"
    for now, expected in ((1000, 1000), (400, 1000), (1000, 1000), (1001, 1001), (5, 1001)):
        with closing(SqliteLog(path, clock=lambda now=now: now)) as log:  # type: ignore[misc]
            assert log.append([DRAFT])[0].result().recorded_at == expected


def test_a_batch_has_one_instant(tmp_path: Path) -> None:
    """One transaction, one look at the clock."""
    ticks = iter(range(100, 200))
    with closing(SqliteLog(tmp_path / "log.db", clock=lambda: next(ticks))) as log:
        assert {future.result().recorded_at for future in log.append([DRAFT] * 5)} == {100}


def test_a_slice_of_large_records_is_cut(tmp_path: Path) -> None:
    """Whatever ``most`` says, a slice stays within some ten megabytes; reading on gives the rest."""
    with closing(SqliteLog(tmp_path / "log.db")) as log:
        for _ in range(12):
            log.append([Draft(0, b"k", bytes(4_000_000))])
        first = log.read(0, 0, most=100)
        assert 0 < len(first.records) < 12
        assert len(log.read(0, first.next_offset, most=100).records) == 12 - len(first.records)


def test_a_text_that_somebody_wrote_into_the_file_is_read_as_bytes(tmp_path: Path) -> None:
    """A row that was changed with SQL, whose value is no blob any more, is a record like any other."""
    path = tmp_path / "log.db"
    with closing(SqliteLog(path)) as log:
        log.append([DRAFT])[0].result()
    with closing(sqlite3.connect(path)) as other:
        other.execute("UPDATE log_records SET key = 'T-7', value = 'changed'")
        other.commit()
    with closing(SqliteLog(path)) as log:
        (record,) = log.read(0, 0, most=1).records
        assert (record.key, record.value) == (b"T-7", b"changed")


def test_a_cut_log_is_noticed(tmp_path: Path) -> None:
    """Rows taken away at the start or at the end show as offsets that are not there."""
    with closing(SqliteLog(tmp_path / "log.db")) as log:
        log.append([DRAFT] * 10)
        log._writer.execute("DELETE FROM log_records WHERE offset IN (0, 1, 9)")
        assert log.bounds(0) == (2, 9)
        for offset in (0, 1, 10):
            with pytest.raises(LogChanged):
                log.read(0, offset, most=1)


FILLS_THE_DISK = """
import sys
from ledger.errors import DiskFailed
from ledger.log import Draft
from ledger.logs.sqlite import SqliteLog
if sys.argv[2] != "0":
    import resource, signal
    signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    resource.setrlimit(resource.RLIMIT_FSIZE, (int(sys.argv[2]), int(sys.argv[2])))
log = SqliteLog(sys.argv[1])
recorded = 0
try:
    while recorded < 100_000:
        recorded = log.append([Draft(0, b"k", bytes(1000))] * 50)[-1].result().offset + 1
except DiskFailed as error:
    print(recorded, log.bounds(0)[1], "\\n" in str(error), error)
"""


def fill(path: Path, limit: int) -> tuple[int, int, str]:
    """Append until the disk is full: records acknowledged, records there, and what was said."""
    done = subprocess.run(
        [sys.executable, "-c", FILLS_THE_DISK, str(path), str(limit)], capture_output=True, text=True, check=True
    )
    recorded, there, _, said = done.stdout.split(" ", 3)
    return int(recorded), int(there), said


def test_a_batch_that_does_not_fit_is_not_recorded_at_all(tmp_path: Path) -> None:
    """Files that may not grow: the error is one line, and what is there is what was acknowledged."""
    recorded, there, said = fill(tmp_path / "log.db", 400_000)
    assert recorded == there > 0
    assert "disk" in said
    with closing(SqliteLog(tmp_path / "log.db")) as log:
        assert log.bounds(0) == (0, recorded)
        log.append([DRAFT])


def test_a_full_disk_is_said_and_leaves_the_ledger_whole(tmp_path: Path) -> None:
    """A real file system of one megabyte; once there is room, the ledger goes on."""
    mounted = subprocess.run(["mount", "-t", "tmpfs", "-o", "size=1m", "none", str(tmp_path)], capture_output=True)
    if mounted.returncode != 0:
        pytest.skip("no file system of a limited size can be mounted here")
    try:
        recorded, there, said = fill(tmp_path / "log.db", 0)
        assert recorded == there > 0
        assert "disk" in said
        assert subprocess.run(["mount", "-o", "remount,size=8m", str(tmp_path)]).returncode == 0
        with closing(SqliteLog(tmp_path / "log.db")) as log:
            assert log.bounds(0) == (0, recorded)
            assert log.append([DRAFT])[0].result().offset == recorded
    finally:
        subprocess.run(["umount", str(tmp_path)], check=True)


def append_many(path: Path, name: bytes, count: int) -> None:
    """What a process of its own does: open, perhaps make, and append one by one and in batches."""
    with closing(SqliteLog(path)) as log:
        for n in range(count):
            log.append([Draft(0, name, b"%d" % (2 * n)), Draft(0, name, b"%d" % (2 * n + 1))])


def test_processes_make_and_fill_one_log_at_once(tmp_path: Path) -> None:
    """Four processes race to make the file and to append: one ledger, every record once, each one's order kept."""
    path = tmp_path / "log.db"
    spawn = multiprocessing.get_context("spawn")
    names = [b"a", b"b", b"c", b"d"]
    processes = [spawn.Process(target=append_many, args=(path, name, 100)) for name in names]
    for process in processes:
        process.start()
    for process in processes:
        process.join()
    assert [process.exitcode for process in processes] == [0] * 4
    with closing(SqliteLog(path, create=False)) as log:
        records = log.read(0, 0, most=1000).records
        assert [record.offset for record in records] == list(range(800))
        for name in names:
            assert [record.value for record in records if record.key == name] == [b"%d" % n for n in range(200)]


def test_threads_that_open_a_new_file_at_once_share_one_ledger(tmp_path: Path) -> None:
    """The switch to the write-ahead log waits for nobody by itself; opening does."""
    found: list[str | LedgerError] = []

    def open_it() -> None:
        try:
            with closing(SqliteLog(tmp_path / "log.db")) as log:
                found.append(log.identity().topic_id)
        except LedgerError as error:
            found.append(error)

    threads = [threading.Thread(target=open_it) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(found) == 8
    assert len(set(found)) == 1
