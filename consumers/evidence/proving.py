"""Proofs out of the tiles, each verified before it is given: of an entry in a checkpoint, and of one in another."""

from __future__ import annotations

from typing import NamedTuple

from consumers.evidence.journal import Signed
from consumers.evidence.notary import Notary
from consumers.evidence.trees import RECHECK
from ledger.errors import LogChanged, NotFound, UnusableLog
from ledger.evidence.leaves import NO_RECORD, index_of, leaf_of
from ledger.evidence.merkle import (
    ProofRefused,
    consistency_proof,
    inclusion_proof,
    leaf_hash,
    verify_consistency,
    verify_inclusion,
)
from ledger.evidence.tiles import BadTile, subtrees_of


class Inclusion(NamedTuple):
    """That a leaf is in a checkpoint's tree."""

    leaf_index: int
    leaf: bytes
    hashes: list[bytes]
    signed: Signed


class Consistency(NamedTuple):
    """That a checkpoint's tree begins with an earlier one's."""

    old: Signed
    new: Signed
    hashes: list[bytes]


def prove_inclusion(notary: Notary, partition: int, offset: int) -> Inclusion:
    """That an entry is in the newest checkpoint. Raises ``NotFound`` where none holds it."""
    newest = _newest(notary, partition)
    size, index = newest.checkpoint.size, index_of(offset)
    if not 0 < index < size:
        raise NotFound(
            f"No checkpoint holds an entry {partition}:{offset}: the newest ends before {partition}:{size - 1}.",
            "Sign what is there now: pauseledger checkpoint",
        )
    read = notary.log.read(partition, offset, most=1)
    records = [one for one in read.records if one.offset == offset]
    leaf = leaf_of(notary.keys.tag_key, records[0]) if records else NO_RECORD
    store = notary.store_of(partition)
    try:
        subtrees = subtrees_of(size, store.read)
        if subtrees(0, index) != leaf_hash(leaf):
            raise LogChanged(f"Entry {partition}:{offset} is not the one that was signed.", RECHECK)
        hashes = inclusion_proof(index, size, subtrees)
        verify_inclusion(leaf_hash(leaf), index, size, hashes, newest.checkpoint.root)
    except (BadTile, ProofRefused) as error:
        raise UnusableLog(f"The tiles at {store.where} prove nothing: {error}.", RECHECK) from None
    return Inclusion(index, leaf, hashes, newest)


def prove_consistency(notary: Notary, partition: int, size: int) -> Consistency:
    """That the newest checkpoint begins with the one of that size. Raises ``NotFound`` where there is none."""
    new = _newest(notary, partition)
    known = min(size, new.checkpoint.size + 1)  # any number may be asked for, larger than a database takes
    old = notary.journal.at(notary.origin_of(partition), known)
    if old is None:
        sizes = ", ".join(map(str, notary.journal.sizes_about(new.checkpoint.origin, known)))
        raise NotFound(
            f"No checkpoint of partition {partition} was signed at {size} leaves.", f"The nearest are of: {sizes}."
        )
    store = notary.store_of(partition)
    try:
        hashes = consistency_proof(size, new.checkpoint.size, subtrees_of(new.checkpoint.size, store.read))
        verify_consistency(size, new.checkpoint.size, hashes, old.checkpoint.root, new.checkpoint.root)
    except (BadTile, ProofRefused) as error:
        raise UnusableLog(f"The tiles at {store.where} prove nothing: {error}.", RECHECK) from None
    return Consistency(old, new, hashes)


def _newest(notary: Notary, partition: int) -> Signed:
    found = notary.journal.newest(notary.origin_of(partition))
    if found is None:
        raise NotFound(f"Nothing of partition {partition} was signed yet.", "Sign it: pauseledger checkpoint")
    return found
