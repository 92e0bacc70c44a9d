"""The tree of one partition: read from the log, as far as it was signed from its tiles.

1. It goes on only from what was signed: the journal says which root that has, and the tiles must lead to it.
2. The log must still be the one that was signed: the same topic, not shorter, with the same last record.
3. Only offsets that the log has decided on become leaves; one that holds no readable record becomes a leaf of zeros.
"""

from __future__ import annotations

from collections.abc import Callable

from consumers.evidence.journal import Journal, Signed
from consumers.evidence.keys import Keys
from consumers.evidence.tile_store import TileStore
from ledger.errors import LogChanged, UnusableLog
from ledger.evidence.leaves import Genesis, leaf_hashing, tag_key_digest
from ledger.evidence.merkle import leaf_hash
from ledger.evidence.notes import BadNote, Checkpoint, Note, read_checkpoint, read_note
from ledger.evidence.signatures import signed_by
from ledger.evidence.tiles import (
    TILE_HASHES,
    BadTile,
    Edge,
    Tile,
    hashes_in,
    tile_at,
)
from ledger.log import Identity, Log

BATCH_ENTRIES = 4_096
RECHECK = "Hash the log again, which also mends tiles: pauseledger checkpoint --recheck."
NOT_SIGNED = (
    "Nothing is signed. Put the log back that was signed; if that is gone, its evidence ends at the last checkpoint: "
    "begin a new ledger with keys of its own."
)

Progress = Callable[[int], None]
"""Called with the number of offsets that were hashed now."""


def genesis_of(keys: Keys, identity: Identity, partition: int) -> Genesis:
    """Leaf 0 of a partition's tree."""
    digest = tag_key_digest(keys.tag_key)
    return Genesis(keys.name, identity.topic, identity.topic_id, partition, identity.partitions, digest)


def published_by(keys: Keys, origin: str, data: bytes, where: str) -> tuple[Note, Checkpoint]:
    """A published checkpoint, which one of our keys signed. Raises ``UnusableLog``."""
    try:
        note = read_note(data)
        checkpoint = read_checkpoint(note.text)
        signed = [signed_by(note, key) for key in keys.verifiers]  # each is looked at: a forged one is never passed by
        if not any(signed):
            raise BadNote("no key of this notary has signed it")
        if checkpoint.origin != origin:
            raise BadNote(f"it is of {checkpoint.origin}")
    except BadNote as error:
        advice = "Set PAUSELEDGER_KEYS and PAUSELEDGER_TILES to those of this ledger; else somebody wrote there."
        raise UnusableLog(f"The checkpoint at {where} is not ours: {error}.", advice) from None
    return note, checkpoint


def refuse_unknown(journal: Journal, published: Checkpoint, where: str) -> None:
    """Raises ``LogChanged`` where the published checkpoint is none that the journal has."""
    newest = journal.newest(published.origin)
    size = 0 if newest is None else newest.checkpoint.size
    if published.size > size:
        raise LogChanged(
            f"The checkpoint at {where} is of {published.size} leaves, and the journal {journal.path} knows of {size}:"
            " it was restored from an old copy, or another notary signs with this key.",
            "See that no other does. Then hash the log again: pauseledger checkpoint --recheck",
        )
    known = journal.at(published.origin, published.size)
    if known is None or known.checkpoint != published:
        raise LogChanged(
            f"The checkpoint at {where}, of {published.size} leaves, is signed with our key and not in the journal:"
            " two histories were signed.",
            "Somebody else has the key, or had: stop all notaries, keep both, and see docs/evidence.md.",
        )


class Tree:
    """A partition's tree, from what was signed on. Opening it raises ``LogChanged`` or ``UnusableLog`` (rules 1, 2)."""

    def __init__(
        self, log: Log, keys: Keys, identity: Identity, partition: int, store: TileStore, journal: Journal
    ) -> None:
        self.partition = partition
        self.genesis = genesis_of(keys, identity, partition)
        self.store = store
        self._log = log
        self._identity = identity
        self._hashes = leaf_hashing(keys.tag_key)
        refuse_another_genesis(journal, self.genesis)
        self.signed = journal.newest(self.genesis.origin)
        self.edge, self._last_hash = self._signed_edge()
        self.no_record = 0 if self.signed is None else self.signed.no_record
        self._filled: list[Tile] = []
        self.check_log()
        if self.signed is None:
            self._last_hash = leaf_hash(self.genesis.leaf())
            self._put([self._last_hash])

    @property
    def next_offset(self) -> int:
        """The offset that is hashed next: leaf 0 is none."""
        return self.edge.size - 1

    @property
    def unsigned(self) -> int:
        """How many leaves are not signed yet."""
        return self.edge.size - (0 if self.signed is None else self.signed.checkpoint.size)

    def _signed_edge(self) -> tuple[Edge, bytes]:
        """The edge of what was signed, and the hash of its last leaf; out of its tiles, which must lead to the root."""
        if self.signed is None:
            return Edge(), b""
        size = self.signed.checkpoint.size
        try:
            edge = Edge.read(size, self.store.read)
            last = hashes_in(tile_at(0, (size - 1) // TILE_HASHES, size), self.store.read)[(size - 1) % TILE_HASHES]
            if edge.root() != self.signed.checkpoint.root:
                raise BadTile("they lead to another root")
        except BadTile as error:
            problem = f"The tiles at {self.store.where} are not those of the {size} leaves that were signed: {error}."
            raise UnusableLog(problem, RECHECK) from None
        return edge, last

    def check_log(self) -> None:
        """See that the log still begins with what was signed (rule 2). Raises ``LogChanged``."""
        identity = self._log.identity()
        if identity != self._identity:
            raise LogChanged(f"The log {self._identity.topic!r} was made again, or another lies there.", NOT_SIGNED)
        first, end = self._log.bounds(self.partition)
        where = f"Partition {self.partition} of {identity.topic!r}"
        if first > 0:
            raise LogChanged(f"{where} was cut: it starts at offset {first}.", NOT_SIGNED)
        if end < self.next_offset:
            was = f"it ends at {end}, and was read up to {self.next_offset}"
            raise LogChanged(f"{where} was cut, or restored from an old copy: {was}.", NOT_SIGNED)
        if self.signed is not None and self.signed.checkpoint.size > 1:
            self._check_last(self.signed.checkpoint.size - 2)

    def _check_last(self, offset: int) -> None:
        read = self._log.read(self.partition, offset, most=1)
        records = [one for one in read.records if one.offset == offset]
        if self._hashes(records, offset, offset + 1)[0] != self._last_hash:
            now = "another record" if records else "no record"
            raise LogChanged(
                f"Entry {self.partition}:{offset} was signed, and {now} lies there now: the log's past is another.",
                NOT_SIGNED,
            )

    def read(self, *, most: int = BATCH_ENTRIES, wait_seconds: float = 0.0) -> int:
        """Hash what comes next in the log, and write the tiles that got full; how many offsets that were."""
        begin = self.next_offset
        read = self._log.read(self.partition, begin, most=most, wait_seconds=wait_seconds)
        if read.next_offset > begin:
            hashes = self._hashes(read.records, begin, read.next_offset)
            self.no_record += len(hashes) - len(read.records)
            self._put(hashes)
        return read.next_offset - begin

    def catch_up(self, progress: Progress | None = None) -> None:
        """Hash all that the log holds now."""
        _, end = self._log.bounds(self.partition)
        while self.next_offset < end:
            count = self.read(wait_seconds=1.0)
            if progress is not None:
                progress(count)

    def _put(self, hashes: list[bytes]) -> None:
        full = self.edge.extend(hashes)
        self.store.write({tile.path: data for tile, data in full})
        self._filled += [tile for tile, _ in full]
        self._coming_last = hashes[-1]

    def stage(self) -> Checkpoint:
        """Write the tiles at the edge; the checkpoint that can be signed, as what was written leads to it."""
        self.store.write({tile.path: data for tile, data in self.edge.partial_tiles()})
        checkpoint = Checkpoint(self.genesis.origin, self.edge.size, self.edge.root())
        try:
            found = Edge.read(checkpoint.size, self.store.read).root()
        except BadTile as error:
            raise UnusableLog(f"The tiles at {self.store.where} were not kept: {error}.", RECHECK) from None
        if found != checkpoint.root:
            raise UnusableLog(f"The tiles at {self.store.where} are not those that were written.", RECHECK)
        return checkpoint

    def go_on_from(self, signed: Signed) -> None:
        """What was staged is signed; partial tiles that full ones have replaced are no longer needed."""
        self.signed = signed
        self._last_hash = self._coming_last
        filled, self._filled = self._filled, []
        self.store.drop([tile.partial_folder for tile in filled])


def refuse_another_genesis(journal: Journal, genesis: Genesis) -> None:
    """Raises ``LogChanged`` where what was signed under this origin is of another log than this."""
    known = journal.genesis(genesis.origin)
    if known is None or known == genesis:
        return
    was, now = known.as_dict(), genesis.as_dict()
    differs = [f"its {name} was {was[name]}, and is {now[name]}" for name in was if was[name] != now[name]]
    raise LogChanged(f"The log {genesis.topic!r} is not the one that was signed: {'; '.join(differs)}.", NOT_SIGNED)
