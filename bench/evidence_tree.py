"""Figures: the tree of a log: its hashing against SHA-256 alone, checkpoints with their tiles, proofs."""

from __future__ import annotations

import hashlib
import statistics
from collections.abc import Sequence
from random import Random

from bench.ledgers import filled, folder
from bench.rounds import Figure, Reported, in_turns, rates, seconds
from bench.sizes import Sizes
from bench.workload import Workload, records
from consumers.evidence.keys import new_keys
from consumers.evidence.notary import Notary, open_notary
from consumers.evidence.proving import prove_consistency, prove_inclusion, signed_tree
from consumers.settings import Settings
from ledger.evidence.leaves import leaf_hashing, tag_of
from ledger.evidence.merkle import HASH_BYTES
from ledger.evidence.tiles import Edge
from ledger.record import Record, record_bytes

_BATCH = 4_096
_TAG_KEY = bytes(32)
_PROOFS = 50


def evidence_tree(sizes: Sizes) -> list[Figure | Reported]:
    return [_hashing(sizes), _signing(sizes)]


def _hashing(sizes: Sizes) -> Figure:
    entries = records(Workload(1), sizes.leaves)
    hashed = _all_that_is_hashed(entries)

    def root() -> float:
        return seconds(lambda: _root(entries))

    def only_sha256() -> float:
        def run() -> None:
            sha256 = hashlib.sha256
            for one in hashed:
                sha256(one).digest()

        return seconds(run)

    ours, theirs = in_turns("evidence-hashing", root, only_sha256, sizes.rounds)
    return Figure(
        name="evidence-hashing",
        title="Evidence: records to a root",
        unit="leaves/s",
        ours="leaf_hashing and Edge: record bytes, tags, leaves, nodes and the tiles' bytes",
        theirs="hashlib.sha256 alone over the same record bytes, leaves and nodes",
        target=0.3,
        at_least=True,
        ours_each=rates(ours, len(entries)),
        theirs_each=rates(theirs, len(entries)),
        notes={"entries": len(entries), "bytes_hashed": sum(map(len, hashed))},
    )


def _root(entries: Sequence[Record]) -> bytes:
    edge, hashes = Edge(), leaf_hashing(_TAG_KEY)
    for at in range(0, len(entries), _BATCH):
        batch = entries[at : at + _BATCH]
        edge.extend(hashes(batch, at, at + len(batch)))
    return edge.root()


def _all_that_is_hashed(entries: Sequence[Record]) -> list[bytes]:
    """Every input of SHA-256 but the tags', which are kept from one entry of a work item to the next."""
    sha256 = hashlib.sha256
    found = [record_bytes(one) for one in entries]
    leaves = [
        b"\x00" + tag_of(_TAG_KEY, one.key) + sha256(data).digest() for one, data in zip(entries, found, strict=True)
    ]
    found += leaves
    level = [sha256(one).digest() for one in leaves]
    while len(level) > 1:
        nodes = [b"\x01" + left + right for left, right in zip(level[::2], level[1::2], strict=False)]
        found += nodes
        level = [sha256(one).digest() for one in nodes] + (level[-1:] if len(level) % 2 else [])
    return found


def _signing(sizes: Sizes) -> Reported:
    """One whole checkpoint of a log on the disk, the next after one more entry, and proofs."""
    with folder() as place:
        filled(place / "log.db", sizes.leaves)
        new_keys(place / "keys", "bench")
        settings = Settings.read(f"sqlite:///{place}/log.db", keys=place / "keys")
        with open_notary(settings) as notary:
            whole = seconds(lambda: notary.checkpoint(0))
            tiles = [path for path in (place / "pauseledger.tiles").rglob("*") if path.is_file()]
            filled(place / "log.db", 1)
            one_more = seconds(lambda: notary.checkpoint(0))
            values = [
                ("leaves a second, read, hashed, tiled and signed", sizes.leaves / whole, "leaves/s"),
                ("tiles a second", len(tiles) / whole, "tiles/s"),
                ("tiles and checkpoint", len(tiles), "files"),
                ("their bytes a leaf", sum(path.stat().st_size for path in tiles) / sizes.leaves, "bytes"),
                ("a checkpoint of one more entry", one_more * 1000, "ms"),
                *_proofs(notary, sizes.leaves),
            ]
    return Reported("evidence-tree", "Evidence: checkpoints, tiles and proofs", values, notes={"entries": sizes.leaves})


def _proofs(notary: Notary, entries: int) -> list[tuple[str, float, str]]:
    chance = Random(1)
    offsets = [chance.randrange(entries) for _ in range(_PROOFS)]
    taken = [seconds(lambda offset=offset: prove_inclusion(signed_tree(notary, 0), offset)) for offset in offsets]
    inclusion = prove_inclusion(signed_tree(notary, 0), entries // 2)
    first = notary.journal.after(notary.origin_of(0), 0, 1)[0].checkpoint.size
    consistency = prove_consistency(notary, 0, first)
    return [
        ("a proof of inclusion", statistics.median(taken) * 1000, "ms"),
        ("its hashes", len(inclusion.hashes) * HASH_BYTES, "bytes"),
        ("a proof of consistency with the checkpoint before", len(consistency.hashes) * HASH_BYTES, "bytes"),
    ]
