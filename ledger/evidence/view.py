"""What the readable files of a bundle are made from: plain data, which the exporter has and the verifier makes again.

Each renderer (``readme``, ``report``, ``csv_tables``, ``ocsf``) is a pure function of this view: the same bytes
for the same view, so that the verifier renders once more and compares. A renderer that changes its output raises
:data:`RENDERING`; a verifier with another one says that these files are not proven, rather than that they were changed.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from ledger.evidence.notes import Signature, read_checkpoint, read_note

RENDERING = 1
"""Which bytes the renderers make; it belongs into the manifest's ``versions``."""

_COSIGNATURE_BYTES, _TIME_BYTES = 72, 8

Row = Mapping[str, Any]
_OPEN: tuple[Any, ...] = (None, False, "", [], ())


@dataclass(frozen=True)
class Cosignature:
    """A line that says a witness saw a checkpoint. Whether it holds only the witness's key can tell."""

    name: str
    at: int | None
    """The witness's clock in seconds since 1970; null where the line carries none."""


@dataclass(frozen=True)
class CheckpointView:
    """How far a partition's tree was when the notary signed it."""

    partition: int
    size: int
    """Leaves, with the genesis: one more than the entries under it."""
    root: str
    """Hexadecimal."""
    origin: str
    note: str
    """The signed note as published."""
    cosigned: Sequence[Cosignature] = ()


@dataclass(frozen=True)
class BundleView:
    """A bundle's content as its readable files show it.

    ``verdicts`` and ``decisions`` are read from their start by each renderer, and more than once by some: a list, or an
    object that reads a file again at each ``iter()``, so that no million entries need to lie in memory.
    """

    ledger: str
    topic: str
    as_of: int | None
    """Milliseconds since 1970: the instant of the decisions."""
    query: Mapping[str, Any]
    checkpoints: Sequence[CheckpointView]
    """By partition."""
    verdicts: Iterable[Row]
    """By partition and offset, as ``publish --json`` prints them, with ``event`` as ``trail --json`` does."""
    decisions: Iterable[Row]
    """By work item and in the order opened, as ``decision --json`` prints them."""
    limits: Sequence[str] = ()
    """What of this very export is not proven: sentences, beside what no bundle proves."""
    subjects: Sequence[str] = field(default=())
    """The work items whose whole history is here; empty where the query was for all."""
    files: Sequence[str] = field(default=())
    """The names of the bundle's files, for its README."""

    @property
    def asked(self) -> dict[str, Any]:
        """The query without what it leaves open."""
        return {name: value for name, value in self.query.items() if value not in _OPEN}


def checkpoint_view(partition: int, data: bytes) -> CheckpointView:
    """A checkpoint as a note says it. Nothing is verified here. Raises ``BadNote``."""
    note = read_note(data)
    checkpoint = read_checkpoint(note.text)
    return CheckpointView(
        partition=partition,
        size=checkpoint.size,
        root=checkpoint.root.hex(),
        origin=checkpoint.origin,
        note=data.decode(),
        cosigned=tuple(_cosignatures(note.signatures, checkpoint.origin)),
    )


def _cosignatures(signatures: Iterable[Signature], origin: str) -> Iterator[Cosignature]:
    """All signature lines but those of the ledger's own name."""
    ledger = origin.rsplit("/", 2)[0]
    for one in signatures:
        if one.name != ledger:
            timed = len(one.signature) == _COSIGNATURE_BYTES
            yield Cosignature(one.name, int.from_bytes(one.signature[:_TIME_BYTES], "big") if timed else None)
