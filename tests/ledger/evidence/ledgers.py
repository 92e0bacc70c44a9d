"""Small ledgers under a notary's signature, and bundles of them: what the tests of export and verify share."""

from __future__ import annotations

import base64
import hashlib
import json
from collections.abc import Iterable, Iterator, Sequence
from functools import cache
from pathlib import Path
from typing import Any, NamedTuple

from consumers.evidence.bundle_files import Notary, Tree, write_bundle
from ledger.cloudevents import STRUCTURED_HEADERS
from ledger.evidence.bundle import Manifest, Query
from ledger.evidence.leaves import LEAF_BYTES, NO_RECORD, Genesis, leaf_of, tag_key_digest
from ledger.evidence.merkle import Frontier, leaf_hash, leaf_hashes
from ledger.evidence.notes import Checkpoint, Note
from ledger.evidence.signatures import Signer
from ledger.partitions import partition_of
from ledger.record import Record

SIGNER = Signer("acme.example/audit", bytes(range(32)))
STRANGER = Signer("acme.example/audit", bytes(32))
TAG_KEY = hashlib.sha256(b"tag key of the tests").digest()
START = 1_774_688_400_000
"""28 March 2026, 09:00 UTC."""
MINUTE = 60_000
PAY = {"kind": "tool", "name": "pay", "target": "Ærø/7", "arguments": {"cents": 500}, "idempotency_key": "pay-1"}


class Signed(NamedTuple):
    """A log, as its notary signed it."""

    signer: Signer
    records: Sequence[Record]
    partitions: int
    sizes: Sequence[int]
    """Of each tree, with the genesis."""

    def genesis(self, partition: int) -> Genesis:
        topic_id = "7d5b8a3e-0000-4000-8000-000000000001"
        digest = tag_key_digest(TAG_KEY)
        return Genesis(self.signer.verifier.name, "payments", topic_id, partition, self.partitions, digest)

    def leaves(self, partition: int) -> bytes:
        """All leaves behind the genesis."""
        leaves = [NO_RECORD] * (self.sizes[partition] - 1)
        for record in self.of(partition):
            if record.offset < len(leaves):
                leaves[record.offset] = leaf_of(TAG_KEY, record)
        return b"".join(leaves)

    def of(self, partition: int) -> list[Record]:
        return [one for one in self.records if one.partition == partition]

    def checkpoint(self, partition: int) -> Checkpoint:
        genesis = self.genesis(partition)
        frontier = Frontier()
        frontier.append(leaf_hash(genesis.leaf()))
        frontier.extend(leaf_hashes(self.leaves(partition), LEAF_BYTES))
        return Checkpoint(genesis.origin, frontier.size, frontier.root())

    def note(self, partition: int) -> bytes:
        return signed(self.signer, self.checkpoint(partition))

    def trees(self) -> list[Tree]:
        return [self._tree(partition) for partition in range(self.partitions)]

    def _tree(self, partition: int) -> Tree:
        def records() -> Iterator[Record]:
            return iter(self.of(partition))

        return Tree(self.genesis(partition), self.checkpoint(partition), self.note(partition), records)

    def export(self, folder: Path, query: Query) -> Manifest:
        """Write a bundle, as the exporter does."""
        folder.mkdir()
        return write_bundle(folder, query, self.trees(), Notary(self.signer.verifier, TAG_KEY))


def signed(signer: Signer, checkpoint: Checkpoint) -> bytes:
    """A checkpoint under a signature."""
    return str(Note(checkpoint.text, (signer.sign(checkpoint.text),))).encode()


def event(subject: str, name: str, id_: str, **data: Any) -> bytes:
    """A CloudEvent, as a line."""
    actor = {"actor": data.pop("actor")} if "actor" in data else {}
    head = {"specversion": "1.0", "id": id_, "source": "/runtime", "type": f"pauseledger.{name}", "subject": subject}
    return json.dumps(head | actor | {"data": data}, ensure_ascii=False).encode()


def life(subject: str) -> list[bytes]:
    """What happens to a work item: a pause that is resumed, one that goes stale, a resend and what is refused."""
    of = {"execution": "run-1", "pause": f"{subject}/p1"}
    owned = of | {"owner": "user:ann", "pending_action": PAY, "side_effect": "not_happened", "fresh_for": "PT15M"}
    beat = event(subject, "heartbeat.recorded", "e2", **of, actor="user:ann")
    return [
        event(subject, "pause.opened", "e1", **owned),
        beat,
        beat,
        event(subject, "heartbeat.recorded", "e2", **of, actor="user:bob"),
        event(subject, "resume.requested", "e3", **of, actor="user:eve"),
        event(subject, "note.added", "e4", text="an annotation: é, 漢字, \u2028, 😀"),
        event(subject, "pause.opened", "e5", **(owned | {"pause": f"{subject}/p2"})),
        event(subject, "no.such", "e6"),
    ]


ODD: list[tuple[bytes | None, bytes | None, tuple[tuple[str, bytes | None], ...]]] = [
    (None, b"\xff\xfe no text", ()),
    (b"", None, ()),
    (b"\xff", b"{}", STRUCTURED_HEADERS),
    (b"T-1", event("T-2", "note.added", "x1", text="under another's key"), STRUCTURED_HEADERS),
    (b"T-1", b"{}", (("content-type", b"text/plain"), ("x-\udcff", b"\x00\x80"), ("none", None))),
    (b"T-1", b"[" * 60 + b"]" * 60, ()),
]
SUBJECTS = ("T-1", "T-2", "T-3", "Tø-4")


@cache
def told(partitions: int = 2) -> tuple[Record, ...]:
    """Records of four work items by turns, with odd ones between, and a gap in partition 0."""
    lives = {subject: life(subject) for subject in SUBJECTS}
    drafts: list[tuple[bytes | None, bytes | None, Any]] = []
    for step in range(len(lives["T-1"])):
        drafts += [(name.encode(), lives[name][step], STRUCTURED_HEADERS) for name in SUBJECTS]
        drafts += ODD[step : step + 1]
    return tuple(placed(drafts, partitions))


def placed(drafts: Iterable[tuple[bytes | None, bytes | None, Any]], partitions: int) -> Iterator[Record]:
    """Records on their partitions, a minute apart; one offset of partition 0 holds none."""
    ends = [0] * partitions
    for number, (key, value, headers) in enumerate(drafts):
        partition = partition_of((key or b"").decode(errors="replace"), partitions)
        if partition == 0 and ends[0] == 5:
            ends[0] += 1
        yield Record(partition, ends[partition], START + number * MINUTE, key, value, headers)
        ends[partition] += 1


@cache
def ledger(partitions: int = 2, *, less: int = 0, signer: Signer = SIGNER) -> Signed:
    """A ledger signed to its end, or to ``less`` entries before it in each partition."""
    records = told(partitions)
    ends = [
        max([one.offset + 1 for one in records if one.partition == number], default=0) for number in range(partitions)
    ]
    return Signed(signer, records, partitions, tuple(max(1, end + 1 - less) for end in ends))


def lines_of(folder: Path, name: str) -> list[dict[str, Any]]:
    """The objects of a file of lines."""
    return [json.loads(line) for line in (folder / name).read_bytes().splitlines()]


def decoded(content: Any) -> bytes | None:
    """The bytes of a key or a value in ``entries.jsonl``, by another hand than the code's."""
    if isinstance(content, dict):
        return base64.b64decode(content["base64"])
    return None if content is None else str(content).encode()
