"""The index holds what the fold says: at every version, with snapshots or without, however it was written."""

from __future__ import annotations

import json
import threading
from collections.abc import Callable, Iterator
from contextlib import closing
from datetime import timedelta
from pathlib import Path

import pytest

from consumers.settings import Ledger, Settings
from ledger import index as index_module
from ledger.batch import ItemCache
from ledger.errors import Fenced, LedgerError, UnusableLog
from ledger.packet import WorkItem
from ledger.recorders.port import Position
from tests.faults.ledgers import caught_up, dump, folded, opened, put, url
from tests.faults.lines import day, line, note
from tests.vectors import read_vectors

EMPTIED = ("trail", "decisions", "index_positions", "index_firsts", "stored_events")
VECTORS = sorted((Path(__file__).parents[2] / "docs" / "vectors").glob("*.json"))


@pytest.fixture
def ledger(tmp_path: Path, new_index: Callable[[], str]) -> Iterator[Ledger]:
    """An empty ledger."""
    with opened(url(tmp_path / "log.db"), new_index()) as made:
        yield made


def told(path: Path) -> list[tuple[str | None, bytes]]:
    """The lines of a story, with their keys; those that carry headers of their own are left out."""
    found = []
    for record in read_vectors(path).records:
        key = None if record.key is None else record.key.decode(errors="replace")
        found.append((key, record.value or b""))
    return found


@pytest.mark.parametrize("path", VECTORS, ids=lambda path: path.stem)
def test_every_version_of_every_work_item_is_the_folds(ledger: Ledger, path: Path) -> None:
    """Rebuilt from the index at each version, a work item is what the fold in memory was there."""
    put(ledger.log, told(path))
    ledger.indexer.catch_up()
    states, _ = folded(ledger.log)
    for subject, known in states.items():
        for version, item in enumerate(known[1:], 1):
            assert ledger.index._rebuilt(subject, version) == item
        assert ledger.index.work_item(subject) == known[-1]


def test_a_snapshot_changes_nothing(
    tmp_path: Path, new_index: Callable[[], str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """States from a snapshot on are those from the start, at and around each snapshot."""
    lines = [(json.loads(value)["subject"], value) for value in day(1_500, work_items=2)]
    log_url, snapped, plain = url(tmp_path / "log.db"), new_index(), new_index()
    with opened(log_url, snapped) as ledger:
        put(ledger.log, lines)
        monkeypatch.setattr(index_module, "SNAPSHOT_INTERVAL", 16)
        ledger.indexer.catch_up()
        assert ledger.index.recorder.select("SELECT count(*) FROM stored_snapshots")[0][0] >= 2
    monkeypatch.setattr(index_module, "SNAPSHOT_INTERVAL", 1_000_000)
    caught_up(log_url, plain)
    assert dump(snapped) == dump(plain)
    with opened(log_url, snapped) as one, opened(log_url, plain) as other:
        assert other.index.recorder.select("SELECT count(*) FROM stored_snapshots") == [(0,)]
        for version in [*range(1, 60), *range(600, 751, 7), 750]:
            assert one.index._rebuilt("T-0", version) == other.index._rebuilt("T-0", version)


def test_batches_with_snapshots_continue_from_the_index(
    tmp_path: Path, new_index: Callable[[], str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """An index opened anew for every few entries, each time from its snapshots, holds the same as one in a go."""
    monkeypatch.setattr(index_module, "SNAPSHOT_INTERVAL", 8)
    lines = [(json.loads(value)["subject"], value) for value in day(120, work_items=3)]
    log_url, slowly, at_once = url(tmp_path / "log.db"), new_index(), new_index()
    for start in range(0, len(lines), 10):
        with opened(log_url, slowly) as ledger:
            put(ledger.log, lines[start : start + 10])
            assert ledger.indexer.catch_up() == 10
    caught_up(log_url, at_once)
    assert dump(slowly) == dump(at_once)


def test_ten_thousand_entries_of_one_work_item_stay_small(ledger: Ledger) -> None:
    """Reading it back replays a snapshot and what follows; snapshots take no more room than the entries do."""
    put(ledger.log, [("T-0", value) for value in day(10_000, work_items=1)])
    ledger.indexer.catch_up()
    select = ledger.index.recorder.select
    [(snapshots,)] = select("SELECT sum(length(state)) FROM stored_snapshots")
    [(entries,)] = select("SELECT sum(length(state)) FROM stored_events")
    assert snapshots < 2 * entries
    [(newest,)] = select("SELECT max(originator_version) FROM stored_snapshots")
    assert 10_000 - newest < 2_000
    item = ledger.index.work_item("T-0")
    assert item is not None
    assert item.version == 10_000
    assert item == folded(ledger.log)[0]["T-0"][-1]


def test_the_version_at_an_instant_is_exact(tmp_path: Path) -> None:
    """An entry counts from its own millisecond on: at it, one before it, one after it, before all and after all."""
    from ledger.logs.sqlite import SqliteLog

    times = iter([1_000, 1_000, 2_000, 5_000])
    log = SqliteLog(tmp_path / "ledger.db", clock=lambda: next(times))
    for number in range(4):
        put(log, [("T-1", note(number))])
    log.close()
    with opened(url(tmp_path / "ledger.db"), tmp_path / "ledger.db") as ledger:
        ledger.indexer.catch_up()
        first = ledger.index.entry("T-1", 1).instant
        asked = [-1, 0, 999, 1_000, 1_001, 3_999, 4_000, 10**9]
        found = [ledger.index.version_at("T-1", first + timedelta(milliseconds=ms)) for ms in asked]
        assert found == [0, 2, 2, 3, 3, 3, 4, 4]
        assert ledger.index.version_at("T-none", first) == 0
        assert ledger.index.work_item("T-1", at=first - timedelta(microseconds=1)) is None
        assert ledger.index.work_item("T-none") is None


def test_starting_over_gives_the_same_again(tmp_path: Path, new_index: Callable[[], str]) -> None:
    """Emptied and folded again, every table holds the same rows."""
    log_url, path = url(tmp_path / "log.db"), new_index()
    with opened(log_url, path) as ledger:
        put(ledger.log, [(json.loads(value)["subject"], value) for value in day(500, work_items=7)])
        ledger.indexer.catch_up()
    before = dump(path)
    with opened(log_url, path) as ledger:
        ledger.index.start_over()
        assert not any(dump(path, *EMPTIED).values())
        assert ledger.index.recorder.known_log() is None
        assert ledger.index.work_item("T-1") is None
    caught_up(log_url, path)
    assert dump(path) == before


def test_a_batch_that_lost_the_race_writes_nothing(tmp_path: Path, new_index: Callable[[], str]) -> None:
    """The position is compared in the same transaction: entries, rows, firsts and tracking stay as they were."""
    log_url, path = url(tmp_path / "log.db"), new_index()
    with opened(log_url, path) as ledger:
        put(ledger.log, [("T-1", note(n)) for n in range(10)])
        read = ledger.log.read(0, 0, most=5)
        identity = ledger.log.identity()
        ledger.indexer.catch_up()
        before = dump(path)
        with pytest.raises(Fenced):
            ledger.index.fold(identity, 0, Position(0), read)
        with pytest.raises(Fenced):
            ledger.index.fold(identity, 0, Position(5), ledger.log.read(0, 5, most=5))
        assert dump(path) == before


def test_a_batch_from_before_a_rebuild_writes_nothing(tmp_path: Path, new_index: Callable[[], str]) -> None:
    """An index that was emptied meanwhile is no index that stands where the batch started."""
    log_url, path = url(tmp_path / "log.db"), new_index()
    with opened(log_url, path) as ledger:
        put(ledger.log, [("T-1", note(n)) for n in range(10)])
        ledger.indexer.catch_up()
        put(ledger.log, [("T-1", note(n)) for n in range(10, 15)])
        stands = ledger.indexer.position(0)
        read = ledger.log.read(0, 10, most=5)
        with opened(log_url, path) as other:
            other.index.start_over()
        with pytest.raises(Fenced):
            ledger.index.fold(ledger.log.identity(), 0, stands, read)
        assert not any(dump(path, *EMPTIED).values())
        assert ledger.indexer.catch_up() == 15
    first, again = dump(path), new_index()
    caught_up(log_url, again)
    assert first == dump(again)


def test_states_from_before_a_rebuild_are_not_shown(tmp_path: Path, new_index: Callable[[], str]) -> None:
    """Made again from another log by somebody else, the same version of a work item is another state."""
    shared = new_index()
    for name in ("a", "b"):
        with opened(url(tmp_path / f"{name}.db"), new_index()) as ledger:
            put(ledger.log, [("T-1", line("execution.claimed", {"execution": "run-1", "owner": f"user:{name}"}))])
    with opened(url(tmp_path / "a.db"), shared) as reading:
        reading.indexer.catch_up()
        before = reading.index.work_item("T-1")
        assert reading.index.work_item("T-1") is before
        with closing(Settings.read(url(tmp_path / "b.db"), shared).open_index()) as index:
            index.start_over()
        with opened(url(tmp_path / "b.db"), shared) as other:
            other.indexer.catch_up()
            known = other.index.work_item("T-1")
        assert known is not None
        assert before is not None
        assert (known.version, known != before) == (before.version, True)
        assert reading.index.work_item("T-1") == known


def test_an_index_of_a_newer_version_is_left_alone(tmp_path: Path, new_index: Callable[[], str]) -> None:
    """Neither read nor emptied: what it holds is for those who understand it."""
    log_url, path = url(tmp_path / "log.db"), new_index()
    with opened(log_url, path) as ledger:
        put(ledger.log, [("T-1", note(1))])
        ledger.indexer.catch_up()
        with ledger.index.recorder.datastore.transaction(commit=True) as c:
            c.execute("UPDATE index_identity SET format = 99")
        before = dump(path)
        with pytest.raises(UnusableLog, match="newer"):
            ledger.index.start_over()
        with pytest.raises(UnusableLog, match="newer"), opened(log_url, path):
            pass
        assert dump(path) == before


def test_the_library_takes_no_class_from_the_environment(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """What the process's environment says to the eventsourcing library chooses nothing here."""
    for name in ("PERSISTENCE_MODULE", "MAPPER_TOPIC", "TRANSCODER_TOPIC", "COMPRESSOR_TOPIC", "CIPHER_TOPIC"):
        monkeypatch.setenv(name, "os:system")
        monkeypatch.setenv(f"PAUSELEDGER_{name}", "os:system")
    path = tmp_path / "ledger.db"
    with opened(url(path), path) as ledger:
        put(ledger.log, [("T-1", note(1))])
        assert ledger.indexer.catch_up() == 1
        assert ledger.index.work_item("T-1") is not None


def test_the_cache_is_bounded_by_work_items_and_by_pauses() -> None:
    """Those used longest ago make room; one work item with too many pauses is still kept, alone."""
    cache = ItemCache(items=3, pauses=10)
    for name in ("a", "b", "c"):
        cache.put(WorkItem.unseen(name, 0))
    assert cache.get("a") is not None
    cache.put(WorkItem.unseen("d", 0))
    assert [name for name in "abcd" if cache.get(name)] == ["a", "c", "d"]
    states = folded_pauses(12)
    cache.put(states)
    assert [name for name in ("a", "c", "d", "T-1") if cache.get(name)] == ["T-1"]
    cache.put(WorkItem.unseen("e", 0))
    assert [name for name in ("T-1", "e") if cache.get(name)] == ["e"]
    cache.clear()
    assert cache.get("e") is None


def folded_pauses(count: int) -> WorkItem:
    """A work item with so many open pauses."""
    from tests.faults.logs import MemoryLog

    log = MemoryLog()
    for number in range(count):
        data = {"execution": "run-1", "pause": f"p{number}"}
        log.add(b"T-1", line("pause.opened", data, id=f"e{number}"))
    return folded(log)[0]["T-1"][-1]


def test_a_disk_error_while_writing_loses_nothing(ledger: Ledger, monkeypatch: pytest.MonkeyPatch) -> None:
    """A batch that could not be written is not half there, in the file or in memory; the next try writes it."""
    put(ledger.log, [("T-1", note(n)) for n in range(5)])
    datastore = ledger.index.recorder.datastore
    committed = datastore.committed

    def full(*_: object) -> None:
        datastore._roll_back()
        raise LedgerError("the disk is full")

    monkeypatch.setattr(datastore, "committed", full)
    with pytest.raises(LedgerError, match="full"):
        ledger.indexer.catch_up()
    assert ledger.index.work_item("T-1") is None
    monkeypatch.setattr(datastore, "committed", committed)
    assert ledger.indexer.catch_up() == 5
    item = ledger.index.work_item("T-1")
    assert item is not None
    assert item.version == 5


def test_a_new_index_may_be_opened_by_many_at_once(tmp_path: Path, new_index: Callable[[], str]) -> None:
    """Eight threads make the same file at the same moment, ten times: all get it, and none an error."""
    put_on = url(tmp_path / "log.db")
    caught_up(put_on, new_index())
    failed: list[BaseException] = []

    def open_it(index: str, begin: threading.Barrier) -> None:
        begin.wait(30)
        try:
            caught_up(put_on, index)
        except BaseException as error:
            failed.append(error)

    for _ in range(10):
        begin, index = threading.Barrier(8), new_index()
        threads = [threading.Thread(target=open_it, args=(index, begin)) for _ in range(8)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    assert failed == []


def test_an_index_may_be_emptied_and_opened_any_number_of_times(tmp_path: Path, new_index: Callable[[], str]) -> None:
    """Rebuilding leaves nothing behind that the next opening would trip over."""
    log_url, path = url(tmp_path / "log.db"), new_index()
    for _ in range(4):
        with opened(log_url, path) as ledger:
            ledger.index.start_over()
        with opened(log_url, path) as ledger:
            put(ledger.log, [("T-1", note(1))])
            assert ledger.indexer.catch_up() > 0
    assert [name for name, _ in dump(path)["tracking"]] == ["__migration__", "log/0"]


def test_the_deepest_event_that_is_read_can_be_read_from_a_snapshot(ledger: Ledger) -> None:
    """A pause whose runtime nests as deep as JSON may here is still there after a snapshot was taken."""
    deep = '{"a":' * 126 + "1" + "}" * 126
    attributes = '{"specversion":"1.0","source":"/s","subject":"T-1","type":"pauseledger.'
    opened_line = f'{attributes}pause.opened","id":"o","data":{{"execution":"r","pause":"p","runtime":{deep}}}}}'
    notes = [f'{attributes}note.added","id":"n{number}","data":{{"text":"x"}}}}' for number in range(300)]
    put(ledger.log, [("T-1", text.encode()) for text in [opened_line, *notes]])
    ledger.indexer.catch_up()
    assert ledger.index.recorder.select("SELECT count(*) FROM stored_snapshots") == [(1,)]
    item = ledger.index.work_item("T-1")
    assert item is not None
    assert item.version == 301
    assert list(item.pauses) == ["p"]
