"""The trees of a bundle: whether its leaves are what the notary signed, and each record the one of its leaf.

The leaves of all entries up to the checkpoint are in the bundle, so the root is made again from all of them. A leaf
with the tag of an exported work item must have its record there; that is how a withheld entry is found. Behind an entry
that is later than ``until`` a work item may go on in leaves alone.
"""

from __future__ import annotations

from collections.abc import Iterator
from itertools import islice
from typing import BinaryIO, NamedTuple

from ledger.evidence.entries_file import Entries
from ledger.evidence.failures import Failure
from ledger.evidence.leaves import LEAF_BYTES, NO_RECORD, Genesis, tag_of
from ledger.evidence.merkle import EMPTY_ROOT, Frontier, leaf_hash, leaf_hashes
from ledger.evidence.notes import Checkpoint

BLOCK_LEAVES = 16_384
MOST_FAILURES = 20
"""More of one kind of look are not listed: the first one counts."""
_TAG_BYTES = LEAF_BYTES // 2
_FEW_TAGS = 16
"""So many are looked for one by one."""


class Scope(NamedTuple):
    """Which records a bundle must have: those with these keys, or all (null)."""

    tag_key: bytes
    keys: frozenset[bytes] | None


class Covered(NamedTuple):
    """What was found of a tree: how many offsets hold no readable record, and what does not hold."""

    gaps: int
    failures: list[Failure]


def gaps_in(block: bytes) -> int:
    """How many leaves of a block stand for an offset without a readable record."""
    if NO_RECORD not in block:
        return 0
    return sum(block[at : at + LEAF_BYTES] == NO_RECORD for at in range(0, len(block), LEAF_BYTES))


def _places_of(tag: bytes, block: bytes) -> Iterator[int]:
    """Which leaves of a block begin with a tag: looked for as a text, which is many times as fast as leaf by leaf."""
    at = block.find(tag)
    while at >= 0:
        if at % LEAF_BYTES == 0:
            yield at // LEAF_BYTES
        at = block.find(tag, at + 1)


class _Records:
    """The records of one partition beside its leaves."""

    def __init__(self, partition: int, entries: Entries, scope: Scope) -> None:
        self._partition, self._entries, self._scope = partition, entries, scope
        self._numbers = iter(entries.of_partition(partition))
        self._next = next(self._numbers, None)
        mine = [(number, one.key) for one, number in entries.groups.items() if one.partition == partition]
        self._keys = dict(mine)
        self._tags = {number: tag_of(scope.tag_key, key) for number, key in mine}
        self._wanted = None if scope.keys is None else frozenset(tag_of(scope.tag_key, key) for key in scope.keys)
        self._ended: set[bytes] = set()

    def check(self, block: bytes, first: int) -> Iterator[Failure]:
        """Compare a block of leaves, from that of the entry at offset ``first`` on, with the records."""
        here = self._records_before(first + len(block) // LEAF_BYTES)
        places = self._needed(block)
        if here:
            places = sorted({*places, *(offset - first for offset in here)})
        for at in places:
            leaf = block[LEAF_BYTES * at : LEAF_BYTES * (at + 1)]
            failure = self._compared(leaf, f"{self._partition}:{first + at}", here.get(first + at))
            if failure is not None:
                yield failure

    def _records_before(self, end: int) -> dict[int, int]:
        """The numbers of the next records, by offset."""
        found = {}
        while self._next is not None and self._entries.offsets[self._next] < end:
            found[self._entries.offsets[self._next]] = self._next
            self._next = next(self._numbers, None)
        return found

    def _needed(self, block: bytes) -> list[int]:
        """The leaves whose record must be there, unless their work item has ended."""
        starts = range(0, len(block), LEAF_BYTES)
        if self._wanted is None:
            return [at // LEAF_BYTES for at in starts if block[at : at + LEAF_BYTES] != NO_RECORD]
        wanted = self._wanted
        if len(wanted) <= _FEW_TAGS:
            return sorted(at for tag in wanted for at in _places_of(tag, block))
        return [at // LEAF_BYTES for at in starts if block[at : at + _TAG_BYTES] in wanted]

    def _compared(self, leaf: bytes, entry: str, number: int | None) -> Failure | None:
        if number is None:
            if leaf[:_TAG_BYTES] in self._ended:
                return None
            return Failure("withheld", entry, "the entry is in the tree, and its record is not in the bundle")
        group = self._entries.grouped.at(number)
        tag = self._tags[group]
        if leaf != tag + self._entries.digest(number):
            return Failure("changed", entry, "the record is not the one that the notary's tree has here")
        if self._scope.keys is not None and self._keys[group] not in self._scope.keys:
            return Failure("added", entry, "the record is of no work item that was exported")
        if tag in self._ended:
            return Failure("added", entry, "the record lies behind the end of what was asked for")
        if self._entries.ending.get(group) == number:
            self._ended.add(tag)
        return None


class _Roots:
    """The roots of a growing tree, at its end and at an earlier size."""

    def __init__(self, genesis: Genesis, earlier: Checkpoint | None) -> None:
        self._frontier = Frontier()
        self._earlier_size = -1 if earlier is None else earlier.size
        self.at_earlier: bytes | None = EMPTY_ROOT if self._earlier_size == 0 else None
        self._extend([leaf_hash(genesis.leaf())])

    def grow(self, block: bytes) -> None:
        """Put more leaves at the end."""
        hashes = leaf_hashes(block, LEAF_BYTES)
        short = self._earlier_size - self._frontier.size
        if 0 < short < len(hashes):
            self._extend(hashes[:short])
            self._extend(hashes[short:])
        else:
            self._extend(hashes)

    def _extend(self, hashes: list[bytes]) -> None:
        self._frontier.extend(hashes)
        if self._frontier.size == self._earlier_size:
            self.at_earlier = self._frontier.root()

    def root(self) -> bytes:
        """The root of all."""
        return self._frontier.root()


def covered(
    genesis: Genesis,
    checkpoint: Checkpoint,
    leaves: BinaryIO,
    entries: Entries,
    scope: Scope,
    earlier: Checkpoint | None = None,
) -> Covered:
    """Check a tree of as many leaves as the checkpoint says; ``earlier`` is one that was signed before."""
    partition = genesis.partition
    records, roots = _Records(partition, entries, scope), _Roots(genesis, earlier)
    failures: list[Failure] = []
    first = gaps = 0
    while block := leaves.read(BLOCK_LEAVES * LEAF_BYTES):
        gaps += gaps_in(block)
        failures += islice(records.check(block, first), MOST_FAILURES - len(failures))
        roots.grow(block)
        first += len(block) // LEAF_BYTES
    if roots.root() != checkpoint.root:
        detail = f"the leaves of partition {partition} are not those whose root the notary signed"
        failures.append(Failure("changed", None, detail))
    if earlier is not None and roots.at_earlier != earlier.root:
        failures.append(_rolled_back(earlier, checkpoint))
    return Covered(gaps, failures)


def _rolled_back(earlier: Checkpoint, checkpoint: Checkpoint) -> Failure:
    if earlier.size > checkpoint.size:
        what = f"the earlier checkpoint covers {earlier.size} leaves, this bundle's only {checkpoint.size}"
    else:
        what = f"the first {earlier.size} leaves are not those of the earlier checkpoint"
    return Failure("rolled-back", None, f"{checkpoint.origin}: {what}")


def wrong_length(partition: int, size: int, file_bytes: int) -> Failure | None:
    """What is wrong where a file of leaves is longer or shorter than a tree of ``size`` leaves needs."""
    right = LEAF_BYTES * (size - 1)
    if file_bytes == right:
        return None
    if file_bytes % LEAF_BYTES:
        return Failure("malformed", None, f"the leaves of partition {partition} are not 64 bytes each")
    count = abs(file_bytes - right) // LEAF_BYTES
    if file_bytes < right:
        return Failure("withheld", None, f"partition {partition} lacks {count} of its leaves")
    return Failure("added", None, f"partition {partition} has {count} leaves more than the checkpoint covers")
