"""What PostgreSQL has of its own: texts without NUL, a server that goes away, schemas, and passwords."""

from __future__ import annotations

import threading
import time
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from pathlib import Path

import psycopg
import pytest

from ledger.errors import LedgerError, LogUnavailable, UnusableLog, WrongUsage
from ledger.index import Index
from ledger.recorders.address import PostgresAddress, index_address
from ledger.recorders.postgres_server import SETTING_UP
from ledger.recorders.postgres_text import read, register, rows_as_json, stored
from projections.trail import Trail
from tests.faults.ledgers import caught_up, dump, opened, put, url
from tests.faults.lines import line, note
from tests.faults.waiting import until
from tests.postgres import Postgres

ODD = [
    "",
    "T-1",
    "\0",
    "a\0",
    "\0b",
    "\x10",
    "\x100",
    "\x10\0",
    "\0\x10",
    "\x10\x10\x000",
    "é😀\u2028",
    "\\0",
    "\x01\t\n\x7f",
]


@pytest.mark.parametrize("text", ODD)
def test_every_text_comes_back_as_it_was(postgres: Postgres, text: str) -> None:
    """As a parameter, in an array, in a JSON text and through COPY, in both of the protocol's formats."""
    assert read(stored(text)) == text
    with psycopg.connect(postgres.url) as connection:
        register(connection)
        for binary in (False, True):
            [found] = connection.execute("SELECT %s::text, (%s::text[])[1]", (text, [text]), binary=binary).fetchall()
            assert found == (text, text)
        given = rows_as_json([[text, 1]])
        asked = "SELECT value->>0 FROM jsonb_array_elements(%s::jsonb) AS given(value)"
        assert connection.execute(asked, (given,)).fetchall() == [(text,)]
        connection.execute("CREATE TEMP TABLE odd (t text)")
        with connection.cursor() as c, c.copy("COPY odd FROM STDIN (FORMAT BINARY)") as copy:
            copy.set_types(["text"])
            copy.write_row([text])
        assert connection.execute("SELECT t FROM odd").fetchall() == [(text,)]


def test_no_two_texts_are_stored_as_one() -> None:
    """The escape is reversible, so the index can't mistake one work item for another."""
    assert len({stored(text) for text in ODD}) == len(ODD)


def test_odd_work_items_are_the_same_in_both_databases(postgres: Postgres, tmp_path: Path) -> None:
    """Subjects, sources, ids, owners and texts with NULs and escapes in them, row for row."""
    log_url, index = url(tmp_path / "log.db"), postgres.new_index()
    lines = []
    for number, text in enumerate(one for one in ODD if one):
        opens = {"execution": text, "pause": text, "owner": text, "fresh_for": "PT1H"}
        lines += [(text, line("pause.opened", opens, id=text, source=text, subject=text)), (text, note(number, text))]
    with opened(log_url, index) as ledger:
        put(ledger.log, lines * 2)
        assert ledger.indexer.catch_up() == len(lines) * 2
        assert ledger.index.work_item("a\0") is not None
    caught_up(log_url, tmp_path / "index.db")
    assert dump(index) == dump(tmp_path / "index.db")


def test_a_server_that_comes_back_is_used_again(own_postgres: Postgres, tmp_path: Path) -> None:
    """Stopped or killed between two batches: an error says so, then it goes on."""
    log_url, index = url(tmp_path / "log.db"), own_postgres.new_index()
    with opened(log_url, index) as ledger:
        for number, end in enumerate((own_postgres.stop, own_postgres.kill), 1):
            put(ledger.log, [("T-1", note(10 * number + n)) for n in range(5)])
            end()
            with pytest.raises(LogUnavailable, match="PostgreSQL runs"):
                ledger.indexer.catch_up()
            own_postgres.start()
            assert ledger.indexer.catch_up() == 5
    caught_up(log_url, tmp_path / "index.db")
    assert dump(index) == dump(tmp_path / "index.db")


def test_every_connection_of_a_server_that_comes_back_is_a_new_one(own_postgres: Postgres, tmp_path: Path) -> None:
    """Those of the library's pool as well, by which work items are read and alerts are kept."""
    log_url, index = url(tmp_path / "log.db"), own_postgres.new_index()
    with opened(log_url, index) as ledger:
        put(ledger.log, [("T-1", note(1))])
        ledger.indexer.catch_up()
        assert len(list(ledger.index.entries("T-1"))) == 1
        for end in (own_postgres.stop, own_postgres.kill):
            end()
            own_postgres.start()
            began = time.monotonic()
            assert len(list(ledger.index.entries("T-1"))) == 1
            assert ledger.index.recorder.execute([("UPDATE trail SET code = code", ())]) == [1]
            assert time.monotonic() - began < 7


def test_nothing_that_was_committed_is_lost_by_a_crash(own_postgres: Postgres, tmp_path: Path) -> None:
    """What others did because the index said so must stay right."""
    log_url, index = url(tmp_path / "log.db"), own_postgres.new_index()
    with opened(log_url, index) as ledger:
        for number in range(20):
            put(ledger.log, [("T-1", note(number))])
            ledger.indexer.catch_up()
        own_postgres.kill()
        own_postgres.start()
        assert ledger.index.recorder.positions()[0].next_offset == 20


def test_a_rebuild_and_whoever_reads_do_not_wait_for_each_other(postgres: Postgres, tmp_path: Path) -> None:
    """A thread asks for work items all the time while the index is emptied, many times; none is stopped for a lock."""
    log_url, index = url(tmp_path / "log.db"), postgres.new_index()
    with opened(log_url, index) as ledger, opened(log_url, index) as reader:
        failed: list[BaseException] = []
        ends = threading.Event()

        def look() -> None:
            try:
                while not ends.is_set():
                    reader.index.recorder.look(0, ["T-1"], [("T-1", "/s", "e1")])
            except BaseException as error:
                failed.append(error)

        thread = threading.Thread(target=look)
        thread.start()
        for _ in range(30):
            ledger.index.start_over()
        ends.set()
        thread.join()
        assert failed == []


def test_a_server_that_is_not_there_is_said_soon(tmp_path: Path) -> None:
    """Within ten seconds, with what to do, and without the password."""
    began = time.monotonic()
    with (
        pytest.raises(LogUnavailable) as caught,
        opened(url(tmp_path / "l.db"), "postgresql://me:secret@127.0.0.1:1/d"),
    ):
        pass
    assert time.monotonic() - began < 10
    assert "postgresql://me@127.0.0.1:1/d" in str(caught.value)
    assert "secret" not in str(caught.value)


def test_a_schema_of_something_else_is_left_alone(postgres: Postgres, tmp_path: Path) -> None:
    """Tables by our names that are not ours."""
    index = postgres.new_index()
    address = index_address(index)
    assert isinstance(address, PostgresAddress)
    with closing(psycopg.connect(address.conninfo, autocommit=True)) as connection:
        connection.execute(f"CREATE SCHEMA {address.schema}")
        connection.execute(f"CREATE TABLE {address.schema}.trail (bird text)")
    with pytest.raises(UnusableLog, match="something else"), opened(url(tmp_path / "log.db"), index):
        pass


def test_two_ledgers_in_one_database_know_nothing_of_each_other(postgres: Postgres, tmp_path: Path) -> None:
    """Each has its schema."""
    one, other = postgres.new_index(), postgres.new_index()
    for name, index, count in (("a", one, 3), ("b", other, 5)):
        with opened(url(tmp_path / f"{name}.db"), index) as ledger:
            put(ledger.log, [("T-1", note(n)) for n in range(count)])
            assert ledger.indexer.catch_up() == count
    assert [len(dump(index, "trail")["trail"]) for index in (one, other)] == [3, 5]


@pytest.mark.parametrize(
    ("url", "shown"),
    [
        ("postgresql://u:p@h:5/d", "postgresql://u@h:5/d"),
        ("postgres://h/d?sslmode=require&password=p", "postgres://h/d?sslmode=require"),
        ("postgresql:///d?host=/run/postgresql&schema=two", "postgresql:///d?host=/run/postgresql&schema=two"),
    ],
)
def test_an_address_is_shown_without_its_password(url: str, shown: str) -> None:
    """In whichever of the two places it stood."""
    assert str(index_address(url)) == shown


@pytest.mark.parametrize(
    "url", ["postgresql:x", "postgresql://h/d?schema=A", "postgresql://h/d?schema=", "postgresql://[h/d"]
)
def test_what_is_no_address_is_refused(url: str) -> None:
    """With the forms that are."""
    with pytest.raises(WrongUsage):
        index_address(url)


def test_a_database_that_is_not_there_is_not_waited_for(postgres: Postgres, tmp_path: Path) -> None:
    """It won't come by itself: that is for a person to mend."""
    with (
        pytest.raises(LedgerError) as caught,
        opened(url(tmp_path / "l.db"), postgres.url.replace("/postgres", "/none")),
    ):
        pass
    assert isinstance(caught.value, UnusableLog)


def test_who_comes_while_tables_are_made_waits_for_them(postgres: Postgres) -> None:
    """PostgreSQL itself refuses one of two who make what is named alike, even where they say IF NOT EXISTS."""
    address = index_address(postgres.new_index())
    assert isinstance(address, PostgresAddress)
    Index(address, [Trail()]).close()
    with psycopg.connect(postgres.url, autocommit=True) as maker, ThreadPoolExecutor(1) as threads:
        maker.execute(f"SET search_path TO {address.schema}".encode())
        maker.execute("DROP TABLE stored_snapshots")
        maker.execute("SELECT pg_advisory_lock(%s)", (SETTING_UP,))
        maker.execute("BEGIN; CREATE TABLE stored_snapshots (LIKE stored_events)")
        comes = threads.submit(Index, address, [Trail()])
        waiting = "SELECT count(*) FROM pg_locks WHERE NOT granted AND %s = ANY(pg_blocking_pids(pid))"
        until(lambda: maker.execute(waiting, (maker.info.backend_pid,)).fetchone() != (0,))
        maker.execute("COMMIT")
        maker.execute("SELECT pg_advisory_unlock(%s)", (SETTING_UP,))
        with closing(comes.result()) as index:
            assert index.recorder.positions() == {}
