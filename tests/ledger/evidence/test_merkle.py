"""The tree: against RFC 6962's own definition, for every size and index up to a limit, and with broken proofs."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ledger.evidence import merkle
from ledger.evidence.merkle import Frontier, ProofRefused, leaf_hash

LEAVES = [number.to_bytes(64, "big") for number in range(700)]
HASHES = merkle.leaf_hashes(b"".join(LEAVES), 64)
MOST = 67

# The test vectors of Certificate Transparency's own implementations.
CT_LEAVES = [
    bytes.fromhex(one)
    for one in ("", "00", "10", "2021", "3031", "40414243", "5051525354555657", "606162636465666768696a6b6c6d6e6f")
]
CT_ROOTS = [
    "6e340b9cffb37a989ca544e6bb780a2c78901d3fb33738768511a30617afa01d",
    "fac54203e7cc696cf0dfcb42c92a1d9dbaf70ad9e621f4bd8d98662f00e3c125",
    "aeb6bcfe274b70a14fb067a5e5578264db0fa9b51af5e0ba159158f329e06e77",
    "d37ee418976dd95753c1c73862b9398fa2a2cf9b4ff0fdfe8b30cd95209614b7",
    "4e3bbb1f7b478dcfe71fb631631519a3bca12c9aefca1612bfce4c13a86264d4",
    "76e67dadbcdf1e10e1b74ddc608abd2f98dfb16fbce75277b5232a127f2087ef",
    "ddb89be403809e325750d3d263cd78929c2942b7942a34b77e122c9594a74c8c",
    "5dc9da79a70659a9ad559cb701ded9a2ab9d823aad2f4960cfe370eff4604328",
]


def defined(leaves: Sequence[bytes]) -> bytes:
    """MTH as RFC 6962 2.1 defines it."""
    if not leaves:
        return hashlib.sha256(b"").digest()
    if len(leaves) == 1:
        return hashlib.sha256(b"\x00" + leaves[0]).digest()
    half = 1
    while half * 2 < len(leaves):
        half *= 2
    return hashlib.sha256(b"\x01" + defined(leaves[:half]) + defined(leaves[half:])).digest()


def subtree(level: int, index: int) -> bytes:
    return merkle.block_root(HASHES[index << level : (index + 1) << level])


@pytest.mark.parametrize(("size", "root"), list(enumerate(CT_ROOTS, 1)))
def test_roots_are_those_of_certificate_transparency(size: int, root: str) -> None:
    """The vectors that other implementations are tested with."""
    assert merkle.root_of(map(leaf_hash, CT_LEAVES[:size])).hex() == root


def test_every_root_is_as_defined() -> None:
    """Leaf after leaf, for every size."""
    frontier = Frontier()
    for size, hashed in enumerate(HASHES[:300]):
        assert frontier.root() == defined(LEAVES[:size])
        frontier.append(hashed)


@given(st.lists(st.integers(0, 300), max_size=6))
def test_however_it_is_cut_the_root_is_one(parts: list[int]) -> None:
    """By blocks or leaf by leaf, in parts of any length, also gone on with from a stored frontier."""
    frontier = Frontier()
    for part in parts:
        frontier = Frontier(frontier.size, frontier.hashes)
        frontier.extend(HASHES[frontier.size : frontier.size + part])
    assert frontier.root() == merkle.root_of(HASHES[: frontier.size])


def test_every_inclusion_is_proven() -> None:
    """Every leaf of every tree up to a size, and no other leaf, place or root."""
    for size in range(1, MOST):
        root = defined(LEAVES[:size])
        for index in range(size):
            proof = merkle.inclusion_proof(index, size, subtree)
            merkle.verify_inclusion(HASHES[index], index, size, proof, root)
            with pytest.raises(ProofRefused):
                merkle.verify_inclusion(HASHES[index + 1], index, size, proof, root)
            with pytest.raises(ProofRefused):
                merkle.verify_inclusion(HASHES[index], index, size, [*proof, root], root)
            if proof:
                with pytest.raises(ProofRefused):
                    merkle.verify_inclusion(HASHES[index], index, size, proof[:-1], root)
                with pytest.raises(ProofRefused):
                    merkle.verify_inclusion(HASHES[index], index ^ 1, size, proof, root)


def test_every_consistency_is_proven() -> None:
    """Every two sizes, and neither root may be another."""
    other = bytes(32)
    for new in range(1, MOST):
        new_root = defined(LEAVES[:new])
        for old in range(1, new + 1):
            old_root = defined(LEAVES[:old])
            proof = merkle.consistency_proof(old, new, subtree)
            merkle.verify_consistency(old, new, proof, old_root, new_root)
            for wrong in ((other, new_root), (old_root, other)):
                with pytest.raises(ProofRefused):
                    merkle.verify_consistency(old, new, proof, *wrong)
            with pytest.raises(ProofRefused):
                merkle.verify_consistency(old, new, [*proof, other], old_root, new_root)
            if proof:
                with pytest.raises(ProofRefused):
                    merkle.verify_consistency(old, new, proof[:-1], old_root, new_root)


def test_a_frontier_is_read_from_its_subtrees() -> None:
    """What is stored as tiles gives back the edge to append to."""
    for size in (0, 1, 2, 255, 256, 257, 600):
        assert merkle.frontier_at(size, subtree).root() == merkle.root_of(HASHES[:size])


def test_what_makes_no_tree_is_refused() -> None:
    """A frontier with a hash too many, a subtree out of its place, a proof of nothing."""
    with pytest.raises(ValueError, match="has 2 hashes"):
        Frontier(3, HASHES[:1])
    with pytest.raises(ValueError, match="can't begin at leaf 1"):
        Frontier(1, HASHES[:1]).put(1, HASHES[0])
    with pytest.raises(ValueError, match="no perfect subtree"):
        merkle.block_root(HASHES[:3])
    for index in (-1, 5):
        with pytest.raises(ValueError, match="no leaf"):
            merkle.inclusion_proof(index, 5, subtree)
        with pytest.raises(ProofRefused, match="no leaf"):
            merkle.verify_inclusion(HASHES[0], index, 5, [], HASHES[0])
    for old in (0, 6):
        with pytest.raises(ValueError, match="nothing to prove"):
            merkle.consistency_proof(old, 5, subtree)
