"""What every log keeps, whatever it is made of. A new backend is a new subclass of ``Backend``, and nothing else."""

from __future__ import annotations

import random
import threading
import uuid
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

import pytest

from ledger.errors import LogChanged, UnusableLog, WrongUsage
from ledger.log import Draft, Log, Receipt
from ledger.record import MOST_RECORD_BYTES, Headers, Record
from tests.faults.waiting import until

WAIT_SECONDS = 20.0


class Backend:
    """A place where one log can be opened any number of times, and made again."""

    def open(self) -> Log:
        """A new handle of the log."""
        raise NotImplementedError

    def make_again(self) -> None:
        """Delete the log and make an empty one of the same name. No handle is open."""
        raise NotImplementedError

    def remove(self) -> None:
        """Delete the log. Handles may be open."""
        raise NotImplementedError


class SqliteBackend(Backend):
    def __init__(self, folder: Path) -> None:
        self.path = folder / "log.db"

    def open(self) -> Log:
        from ledger.logs.sqlite import SqliteLog

        return SqliteLog(self.path)

    def remove(self) -> None:
        for path in self.path.parent.glob("log.db*"):
            path.unlink()

    def make_again(self) -> None:
        self.remove()
        self.open().close()


class KafkaBackend(Backend):
    def __init__(self, servers: str) -> None:
        self.servers = servers
        self.topic = f"ledger-{uuid.uuid4()}"
        self._make()

    def _make(self) -> None:
        from ledger.logs.topic import create_topic

        create_topic(self.servers, self.topic, partitions=2)

    def open(self) -> Log:
        from ledger.logs.kafka import KafkaLog

        return KafkaLog(self.servers, self.topic)

    def remove(self) -> None:
        from kafka import KafkaAdminClient

        admin = KafkaAdminClient(bootstrap_servers=self.servers)
        try:
            admin.delete_topics([self.topic])
            # The broker knows of it a moment later, and answers as before until then.
            until(lambda: admin.describe_topics([self.topic])[0]["error_code"], what="a topic that is gone")
        finally:
            admin.close()

    def make_again(self) -> None:
        self.remove()
        self._make()


class ConfluentBackend(KafkaBackend):
    def open(self) -> Log:
        from ledger.logs.confluent import ConfluentLog

        return ConfluentLog(self.servers, self.topic)


@pytest.fixture(params=["sqlite", *(pytest.param(name, marks=pytest.mark.kafka) for name in ("kafka", "confluent"))])
def backend(request: pytest.FixtureRequest, tmp_path: Path) -> Backend:
    """One of each kind."""
    if request.param == "sqlite":
        return SqliteBackend(tmp_path)
    kind = KafkaBackend if request.param == "kafka" else ConfluentBackend
    return kind(request.getfixturevalue("broker").address)


@pytest.fixture
def opened(backend: Backend) -> Iterator[Callable[[], Log]]:
    """Opens handles of the one log, and closes them afterwards."""
    handles: list[Log] = []

    def open_one() -> Log:
        handles.append(backend.open())
        return handles[-1]

    yield open_one
    for handle in handles:
        handle.close()


@pytest.fixture
def log(opened: Callable[[], Log]) -> Log:
    """An empty log."""
    return opened()


def put(log: Log, drafts: Sequence[Draft]) -> list[Receipt]:
    """Append, and wait for all receipts."""
    return [future.result(WAIT_SECONDS) for future in log.append(drafts)]


def put_values(log: Log, *values: bytes) -> list[Receipt]:
    """Append records of the key ``k``."""
    return put(log, [Draft(0, b"k", value) for value in values])


def read_all(log: Log, *, most: int = 100, partition: int = 0) -> list[Record]:
    """Everything up to the end, slice by slice."""
    offset, end = log.bounds(partition)
    records: list[Record] = []
    while offset < end:
        found = log.read(partition, offset, most=most, wait_seconds=WAIT_SECONDS)
        records += found.records
        offset = found.next_offset
    return records


def test_records_are_read_in_the_order_they_were_appended(log: Log) -> None:
    """One by one or in batches, the offsets grow in the order of the calls."""
    values = [str(n).encode() for n in range(500)]
    for start in range(0, 100, 10):
        put_values(log, *values[start : start + 10])
    log.append([Draft(0, b"k", value) for value in values[100:300]])
    put_values(log, *values[300:])
    records = read_all(log, most=37)
    assert [record.value for record in records] == values
    assert [record.offset for record in records] == sorted({record.offset for record in records})


FIDELITY: list[tuple[str, bytes | None, bytes | None, Headers]] = [
    ("plain", b"INC-1", b'{"a":1}', (("content-type", b"application/cloudevents+json"),)),
    ("null key", None, b"v", ()),
    ("empty key", b"", b"v", ()),
    ("null value", b"k", None, ()),
    ("empty value", b"k", b"", ()),
    ("no text", b"\x00\xff\xfe", bytes(range(256)), (("bytes", bytes(range(256))),)),
    ("headers twice", b"k", b"v", (("a", b"1"), ("b", b"2"), ("a", b"1"), ("a", b"3"))),
    ("empty header", b"k", b"v", (("", b""), ("ünï", b""))),
    ("1 MiB of noise", b"k", random.Random(1).randbytes(1024 * 1024), ()),
    ("the largest", b"k", random.Random(2).randbytes(MOST_RECORD_BYTES - 1), ()),
]


@pytest.mark.parametrize(
    ("key", "value", "headers"), [case[1:] for case in FIDELITY], ids=[case[0] for case in FIDELITY]
)
def test_what_is_appended_is_read_byte_for_byte(
    log: Log, key: bytes | None, value: bytes | None, headers: Headers
) -> None:
    """Null is not empty, no text is required, headers keep their order and their doubles."""
    [receipt] = put(log, [Draft(0, key, value, headers)])
    [record] = read_all(log)
    assert record == Record(0, receipt.offset, receipt.recorded_at, key, value, headers)


def test_a_receipt_is_what_is_read(log: Log, opened: Callable[[], Log]) -> None:
    """Offset and time of every receipt are those that another handle reads."""
    receipts = put_values(log, *(b"x" * n for n in range(50)))
    assert [Receipt(0, r.offset, r.recorded_at) for r in read_all(opened())] == receipts


def test_time_never_goes_back(log: Log) -> None:
    """``recorded_at`` is not smaller than that of the record before."""
    for n in range(30):
        put_values(log, *[b"v"] * (n % 4 + 1))
    times = [record.recorded_at for record in read_all(log)]
    assert times == sorted(times)
    assert times[0] > 1_700_000_000_000


def test_an_empty_log_starts_and_ends_at_zero(log: Log) -> None:
    """Nothing to read is an empty slice that stays where it is."""
    assert log.bounds(0) == (0, 0)
    assert log.read(0, 0, most=10) == ([], 0)


def test_bounds_follow_what_is_recorded(log: Log) -> None:
    """The end is the offset after the last receipt's."""
    last = put_values(log, b"a", b"b", b"c")[-1]
    assert log.bounds(0) == (0, last.offset + 1)


def test_reading_at_the_end_gives_nothing(log: Log) -> None:
    """The end is a valid place to read from, at once and after a wait."""
    put_values(log, b"a")
    assert log.read(0, 1, most=10) == ([], 1)
    assert log.read(0, 1, most=10, wait_seconds=0.2) == ([], 1)


@pytest.mark.parametrize("offset", [-1, 2, 1000])
def test_an_offset_that_is_not_there_is_a_change_of_the_log(log: Log, offset: int) -> None:
    """A reader that is further than the log read another log before."""
    put_values(log, b"a")
    with pytest.raises(LogChanged) as caught:
        log.read(0, offset, most=10, wait_seconds=1)
    assert str(offset) in str(caught.value)


def test_a_handle_reads_on_after_a_refused_offset(log: Log) -> None:
    """One wrong offset doesn't spoil the handle."""
    put_values(log, b"a")
    with pytest.raises(LogChanged):
        log.read(0, 7, most=10)
    assert [record.value for record in log.read(0, 0, most=10).records] == [b"a"]


@pytest.mark.parametrize("most", [1, 3, 100])
def test_slices_join_without_gap_or_overlap(log: Log, most: int) -> None:
    """No slice has more than was asked for, and each starts where the last one ended."""
    put_values(log, *(str(n).encode() for n in range(20)))
    offset, seen = 0, []
    while offset < 20:
        found = log.read(0, offset, most=most)
        assert 0 < len(found.records) <= most
        assert found.next_offset == found.records[-1].offset + 1
        seen += [record.offset for record in found.records]
        offset = found.next_offset
    assert seen == list(range(20))


def test_reading_again_and_jumping_gives_the_same(log: Log) -> None:
    """Any offset can be read at any time, however far the handle has read before."""
    put_values(log, *(str(n).encode() for n in range(300)))
    for offset in (0, 299, 5, 5, 150, 0, 151):
        assert log.read(0, offset, most=1).records[0].value == str(offset).encode()


def test_a_waiting_reader_gets_what_another_handle_appends(log: Log, opened: Callable[[], Log]) -> None:
    """The wait ends with the first record, long before its time is over."""
    other = opened()
    log.read(0, 0, most=1)
    writer = threading.Timer(0.3, put_values, (other, b"late"))
    writer.start()
    found = log.read(0, 0, most=10, wait_seconds=WAIT_SECONDS)
    writer.join()
    assert [record.value for record in found.records] == [b"late"]


def test_two_writers_lose_and_mix_up_nothing(log: Log, opened: Callable[[], Log]) -> None:
    """Each one's records keep their order, and every receipt names its own record."""
    receipts: dict[bytes, list[Receipt]] = {b"a": [], b"b": []}

    def write(handle: Log, name: bytes) -> None:
        for n in range(40):
            drafts = [Draft(0, name, b"%d" % (3 * n + m)) for m in range(3)]
            receipts[name] += put(handle, drafts)

    threads = [threading.Thread(target=write, args=pair) for pair in ((log, b"a"), (opened(), b"b"))]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    records = read_all(log)
    assert len(records) == 240
    for name in (b"a", b"b"):
        mine = [record for record in records if record.key == name]
        assert [record.value for record in mine] == [b"%d" % n for n in range(120)]
        assert [record.offset for record in mine] == [receipt.offset for receipt in receipts[name]]


def test_one_handle_takes_appends_of_several_threads(log: Log) -> None:
    """``append`` is thread-safe: nothing is lost, and each thread's order holds."""

    def write(name: bytes) -> None:
        for n in range(50):
            put(log, [Draft(0, name, b"%d" % n)])

    threads = [threading.Thread(target=write, args=(name,)) for name in (b"a", b"b", b"c", b"d")]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    records = read_all(log)
    for name in (b"a", b"b", b"c", b"d"):
        assert [record.value for record in records if record.key == name] == [b"%d" % n for n in range(50)]


def test_appending_nothing_is_nothing(log: Log) -> None:
    """An empty batch has no futures and no effect."""
    assert list(log.append([])) == []
    assert log.bounds(0) == (0, 0)


def test_a_batch_with_a_record_too_large_is_refused_whole(log: Log) -> None:
    """The limit is the same for every backend, so that a ledger can move from one to another."""
    drafts = [Draft(0, b"k", b"small"), Draft(0, b"k", b"x" * (MOST_RECORD_BYTES + 1))]
    with pytest.raises(WrongUsage, match="larger"):
        log.append(drafts)
    assert log.bounds(0) == (0, 0)


def test_a_partition_that_is_not_there_is_wrong_usage(log: Log) -> None:
    """Appending, reading and asking: each names the partitions that there are."""
    for wrong in (-1, log.partitions):
        with pytest.raises(WrongUsage, match="partitions"):
            log.append([Draft(wrong, b"k", b"v")])
        with pytest.raises(WrongUsage, match="partitions"):
            log.read(wrong, 0, most=1)
        with pytest.raises(WrongUsage, match="partitions"):
            log.bounds(wrong)


def test_identity_is_the_same_for_every_handle(backend: Backend, log: Log, opened: Callable[[], Log]) -> None:
    """Another handle, and one after the first was closed, say the same."""
    first = log.identity()
    put_values(log, b"a")
    assert opened().identity() == first
    log.close()
    assert opened().identity() == first
    assert first.partitions == log.partitions
    uuid.UUID(first.topic_id)


def test_a_log_made_again_is_another(backend: Backend) -> None:
    """The name stays, the id does not."""
    before = backend.open()
    old = before.identity()
    before.close()
    backend.make_again()
    after = backend.open()
    new = after.identity()
    after.close()
    assert (new.topic, new.partitions) == (old.topic, old.partitions)
    assert new.topic_id != old.topic_id


def test_an_open_handle_says_that_its_log_was_made_again(backend: Backend, log: Log) -> None:
    """Identity is asked anew: a handle never pretends that it is still the old log."""
    old = log.identity()
    backend.make_again()
    assert log.identity().topic_id != old.topic_id


def test_an_open_handle_says_that_its_log_is_gone(backend: Backend, log: Log) -> None:
    """A log that was deleted is unusable, and the advice says what to do."""
    backend.remove()
    with pytest.raises(UnusableLog) as caught:
        log.identity()
    assert caught.value.advice


def test_what_was_recorded_is_there_after_reopening(log: Log, opened: Callable[[], Log]) -> None:
    """Closing loses nothing that has a receipt."""
    put_values(log, b"a", b"b")
    log.close()
    assert [record.value for record in read_all(opened())] == [b"a", b"b"]
