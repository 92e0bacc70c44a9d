"""Which partition a work item lives in: Kafka's default partitioner, murmur2 of the record key."""

from __future__ import annotations

from functools import lru_cache

_SEED, _M, _MASK = 0x9747B28C, 0x5BD1E995, 0xFFFFFFFF


def murmur2(key: bytes) -> int:
    """Kafka's 32-bit murmur2 of a key, unsigned (``org.apache.kafka.common.utils.Utils.murmur2``)."""
    length = len(key)
    h = _SEED ^ length
    whole = length & ~3
    for at in range(0, whole, 4):
        k = int.from_bytes(key[at : at + 4], "little") * _M & _MASK
        k = (k ^ k >> 24) * _M & _MASK
        h = h * _M & _MASK ^ k
    if rest := key[whole:]:
        h = (h ^ int.from_bytes(rest, "little")) * _M & _MASK
    h = (h ^ h >> 13) * _M & _MASK
    return h ^ h >> 15


@lru_cache(maxsize=16_384)
def partition_of(subject: str, partitions: int) -> int:
    """The home partition of a work item; that of an empty key where ``subject`` is empty."""
    return (murmur2(subject.encode()) & 0x7FFFFFFF) % partitions
