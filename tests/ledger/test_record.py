"""Record bytes: the layout of the protocol's section 11, written out by hand, and its inverse."""

from __future__ import annotations

import tracemalloc

from hypothesis import given
from hypothesis import strategies as st

from ledger.record import Record, headers_bytes, headers_from, read_headers_bytes, read_record_bytes, record_bytes

NUMBERS = st.integers(min_value=0, max_value=2**64 - 1)
BYTES = st.none() | st.binary(max_size=40)
NAMES = st.binary(max_size=12).map(lambda name: name.decode(errors="surrogateescape"))
HEADERS = st.lists(st.tuples(NAMES, BYTES), max_size=4).map(tuple)
RECORDS = st.builds(Record, st.just(3), NUMBERS, NUMBERS, BYTES, BYTES, HEADERS)


def test_the_layout_is_that_of_the_protocol() -> None:
    """Offset, time, key, value, header count and headers: big-endian, each with its length before it."""
    record = Record(0, 1, 2, b"K", None, (("h", b"v"), ("n", None)))
    assert record_bytes(record).hex(" ", 4) == (
        b"".join(
            [
                (1).to_bytes(8, "big"),
                (2).to_bytes(8, "big"),
                b"\x00\x00\x00\x01K",
                b"\xff\xff\xff\xff",
                b"\x00\x00\x00\x02",
                b"\x00\x00\x00\x01h\x00\x00\x00\x01v",
                b"\x00\x00\x00\x01n\xff\xff\xff\xff",
            ]
        ).hex(" ", 4)
    )


@given(RECORDS)
def test_a_record_comes_back_from_its_bytes(record: Record) -> None:
    """Nothing is lost or changed, header names that are no UTF-8 among it; what follows is not touched."""
    data = record_bytes(record)
    assert read_record_bytes(3, data + b"more") == (record, len(data))


@given(HEADERS)
def test_headers_come_back_from_their_bytes(headers: tuple[tuple[str, bytes | None], ...]) -> None:
    """Headers on their own too, from wherever they begin."""
    data = headers_bytes(headers)
    assert read_headers_bytes(b"\x00" * 5 + data, 5) == (headers, 5 + len(data))


@given(RECORDS, RECORDS)
def test_different_records_have_different_bytes(one: Record, other: Record) -> None:
    """No two records share their bytes: lengths stand before contents, and null is not empty."""
    assert (record_bytes(one) == record_bytes(other)) is (one == other)


def test_null_and_empty_differ() -> None:
    """A record without a value is not one with an empty value."""
    assert record_bytes(Record(0, 0, 0, None, None)) != record_bytes(Record(0, 0, 0, b"", b""))


def test_an_entry_is_named_by_partition_and_offset() -> None:
    """The name of an entry is what the protocol writes."""
    assert Record(2, 17, 0, None, None).entry == "2:17"


def test_large_headers_are_not_kept() -> None:
    """Whoever writes many records with large headers doesn't fill the memory of whoever reads them."""
    tracemalloc.start()
    try:
        for number in range(64):
            data = headers_bytes((("x", b"%d" % number * 50_000), *[("", None)] * 500))
            assert headers_bytes(headers_from(data)) == data
        kept, _ = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert kept < 1_000_000
