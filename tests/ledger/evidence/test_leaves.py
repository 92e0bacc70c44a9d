"""Leaves and genesis, put together by hand from the words of the protocol's section 11."""

from __future__ import annotations

import hashlib
import hmac
import json
import struct

from hypothesis import given
from hypothesis import strategies as st

from ledger.evidence.leaves import NO_RECORD, Genesis, leaf_hashing, leaf_of, tag_key_digest, tag_of
from ledger.evidence.merkle import leaf_hash
from ledger.record import Record
from tests.ledger.test_record import RECORDS

TAG_KEY = bytes(range(32))


def framed(data: bytes | None) -> bytes:
    return struct.pack(">I", 0xFFFFFFFF) if data is None else struct.pack(">I", len(data)) + data


def test_a_leaf_is_tag_and_digest() -> None:
    """A record with a header without value, and one without key or value."""
    record = Record(2, 7, 1_700_000_000_123, b"T-1", b"{}", (("content-type", b"application/json"), ("x", None)))
    data = struct.pack(">QQ", 7, 1_700_000_000_123) + framed(b"T-1") + framed(b"{}") + struct.pack(">I", 2)
    data += framed(b"content-type") + framed(b"application/json") + framed(b"x") + framed(None)
    tag = hmac.new(TAG_KEY, b"T-1", hashlib.sha256).digest()
    assert leaf_of(TAG_KEY, record) == tag + hashlib.sha256(data).digest()
    bare = Record(0, 0, 5, None, None)
    data = struct.pack(">QQ", 0, 5) + framed(None) + framed(None) + struct.pack(">I", 0)
    assert leaf_of(TAG_KEY, bare) == tag_of(TAG_KEY, b"") + hashlib.sha256(data).digest()


def test_the_genesis_names_the_log() -> None:
    """The JCS of its seven members, which is sorted JSON without spaces where the names are ASCII."""
    genesis = Genesis("acme", "log", "7b5f", 0, 1, tag_key_digest(TAG_KEY))
    members = {
        "ledger": "acme",
        "topic": "log",
        "topic_id": "7b5f",
        "partition": 0,
        "partitions": 1,
        "protocol": 1,
        "tag_key_sha256": hashlib.sha256(TAG_KEY).hexdigest(),
    }
    content = json.dumps(members, sort_keys=True, separators=(",", ":")).encode()
    first = hashlib.sha256(b"pauseledger genesis v1").digest()
    assert genesis.leaf() == first + hashlib.sha256(content).digest()
    assert genesis.origin == "acme/log/0"


@given(st.lists(RECORDS, max_size=8), st.binary(min_size=32, max_size=32))
def test_many_leaves_are_hashed_as_one_by_one(records: list[Record], tag_key: bytes) -> None:
    """Whatever is in them, and with zeros for the offsets that hold no record."""
    placed = [one._replace(offset=5 + 3 * n) for n, one in enumerate(records)]
    hashing = leaf_hashing(tag_key)
    for _ in range(2):  # also with the tags known
        found = hashing(placed, 4, 40)
    by_offset = {one.offset: leaf_hash(leaf_of(tag_key, one)) for one in placed}
    assert found == [by_offset.get(n, leaf_hash(NO_RECORD)) for n in range(4, 40)]
    for one in placed:
        assert hashing([one], one.offset, one.offset + 1) == [by_offset[one.offset]]
    assert hashing([], 3, 3) == []
