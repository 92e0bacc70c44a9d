"""Proofs out of the tiles, each verified before it is given: of an entry in a checkpoint, and of one in another."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import closing, contextmanager
from typing import NamedTuple

from consumers.evidence.export import exported_trees
from consumers.evidence.exporters_keys import is_exporters, open_exporters_keys
from consumers.evidence.journal import Signed
from consumers.evidence.notary import Notary, open_notary
from consumers.evidence.tile_store import TileStore, open_tiles
from consumers.evidence.trees import RECHECK
from consumers.settings import Settings
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
from ledger.evidence.notes import Checkpoint, Note, read_note
from ledger.evidence.tiles import BadTile, subtrees_of
from ledger.log import Log


class Provable(NamedTuple):
    """A partition of which something can be proven: its log, the key of its tags, its tiles, and what was signed."""

    log: Log
    partition: int
    tag_key: bytes
    store: TileStore
    checkpoint: Checkpoint
    note: Note


class Inclusion(NamedTuple):
    """That a leaf is in a checkpoint's tree."""

    leaf_index: int
    leaf: bytes
    hashes: list[bytes]
    checkpoint: Checkpoint
    note: Note


class Consistency(NamedTuple):
    """That a checkpoint's tree begins with an earlier one's."""

    old: Signed
    new: Signed
    hashes: list[bytes]


@contextmanager
def provable(settings: Settings, partition: int) -> Iterator[Provable]:
    """By the newest checkpoint: the notary's own from its journal, an exporter's as it is published.

    Raises ``NotFound`` where there is none.
    """
    if is_exporters(settings.keys):
        keys = open_exporters_keys(settings.keys)
        with closing(settings.open_log()) as log:
            (tree,) = exported_trees(settings, keys, log, [partition])
            store = open_tiles(settings.tiles_place, tree.genesis.origin)
            yield Provable(log, partition, keys.tag_key, store, tree.checkpoint, read_note(tree.note))
        return
    with open_notary(settings, announces=False) as notary:
        yield signed_tree(notary, partition)


def signed_tree(notary: Notary, partition: int) -> Provable:
    """A partition by the newest checkpoint of the journal. Raises ``NotFound`` where there is none."""
    newest, store = _newest(notary, partition), notary.store_of(partition)
    return Provable(notary.log, partition, notary.keys.tag_key, store, newest.checkpoint, newest.note)


def prove_inclusion(tree: Provable, offset: int) -> Inclusion:
    """That an entry is in the newest checkpoint. Raises ``NotFound`` where none holds it."""
    partition, checkpoint, store = tree.partition, tree.checkpoint, tree.store
    size, index = checkpoint.size, index_of(offset)
    if not 0 < index < size:
        raise NotFound(
            f"No checkpoint holds an entry {partition}:{offset}: the newest ends before {partition}:{size - 1}.",
            "Sign what is there now: pauseledger checkpoint",
        )
    read = tree.log.read(partition, offset, most=1)
    records = [one for one in read.records if one.offset == offset]
    leaf = leaf_of(tree.tag_key, records[0]) if records else NO_RECORD
    try:
        subtrees = subtrees_of(size, store.read)
        if subtrees(0, index) != leaf_hash(leaf):
            raise LogChanged(f"Entry {partition}:{offset} is not the one that was signed.", RECHECK)
        hashes = inclusion_proof(index, size, subtrees)
        verify_inclusion(leaf_hash(leaf), index, size, hashes, checkpoint.root)
    except (BadTile, ProofRefused) as error:
        raise UnusableLog(f"The tiles at {store.where} prove nothing: {error}.", RECHECK) from None
    return Inclusion(index, leaf, hashes, checkpoint, tree.note)


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
