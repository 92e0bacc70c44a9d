"""What the tree is made of (protocol, section 9): a leaf an offset, behind a genesis that says which log it is.

A leaf is 64 bytes: a tag that tells whose entry it is to whoever has the tag key, and the digest of the record.
"""

from __future__ import annotations

import hashlib
import hmac
from collections.abc import Callable, Sequence
from functools import lru_cache
from typing import Any, NamedTuple

import rfc8785

from ledger.evidence.merkle import leaf_hash
from ledger.record import Record, record_bytes

LEAF_BYTES = 64
TAG_KEY_BYTES = 32
PROTOCOL = 1
NO_RECORD = bytes(LEAF_BYTES)
"""The leaf of an offset that holds no readable record."""

_GENESIS = hashlib.sha256(b"pauseledger genesis v1").digest()


class Genesis(NamedTuple):
    """Which log a tree is of: leaf 0. ``ledger`` is the name of the notary's key."""

    ledger: str
    topic: str
    topic_id: str
    partition: int
    partitions: int
    tag_key_sha256: str
    """Hexadecimal."""
    protocol: int = PROTOCOL

    @property
    def origin(self) -> str:
        """The origin of the tree's checkpoints."""
        return f"{self.ledger}/{self.topic}/{self.partition}"

    def as_dict(self) -> dict[str, Any]:
        """The members that are hashed."""
        return self._asdict()

    def leaf(self) -> bytes:
        """Leaf 0."""
        return _GENESIS + hashlib.sha256(rfc8785.dumps(self._asdict())).digest()


def tag_key_digest(tag_key: bytes) -> str:
    """The ``tag_key_sha256`` of a genesis."""
    return hashlib.sha256(tag_key).hexdigest()


def tag_of(tag_key: bytes, record_key: bytes | None) -> bytes:
    """The first half of the leaves of all records with this key; no key counts as an empty one."""
    return hmac.digest(tag_key, record_key or b"", "sha256")


def leaf_of(tag_key: bytes, record: Record) -> bytes:
    """The leaf of a record."""
    return tag_of(tag_key, record.key) + hashlib.sha256(record_bytes(record)).digest()


_HASH_OF_NO_RECORD = leaf_hash(NO_RECORD)
_KNOWN_TAGS = 16_384

HashLeaves = Callable[[Sequence[Record], int, int], list[bytes]]
"""The hashes of the leaves of all offsets from one to before another, of the records that are there."""


def leaf_hashing(tag_key: bytes) -> HashLeaves:
    """What hashes many records at a time; it keeps the tags of the work items that it saw last."""
    sha256 = hashlib.sha256
    tag = lru_cache(maxsize=_KNOWN_TAGS)(lambda key: b"\x00" + tag_of(tag_key, key))

    def hashes(records: Sequence[Record], begin: int, end: int) -> list[bytes]:
        found = [sha256(tag(one.key) + sha256(record_bytes(one)).digest()).digest() for one in records]
        if len(found) == end - begin:
            return found
        spread = [_HASH_OF_NO_RECORD] * (end - begin)
        for one, hashed in zip(records, found, strict=True):
            spread[one.offset - begin] = hashed
        return spread

    return hashes


def index_of(offset: int) -> int:
    """The index of the leaf of the entry at an offset: the genesis comes first."""
    return offset + 1
