"""Tiles of growing trees: C2SP's own examples of paths and widths, and every proof out of tiles alone."""

from __future__ import annotations

import hashlib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ledger.evidence.merkle import (
    ProofRefused,
    consistency_proof,
    inclusion_proof,
    root_of,
    verify_consistency,
    verify_inclusion,
)
from ledger.evidence.proofs import inclusion_text
from ledger.evidence.tiles import BadTile, Edge, Tile, edge_tiles, hashes_in, subtrees_of, tile_at

LEAVES = [hashlib.sha256(b"%d" % n).digest() for n in range(70_000)]


def grown(steps: list[int]) -> tuple[Edge, dict[str, bytes]]:
    """A tree that grew in these steps, and all files that were written: no path is ever written with other bytes."""
    edge, files = Edge(), dict[str, bytes]()
    for count in steps:
        coming = LEAVES[edge.size : edge.size + count]
        for tile, data in [*edge.extend(coming), *edge.partial_tiles()]:
            assert files.setdefault(tile.path, data) == data
    return edge, files


def test_paths_are_those_of_the_specification() -> None:
    """Its own examples: index 1234067, and a partial tile."""
    assert Tile(0, 1234067).path == "tile/0/x001/x234/067"
    assert Tile(5, 0, 17).path == "tile/5/000.p/17"
    assert Tile(1, 1000).path == "tile/1/x001/000"


def test_a_tree_of_70000_leaves_has_the_tiles_of_the_specification() -> None:
    """273 full tiles and one of 112 at level 0, one full and one of 17 at level 1, one of width 1 at level 2."""
    edge, files = grown([70_000])
    assert list(edge_tiles(70_000)) == [Tile(0, 273, 112), Tile(1, 1, 17), Tile(2, 0, 1)]
    assert len(files) == 273 + 1 + 2 + 1
    assert list(edge_tiles(256)) == [Tile(1, 0, 1)]
    assert edge.root() == root_of(LEAVES)


@given(st.lists(st.sampled_from([1, 2, 3, 100, 255, 256, 257, 511, 4096]), min_size=1, max_size=12))
def test_however_a_tree_grows_its_tiles_are_the_same(steps: list[int]) -> None:
    """Roots and edges depend on the leaves alone, and a tree goes on from its files as from memory."""
    edge, files = grown(steps)
    once, at_once = grown([sum(steps)])
    again = Edge.read(edge.size, files.get)
    assert at_once.items() <= files.items()
    assert edge.root() == once.root() == again.root() == root_of(LEAVES[: edge.size])
    assert again.extend(LEAVES[:300]) == edge.extend(LEAVES[:300])
    assert again.partial_tiles() == edge.partial_tiles()


@given(st.integers(1, 1_500), st.data())
def test_proofs_come_out_of_tiles(size: int, data: st.DataObject) -> None:
    """Inclusion of any leaf in any tree, and consistency with any before it, out of the newest tree's tiles."""
    _, files = grown([size, 300])
    subtrees = subtrees_of(size + 300, files.get)
    index, old = data.draw(st.integers(0, size - 1)), data.draw(st.integers(1, size))
    root = root_of(LEAVES[: size + 300])
    proof = inclusion_proof(index, size + 300, subtrees)
    verify_inclusion(LEAVES[index], index, size + 300, proof, root)
    verify_consistency(old, size + 300, consistency_proof(old, size + 300, subtrees), root_of(LEAVES[:old]), root)
    with pytest.raises(ProofRefused):
        verify_inclusion(LEAVES[index + 1], index, size + 300, proof, root)


def test_a_partial_tile_that_was_taken_away_is_read_from_the_full_one() -> None:
    """Partial tiles may go once the full one is there: an old tree is read from that."""
    _, files = grown([100, 400])
    del files["tile/0/000.p/100"]
    assert Edge.read(100, files.get).root() == root_of(LEAVES[:100])


@pytest.mark.parametrize("size", [0, 1, 255, 257])
def test_a_tile_that_is_missing_or_short_is_said(size: int) -> None:
    """Never a wrong root in silence: what is not there, and what has another length, is an error."""
    tile = Tile(0, 0, 256)
    with pytest.raises(BadTile, match="no tile/0/000"):
        hashes_in(tile, {}.get)
    with pytest.raises(BadTile, match="bytes"):
        hashes_in(tile, {tile.path: bytes(32 * size)}.get)


def test_a_tree_has_no_tile_behind_its_end() -> None:
    """Nobody is led to ask for one."""
    for level, number in [(0, 2), (1, 1), (2, 0)]:
        with pytest.raises(BadTile):
            tile_at(level, number, 512)
    subtrees = subtrees_of(3, grown([3])[1].get)
    with pytest.raises(BadTile):
        subtrees(1, 1)


def test_a_proof_as_text_is_that_of_the_specification() -> None:
    """Header, index, hashes from the leaf's sibling on, an empty line, and the checkpoint as it was signed."""
    text = inclusion_text(5, [bytes(32)], "acme/log/0\n9\nroot\n\n— acme x\n")
    zeros = "A" * 43 + "="
    assert text == f"c2sp.org/tlog-proof@v1\nindex 5\n{zeros}\n\nacme/log/0\n9\nroot\n\n— acme x\n"
    assert inclusion_text(0, [], "note\n") == "c2sp.org/tlog-proof@v1\nindex 0\n\nnote\n"
