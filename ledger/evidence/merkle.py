"""The Merkle tree of RFC 6962 (hashes as in RFC 9162, section 2): roots, and proofs that somebody else verifies.

Nothing here knows what a leaf means. Hashes are 32 bytes; an index counts leaves from 0; ``size`` counts leaves.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterable, Iterator, Sequence

_sha256 = hashlib.sha256

HASH_BYTES = 32
EMPTY_ROOT = _sha256(b"").digest()

Subtrees = Callable[[int, int], bytes]
"""The hash of a perfect subtree, by its level and its index there: 2**level leaves from index * 2**level on."""


class ProofRefused(ValueError):
    """A proof that does not prove what it was given for."""


def leaf_hash(leaf: bytes) -> bytes:
    """The hash of a leaf."""
    return _sha256(b"\x00" + leaf).digest()


def node_hash(left: bytes, right: bytes) -> bytes:
    """The hash of an inner node."""
    return _sha256(b"\x01" + left + right).digest()


def leaf_hashes(leaves: bytes, width: int) -> list[bytes]:
    """The hashes of leaves of ``width`` bytes that lie one behind another."""
    sha256 = _sha256
    return [sha256(b"\x00" + leaves[at : at + width]).digest() for at in range(0, len(leaves), width)]


def level_above(hashes: Sequence[bytes]) -> list[bytes]:
    """The hashes one level up, of an even number of siblings."""
    sha256 = _sha256
    return [sha256(b"\x01" + left + right).digest() for left, right in zip(hashes[::2], hashes[1::2], strict=True)]


class Frontier:
    """The right edge of a growing tree: the roots of its perfect subtrees, the largest first.

    It is all that is needed to append, and to know the root: some dozens of hashes for any number of leaves.
    """

    def __init__(self, size: int = 0, hashes: Sequence[bytes] = ()) -> None:
        """``hashes`` are those of :attr:`hashes` at that size. Raises ``ValueError`` for another number of them."""
        if size < 0 or len(hashes) != size.bit_count():
            raise ValueError(f"a frontier of {size} leaves has {size.bit_count()} hashes, not {len(hashes)}")
        self.size = size
        self._hashes = list(hashes)

    @property
    def hashes(self) -> tuple[bytes, ...]:
        """The roots of the perfect subtrees, the largest first."""
        return tuple(self._hashes)

    def append(self, hashed: bytes) -> None:
        """Put the hash of one more leaf at the end."""
        self._put(0, hashed)

    def extend(self, hashed: Iterable[bytes]) -> None:
        """Put the hashes of more leaves at the end."""
        coming = list(hashed)
        at = 0
        while at < len(coming) and self.size % 256:
            self._put(0, coming[at])
            at += 1
        while len(coming) - at >= 256:  # whole blocks, level by level: half the work of one leaf after another
            self._put(8, block_root(coming[at : at + 256]))
            at += 256
        for one in coming[at:]:
            self._put(0, one)

    def _put(self, level: int, hashed: bytes) -> None:
        """A perfect subtree at the end; the size must be a multiple of its own."""
        count = self.size >> level
        self.size += 1 << level
        while count & 1:
            hashed = node_hash(self._hashes.pop(), hashed)
            count >>= 1
        self._hashes.append(hashed)

    def put(self, level: int, hashed: bytes) -> None:
        """Put a perfect subtree of 2**level leaves at the end. Raises ``ValueError`` where it can't stand there."""
        if self.size % (1 << level):
            raise ValueError(f"a subtree of {1 << level} leaves can't begin at leaf {self.size}")
        self._put(level, hashed)

    def root(self) -> bytes:
        """The root of the tree so far."""
        return _joined(self._hashes)


def block_root(hashes: Sequence[bytes]) -> bytes:
    """The root of a perfect subtree, of its leaves' hashes. Raises ``ValueError`` where they are no power of 2."""
    if len(hashes).bit_count() != 1:
        raise ValueError(f"{len(hashes)} leaves make no perfect subtree")
    while len(hashes) > 1:
        hashes = level_above(hashes)
    return hashes[0]


def root_of(hashes: Iterable[bytes]) -> bytes:
    """The root over the hashes of all leaves."""
    frontier = Frontier()
    frontier.extend(hashes)
    return frontier.root()


def _joined(hashes: Sequence[bytes]) -> bytes:
    """One root of the roots of perfect subtrees, the largest first."""
    if not hashes:
        return EMPTY_ROOT
    root = hashes[-1]
    for one in reversed(hashes[:-1]):
        root = node_hash(one, root)
    return root


def perfect_subtrees(begin: int, end: int) -> Iterator[tuple[int, int]]:
    """Level and index of the fewest perfect subtrees that make up the leaves from ``begin`` to before ``end``."""
    while begin < end:
        level = (end - begin).bit_length() - 1
        if begin:
            level = min(level, (begin & -begin).bit_length() - 1)
        yield level, begin >> level
        begin += 1 << level


def frontier_at(size: int, subtrees: Subtrees) -> Frontier:
    """The frontier of the tree's first ``size`` leaves, read from its subtrees."""
    return Frontier(size, [subtrees(level, index) for level, index in perfect_subtrees(0, size)])


def _range_root(begin: int, end: int, subtrees: Subtrees) -> bytes:
    return _joined([subtrees(level, index) for level, index in perfect_subtrees(begin, end)])


def _split(begin: int, end: int) -> int:
    """Where the right half of a tree over these leaves begins: a power of two behind its first."""
    return begin + (1 << (end - begin - 1).bit_length() - 1)


def inclusion_proof(index: int, size: int, subtrees: Subtrees) -> list[bytes]:
    """The proof that leaf ``index`` is in the tree of ``size`` leaves (RFC 9162, 2.1.3.1). Raises ``ValueError``."""
    if not 0 <= index < size:
        raise ValueError(f"there is no leaf {index} in a tree of {size}")
    proof = []
    begin, end = 0, size
    while end - begin > 1:
        middle = _split(begin, end)
        if index < middle:
            proof.append(_range_root(middle, end, subtrees))
            end = middle
        else:
            proof.append(_range_root(begin, middle, subtrees))
            begin = middle
    return proof[::-1]


def consistency_proof(old: int, new: int, subtrees: Subtrees) -> list[bytes]:
    """The proof that the tree of ``new`` leaves begins with ``old`` (RFC 9162, 2.1.4.1). Raises ``ValueError``."""
    if not 0 < old <= new:
        raise ValueError(f"there is nothing to prove between {old} and {new} leaves")
    proof = []
    begin, end, is_whole = 0, new, True
    while old != end:
        middle = _split(begin, end)
        if old <= middle:
            proof.append(_range_root(middle, end, subtrees))
            end = middle
        else:
            proof.append(_range_root(begin, middle, subtrees))
            begin, is_whole = middle, False
    if not is_whole:
        proof.append(_range_root(begin, end, subtrees))
    return proof[::-1]


def verify_inclusion(hashed: bytes, index: int, size: int, proof: Sequence[bytes], root: bytes) -> None:
    """Raises ``ProofRefused`` unless the leaf of that hash is the one at ``index`` (RFC 9162, 2.1.3.2)."""
    if not 0 <= index < size:
        raise ProofRefused(f"there is no leaf {index} in a tree of {size}")
    at, last, found = index, size - 1, hashed
    for one in proof:
        if last == 0:
            raise ProofRefused("the proof is too long")
        if at & 1 or at == last:
            found = node_hash(one, found)
            while not at & 1 and at:
                at >>= 1
                last >>= 1
        else:
            found = node_hash(found, one)
        at >>= 1
        last >>= 1
    if last:
        raise ProofRefused("the proof is too short")
    if found != root:
        raise ProofRefused("the proof leads to another root")


def verify_consistency(old: int, new: int, proof: Sequence[bytes], old_root: bytes, new_root: bytes) -> None:
    """Raises ``ProofRefused`` unless the new tree begins with the old one (RFC 9162, 2.1.4.2)."""
    if not 0 < old <= new:
        raise ProofRefused(f"there is nothing to prove between {old} and {new} leaves")
    if old == new:
        if proof or old_root != new_root:
            raise ProofRefused("two trees of one size have one root, and need no proof")
        return
    path = list(proof) if old.bit_count() > 1 else [old_root, *proof]
    if not path:
        raise ProofRefused("the proof is empty")
    at, last = old - 1, new - 1
    while at & 1:
        at >>= 1
        last >>= 1
    found_old = found_new = path[0]
    for one in path[1:]:
        if last == 0:
            raise ProofRefused("the proof is too long")
        if at & 1 or at == last:
            found_old, found_new = node_hash(one, found_old), node_hash(one, found_new)
            while not at & 1 and at:
                at >>= 1
                last >>= 1
        else:
            found_new = node_hash(found_new, one)
        at >>= 1
        last >>= 1
    if last:
        raise ProofRefused("the proof is too short")
    if found_old != old_root or found_new != new_root:
        raise ProofRefused("the proof leads to other roots")
