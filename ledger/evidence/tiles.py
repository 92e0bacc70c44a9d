"""A tree as files that anybody may serve and check: C2SP's tlog-tiles (c2sp.org/tlog-tiles), without entry bundles.

A tile holds up to 256 hashes that lie side by side at tree level 8 times the tile's own; what was written never
changes. A tile at the right edge has fewer: which width it has at a size of the tree is in its path, so that a tree
that has grown leaves the tiles of the one before as they were.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import NamedTuple

from ledger.evidence.merkle import (
    HASH_BYTES,
    Frontier,
    Subtrees,
    block_root,
    perfect_subtrees,
)

TILE_LEVELS = 8
TILE_HASHES = 1 << TILE_LEVELS
CHECKPOINT_PATH = "checkpoint"


class BadTile(ValueError):
    """A tile that is not there, or does not have the hashes that it must have."""


class Tile(NamedTuple):
    """Which tile: its level, its number there, and how many hashes it has."""

    level: int
    number: int
    width: int = TILE_HASHES

    @property
    def path(self) -> str:
        """Where it lies below the tree's prefix."""
        return self.whole_path if self.is_whole else f"{self.partial_folder}/{self.width}"

    @property
    def whole_path(self) -> str:
        """Where it lies, or will lie, once it is full."""
        parts = [f"{self.number % 1000:03}"]
        rest = self.number // 1000
        while rest:
            parts.append(f"x{rest % 1000:03}")
            rest //= 1000
        return f"tile/{self.level}/{'/'.join(reversed(parts))}"

    @property
    def partial_folder(self) -> str:
        """Where it lies while it is not full, by its width."""
        return f"{self.whole_path}.p"

    @property
    def is_whole(self) -> bool:
        return self.width == TILE_HASHES


ReadFile = Callable[[str], bytes | None]
"""What the file at a path below the tree's prefix holds; null where there is none."""


def tile_at(level: int, number: int, size: int) -> Tile:
    """The tile as it is in a tree of ``size`` leaves. Raises ``BadTile`` where it has none."""
    count = (size >> TILE_LEVELS * level) - number * TILE_HASHES
    if count < 1:
        raise BadTile(f"a tree of {size} leaves has no tile {number} at level {level}")
    return Tile(level, number, min(count, TILE_HASHES))


def edge_tiles(size: int) -> Iterator[Tile]:
    """The tiles at the right edge of a tree that are not full, the lowest first."""
    level = 0
    while size >> TILE_LEVELS * level:
        width = (size >> TILE_LEVELS * level) % TILE_HASHES
        if width:
            yield Tile(level, size >> TILE_LEVELS * (level + 1), width)
        level += 1


def hashes_in(tile: Tile, read: ReadFile) -> list[bytes]:
    """A tile's hashes. Where it was taken away since it grew full, the full one serves. Raises ``BadTile``."""
    data = read(tile.path)
    if data is None and not tile.is_whole:
        data = read(tile.whole_path)
        data = None if data is None else data[: tile.width * HASH_BYTES]
    if data is None:
        raise BadTile(f"there is no {tile.path}")
    if len(data) != tile.width * HASH_BYTES:
        raise BadTile(f"{tile.path} has {len(data)} bytes, not {tile.width * HASH_BYTES}")
    return [data[at : at + HASH_BYTES] for at in range(0, len(data), HASH_BYTES)]


def subtrees_of(size: int, read: ReadFile) -> Subtrees:
    """What proofs within a tree of ``size`` leaves are made of, out of its tiles, each of which is read once."""
    known: dict[Tile, list[bytes]] = {}

    def subtree(level: int, index: int) -> bytes:
        low = level % TILE_LEVELS
        first = index << low
        tile = tile_at(level // TILE_LEVELS, first // TILE_HASHES, size)
        if tile not in known:
            known[tile] = hashes_in(tile, read)
        at = first % TILE_HASHES
        found = known[tile][at : at + (1 << low)]
        if len(found) != 1 << low:
            raise BadTile(f"a tree of {size} leaves has no subtree {index} at level {level}")
        return block_root(found)

    return subtree


class Edge:
    """The right edge of a growing tree, in tiles: all that is needed to append, and to write what comes next."""

    def __init__(self, size: int = 0, levels: Sequence[Sequence[bytes]] = ()) -> None:
        """``levels`` are the hashes in the last tile of each level, of as many levels as there are."""
        self.size = size
        self._levels = [list(hashes) for hashes in levels]

    @classmethod
    def read(cls, size: int, read: ReadFile) -> Edge:
        """The edge of a tree of ``size`` leaves, out of its tiles. Raises ``BadTile``."""
        levels: list[list[bytes]] = []
        while size >> TILE_LEVELS * len(levels):
            levels.append([])
        for tile in edge_tiles(size):
            levels[tile.level] = hashes_in(tile, read)
        return cls(size, levels)

    def extend(self, hashed: Iterable[bytes]) -> list[tuple[Tile, bytes]]:
        """Put the hashes of more leaves at the end; the tiles that are full now, with what they hold."""
        coming = list(hashed)
        self.size += len(coming)
        full: list[tuple[Tile, bytes]] = []
        level = 0
        while coming:
            if level == len(self._levels):
                self._levels.append([])
            held = self._levels[level] + coming
            first = (self.size >> TILE_LEVELS * (level + 1)) - len(held) // TILE_HASHES
            coming = []
            at = 0
            while len(held) - at >= TILE_HASHES:
                block = held[at : at + TILE_HASHES]
                full.append((Tile(level, first + len(coming)), b"".join(block)))
                coming.append(block_root(block))
                at += TILE_HASHES
            self._levels[level] = held[at:]
            level += 1
        return full

    def partial_tiles(self) -> list[tuple[Tile, bytes]]:
        """The tiles that are not full, with what they hold."""
        return [(tile, b"".join(self._levels[tile.level])) for tile in edge_tiles(self.size)]

    def root(self) -> bytes:
        """The root of the tree so far."""
        frontier = Frontier()
        for level, hashes in reversed(list(enumerate(self._levels))):
            for low, index in perfect_subtrees(0, len(hashes)):
                block = hashes[index << low : (index + 1) << low]
                frontier.put(level * TILE_LEVELS + low, block_root(block))
        return frontier.root()
