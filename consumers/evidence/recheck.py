"""Hashing a log again from its first record on: every root that was signed must come out once more.

Only then are tiles mended, and only then is a published checkpoint believed that the journal does not know, as after
the keys' folder was restored from an old copy. Tiles behind what was signed promise nothing: they become what the log
says now.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple

from consumers.evidence.journal import Signed
from consumers.evidence.notary import Notary
from consumers.evidence.tile_store import TileStore
from consumers.evidence.trees import (
    BATCH_ENTRIES,
    NOT_SIGNED,
    Progress,
    genesis_of,
    refuse_another_genesis,
)
from ledger.errors import LogChanged
from ledger.evidence.leaves import leaf_hashing
from ledger.evidence.merkle import HASH_BYTES, consistency_proof, leaf_hash
from ledger.evidence.notes import Checkpoint, Note
from ledger.evidence.tiles import TILE_HASHES, Edge, Tile, subtrees_of, tile_at

_PAGE = 1_000


class Rechecked(NamedTuple):
    """What a recheck found: offsets hashed, signed roots that came out again, tiles that were written anew."""

    offsets: int
    checkpoints: int
    mended: int


def recheck(notary: Notary, partition: int, progress: Progress | None = None) -> Rechecked:
    """Hash a partition again and mend its tiles. Raises ``LogChanged`` where it is not what was signed."""
    notary.forget(partition)
    return _Again(notary, partition, progress).run()


class _Again:
    """One recheck."""

    def __init__(self, notary: Notary, partition: int, progress: Progress | None) -> None:
        self._notary = notary
        self._partition = partition
        self._progress = progress
        self._genesis = genesis_of(notary.keys, notary.identity, partition)
        self._store: TileStore = notary.store_of(partition)
        refuse_another_genesis(notary.journal, self._genesis)
        self._newest = notary.journal.newest(self._genesis.origin)
        self._published = self._unknown_published()
        self._edge = Edge()
        self._no_record = self._checked = self._mended = 0
        self._mends: dict[str, bytes] = {}
        self._differs: int | None = None
        """The first leaf that is another than in the tiles."""

    def run(self) -> Rechecked:
        wanted = self._wanted()
        target = next(wanted, None)
        for hashes in self._hashed():
            while hashes:
                take = len(hashes) if target is None else target.size - self._edge.size
                part, hashes = hashes[:take], hashes[take:]
                self._put(part)
                if target is not None and self._edge.size == target.size:
                    self._check(target)
                    target = next(wanted, None)
                    if target is None and self._published is not None:
                        self._believe(*self._published)
        if target is not None:
            raise LogChanged(
                f"Partition {self._partition} of {self._genesis.topic!r} was cut, or restored from an old copy: it ends"
                f" at offset {self._edge.size - 1}, and was signed up to {target.size - 1}.",
                NOT_SIGNED,
            )
        self._compare(self._edge.partial_tiles())
        self._mend()
        return Rechecked(self._edge.size - 1, self._checked, self._mended)

    def _unknown_published(self) -> tuple[Note, Checkpoint] | None:
        """The newest that was published after the journal's newest, by our key."""
        known = 0 if self._newest is None else self._newest.checkpoint.size
        newer = [one for one in self._notary.seen(self._partition) if one[1].size > known]
        return max(newer, key=lambda one: one[1].size)[:2] if newer else None

    @property
    def _last_size(self) -> int:
        if self._published is not None:
            return self._published[1].size
        return 0 if self._newest is None else self._newest.checkpoint.size

    def _wanted(self) -> Iterator[Checkpoint]:
        """All that was signed, the smallest first."""
        size = 0
        while page := self._notary.journal.after(self._genesis.origin, size, _PAGE):
            yield from (one.checkpoint for one in page)
            size = page[-1].checkpoint.size
        if self._published is not None and self._published[1].size > size:
            yield self._published[1]

    def _hashed(self) -> Iterator[list[bytes]]:
        """The hashes of all leaves, from the genesis to the end that the log has now."""
        yield [leaf_hash(self._genesis.leaf())]
        log, hashes = self._notary.log, leaf_hashing(self._notary.keys.tag_key)
        first, end = log.bounds(self._partition)
        if first > 0:
            where = f"Partition {self._partition} of {self._genesis.topic!r}"
            raise LogChanged(f"{where} was cut: it starts at offset {first}.", NOT_SIGNED)
        offset = 0
        while offset < end:
            read = log.read(self._partition, offset, most=BATCH_ENTRIES, wait_seconds=1.0)
            found = hashes(read.records, offset, read.next_offset)
            self._no_record += len(found) - len(read.records)
            offset = read.next_offset
            yield found
            if self._progress is not None:
                self._progress(len(found))

    def _put(self, hashes: list[bytes]) -> None:
        self._compare(self._edge.extend(hashes))
        if self._edge.size > self._last_size:
            self._mend()  # what is not signed need not wait for a root

    def _compare(self, tiles: list[tuple[Tile, bytes]]) -> None:
        """Remember the tiles that are missing or have other hashes."""
        for tile, data in tiles:
            found = self._store.read(tile.path)
            if found == data:
                continue
            self._mends[tile.path] = data
            if found is not None and tile.level == 0 and self._differs is None:
                at = range(0, max(len(found), len(data)), HASH_BYTES)
                within = next(n for n, one in enumerate(at) if found[one : one + 32] != data[one : one + 32])
                self._differs = tile.number * TILE_HASHES + within

    def _check(self, signed: Checkpoint) -> None:
        """A signed root must come out again; then the tiles up to there may be mended."""
        last = self._last_size
        needed = [
            (tile, data)
            for tile, data in self._edge.partial_tiles()
            if signed.size == last or not tile_at(tile.level, tile.number, last).is_whole
        ]
        self._compare(needed)
        if self._edge.root() != signed.root:
            where = f"the entries up to {self._partition}:{signed.size - 2} are not those that were signed"
            if self._differs:
                where = f"entry {self._partition}:{self._differs - 1} is the first that is not the one that was signed"
            raise LogChanged(f"The log's past is another: {where}.", NOT_SIGNED)
        self._checked += 1
        self._mend()

    def _mend(self) -> None:
        mends, self._mends = self._mends, {}
        self._differs = None
        self._store.write(mends, mend=True)
        self._mended += len(mends)

    def _believe(self, note: Note, checkpoint: Checkpoint) -> None:
        """The log begins with what was published: the journal takes it up."""
        proof = []
        if self._newest is not None:
            subtrees = subtrees_of(checkpoint.size, self._store.read)
            proof = consistency_proof(self._newest.checkpoint.size, checkpoint.size, subtrees)
        signed = Signed(checkpoint, note, self._no_record)
        self._notary.journal.record(self._genesis, signed, self._newest, proof)
