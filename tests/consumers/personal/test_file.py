"""The key store in a file: private, and without a byte of what was destroyed, in itself and in its write-ahead log."""

from __future__ import annotations

import os
import sqlite3
import stat
import subprocess
import sys
from contextlib import closing
from pathlib import Path

import pytest

from consumers.personal.opening import key_store
from consumers.personal.sqlite_database import SqliteDatabase
from consumers.personal.wrapping import read_store_key
from consumers.settings import Settings
from ledger.errors import LogUnavailable, UnusableLog, WrongUsage
from tests.consumers.personal.stores import OTHER_STORE_KEY, STORE_KEY, files_of, settings, store
from tests.faults.ledgers import url

MANY = 120


def test_the_file_is_its_owner_s(tmp_path: Path) -> None:
    """Made so, whatever the umask; one that others can read is refused, with what to do."""
    former = os.umask(0)
    try:
        with closing(store(tmp_path)) as one:
            one.key_for("user:anna", "T-1")
            modes = {stat.S_IMODE(path.stat().st_mode) for path in tmp_path.glob("keys.db*")}
    finally:
        os.umask(former)
    assert modes == {0o600}
    (tmp_path / "keys.db").chmod(0o640)
    with closing(store(tmp_path)) as one, pytest.raises(UnusableLog, match="chmod 600"):
        one.key_for("user:anna", "T-1")


def test_names_are_nowhere_in_it(tmp_path: Path) -> None:
    """It finds a data subject by a keyed digest: who has a copy can't read who is in it."""
    with closing(store(tmp_path)) as one:
        one.key_for("user:annabel", "T-1")
        assert b"annabel" not in files_of(tmp_path / "keys.db")
        one.destroy("user:annabel", by="role:dpo", reason="asked")
        assert b"annabel" not in files_of(tmp_path / "keys.db")


def test_no_byte_of_a_destroyed_key_is_left(tmp_path: Path) -> None:
    """Neither in the file nor in its write-ahead log, while others have it open; the other keys are all there."""
    path = tmp_path / "keys.db"
    with closing(store(tmp_path)) as one, closing(store(tmp_path)) as other:
        keys = [one.key_for(f"user:{number}", "T-1").secret for number in range(50)]
        other.key_for("user:7", "T-2")
        assert all(key in files_of(path) for key in keys)  # the search finds what is there
        one.destroy("user:7", by="role:dpo", reason="asked")
        left = files_of(path)
        assert [number for number, key in enumerate(keys) if key not in left] == [7]
        assert not any(keys[7][at : at + 8] in left for at in range(0, 57, 8))
        assert path.with_name("keys.db-wal").stat().st_size == 0


def test_among_many_that_come_and_go_and_are_wrapped_anew_nothing_is_left(tmp_path: Path) -> None:
    """Rows that grow, shrink and move leave no copy of a key behind, nor of what a former store key wrapped."""
    path = tmp_path / "keys.db"
    with closing(store(tmp_path)) as one:
        keys = [one.key_for(f"user:{number}", f"T-{number}").secret for number in range(MANY)]
        for number in range(0, MANY, 2):
            one.destroy(f"user:{number}", by="role:dpo", reason="asked " * (number % 60))
        left = files_of(path)
        assert [number for number, key in enumerate(keys) if key in left] == [*range(1, MANY, 2)]
        one.rewrap(read_store_key(STORE_KEY))
        assert not any(key[:8] in files_of(path) or key[-8:] in files_of(path) for key in keys)
        with closing(sqlite3.connect(path)) as raw:
            wrapped = [secret for (secret,) in raw.execute("SELECT secret FROM personal_keys WHERE secret NOT NULL")]
        assert len(wrapped) == MANY // 2
        one.rewrap(read_store_key(OTHER_STORE_KEY))
        assert not any(secret in files_of(path) for secret in wrapped)


def test_wrapped_no_key_lies_open_and_the_former_wrapping_goes(tmp_path: Path) -> None:
    """With a store key the file has no key as it is; wrapped anew, what the former store key wrapped is gone."""
    path = tmp_path / "keys.db"
    with closing(store(tmp_path)) as one:
        key = one.key_for("user:anna", "T-1").secret
        assert key in files_of(path)
        one.rewrap(read_store_key(STORE_KEY))
        assert key not in files_of(path)
    with closing(store(tmp_path, None, STORE_KEY)) as one:
        assert one.key_for("user:anna", "T-1").secret == key
        one.rewrap(None)
    with closing(store(tmp_path)) as one:
        assert one.key_for("user:anna", "T-1").secret == key


def test_a_reader_that_stays_is_told_of_and_the_next_run_cleans_up(tmp_path: Path) -> None:
    """The key is destroyed all the same; run again when the reader has gone, its bytes go too."""
    path = tmp_path / "keys.db"
    with closing(store(tmp_path)) as one:
        key = one.key_for("user:anna", "T-1").secret
    with closing(sqlite3.connect(path, isolation_level=None)) as reader, closing(store(tmp_path)) as one:
        one._open_database = lambda: SqliteDatabase(path, create=False, busy_seconds=0.1)
        reader.execute("BEGIN")
        reader.execute("SELECT * FROM personal_keys").fetchall()
        with pytest.raises(LogUnavailable, match="Run the same command again"):
            one.destroy("user:anna", by="role:dpo", reason="asked")
        with pytest.raises(WrongUsage, match="forgotten"):
            one.key_for("user:anna", "T-1")
        reader.execute("COMMIT")
        one.destroy("user:anna", by="role:dpo", reason="asked")
        assert key not in files_of(path)


@pytest.mark.parametrize(
    ("make", "says"),
    [
        (lambda path: path.mkdir(), "is a folder"),
        (lambda path: path.write_bytes(b"no database" * 100), "no SQLite file"),
        (lambda path: sqlite3.connect(path).execute("CREATE TABLE x (y)").connection.close(), "something else"),
    ],
    ids=["a folder", "no database", "another database"],
)
def test_what_is_no_key_store_is_left_alone(tmp_path: Path, make: object, says: str) -> None:
    """Each is told apart, and nothing is written there."""
    path = tmp_path / "keys.db"
    make(path)  # type: ignore[operator]
    path.chmod(0o700 if path.is_dir() else 0o600)
    before = None if path.is_dir() else path.read_bytes()
    with closing(store(tmp_path)) as one, pytest.raises(UnusableLog, match=says):
        one.key_for("user:anna", "T-1")
    assert path.is_dir() or path.read_bytes() == before


def test_a_folder_that_is_not_there_is_named(tmp_path: Path) -> None:
    """It is not made: a typo would put the keys anywhere."""
    with (
        closing(store(tmp_path, url(tmp_path / "no" / "keys.db"))) as one,
        pytest.raises(UnusableLog, match="no folder"),
    ):
        one.key_for("user:anna", "T-1")


def test_a_file_that_was_moved_or_replaced_is_not_written_to(tmp_path: Path) -> None:
    """What comes next goes to the one that lies there now; one that is gone is not made again behind one's back."""
    path, aside = tmp_path / "keys.db", tmp_path / "aside.db"
    with closing(store(tmp_path)) as one:
        key = one.key_for("user:anna", "T-1")
        path.rename(aside)
        with pytest.raises(LogUnavailable, match="moved or replaced"):
            one.key_for("user:bob", "T-1")
        with pytest.raises(UnusableLog, match="no key store"):
            one.key_for("user:bob", "T-1")
        assert not path.exists()
        aside.rename(path)
        assert one.key_for("user:anna", "T-1").secret == key.secret


def test_whoever_only_reads_makes_none(tmp_path: Path) -> None:
    """A typo is told, where an empty key store would say that everybody is unknown."""
    with closing(key_store(settings(tmp_path))) as one, pytest.raises(UnusableLog, match="no key store"):
        one.key_named("0" * 32)
    assert not (tmp_path / "keys.db").exists()


def test_keys_never_lie_with_what_they_seal(tmp_path: Path) -> None:
    """The file of the log or of the index is refused, also by another name; so is an address that is none."""
    (tmp_path / "link.db").symlink_to(tmp_path / "log.db")
    for keys in ("log.db", "link.db", "index.db"):
        chosen = Settings.read(url(tmp_path / "log.db"), url(tmp_path / "index.db"), personal_keys=url(tmp_path / keys))
        with pytest.raises(WrongUsage, match="file of the log or the index"):
            key_store(chosen)
    with pytest.raises(WrongUsage, match="PAUSELEDGER_PERSONAL_KEYS"):
        key_store(Settings.read(url(tmp_path / "log.db"), personal_keys="keys.db"))


_FILL = """
import resource, signal, sys
from pathlib import Path
from ledger.errors import LedgerError
from tests.consumers.personal.stores import store
signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
opened = store(Path(sys.argv[1]))
first = opened.key_for("user:0", "T-0")
limit = int(sys.argv[2])
resource.setrlimit(resource.RLIMIT_FSIZE, (limit, limit))
made = 0
try:
    for made in range(1, 10_000):
        opened.key_for(f"user:{made}", "T-0")
except LedgerError as error:
    print(type(error).__name__, made)
"""


def test_a_full_disk_is_said_and_every_key_that_was_given_out_is_kept(tmp_path: Path) -> None:
    """Where a key can't be kept it isn't used: what it seals could never be read."""
    command = [sys.executable, "-c", _FILL, str(tmp_path), str(256 * 1024)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=120, check=True)
    kind, made = done.stdout.split()
    assert kind == "DiskFailed"
    assert int(made) > 1
    with closing(store(tmp_path)) as one, closing(sqlite3.connect(tmp_path / "keys.db")) as raw:
        before = raw.execute("SELECT count(*) FROM personal_keys").fetchone()[0]
        for number in range(int(made)):
            one.key_for(f"user:{number}", "T-0")
        assert raw.execute("SELECT count(*) FROM personal_keys").fetchone()[0] == before
