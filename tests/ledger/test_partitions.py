"""Partitions: Kafka's murmur2, against the values of Kafka's own tests and against two clients."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st
from kafka.partitioner.default import murmur2 as murmur2_of_kafka_python

from ledger.partitions import murmur2, partition_of

# From Kafka's UtilsTest.testMurmur2, as signed integers.
KNOWN = {
    b"21": -973932308,
    b"foobar": -790332482,
    b"a-little-bit-long-string": -985981536,
    b"a-little-bit-longer-string": -1486304829,
    b"lkjh234lh9fiuh90y23oiuhsafujhadof229phr9h19h89h8": -58897971,
    b"abc": 479470107,
}


@pytest.mark.parametrize(("key", "signed"), KNOWN.items(), ids=lambda value: str(value)[:20])
def test_murmur2_gives_kafkas_own_values(key: bytes, signed: int) -> None:
    """The values that Kafka's own tests pin."""
    assert murmur2(key) == signed & 0xFFFFFFFF


@given(st.binary(max_size=200))
def test_murmur2_is_that_of_kafka_python(key: bytes) -> None:
    """Any bytes hash as in the default client, whatever their length."""
    assert murmur2(key) == murmur2_of_kafka_python(key) & 0xFFFFFFFF


@given(st.text(max_size=60), st.integers(min_value=1, max_value=1_000))
def test_a_partition_is_kafkas_default(subject: str, partitions: int) -> None:
    """The sign bit is masked off, as Kafka's default partitioner does, and the empty key has a partition too."""
    hashed = murmur2_of_kafka_python(subject.encode()) & 0x7FFFFFFF
    assert partition_of(subject, partitions) == hashed % partitions


def test_subjects_spread_over_the_partitions() -> None:
    """Ten thousand tickets leave no partition of six with less than a tenth."""
    counts = [0] * 6
    for number in range(10_000):
        counts[partition_of(f"T-{number}", 6)] += 1
    assert min(counts) > 1_000
