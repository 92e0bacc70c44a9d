"""What the tree is made of (protocol, section 11): a leaf an offset, behind a genesis that says which log it is.

A leaf is 64 bytes: a tag that tells whose entry it is to whoever has the tag key, and the digest of the record.
"""

from __future__ import annotations

import hashlib
import hmac
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import rfc8785

from ledger.evidence.merkle import leaf_hash
from ledger.record import Headers, Record, headers_bytes, pack_head, pack_length, record_bytes

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
    """What hashes many records at a time, as :func:`leaf_of` and ``leaf_hash`` do; it keeps the tags it saw last."""
    sha256, head, length, join = hashlib.sha256, pack_head, pack_length, b"".join
    tags: dict[bytes | None, bytes] = {}

    def new_tag(key: bytes | None) -> bytes:
        if len(tags) >= _KNOWN_TAGS:
            tags.clear()
        tags[key] = made = b"\x00" + tag_of(tag_key, key)
        return made

    def hashes(records: Sequence[Record], begin: int, end: int) -> list[bytes]:
        known, found = tags.get, []
        last: Headers | None = None
        packed = b""
        for record in records:
            _, offset, recorded_at, key, value, headers = record
            if key is None or value is None:
                data = record_bytes(record)
            else:  # written out: this is what a tree of millions waits for
                if headers is not last:
                    last, packed = headers, headers_bytes(headers)
                data = join((head(offset, recorded_at, len(key)), key, length(len(value)), value, packed))
            found.append(sha256((known(key) or new_tag(key)) + sha256(data).digest()).digest())
        return found if len(found) == end - begin else _spread(records, found, begin, end)

    return hashes


def _spread(records: Sequence[Record], found: Sequence[bytes], begin: int, end: int) -> list[bytes]:
    """The hashes at their places, with those of no record between them."""
    spread = [_HASH_OF_NO_RECORD] * (end - begin)
    for one, hashed in zip(records, found, strict=True):
        spread[one.offset - begin] = hashed
    return spread


def index_of(offset: int) -> int:
    """The index of the leaf of the entry at an offset: the genesis comes first."""
    return offset + 1
