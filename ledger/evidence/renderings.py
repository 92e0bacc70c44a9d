"""Every file of a bundle that is made from the others: by the exporter, and again by the verifier."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence

from ledger.evidence.bundle import MANIFEST, Manifest, file_names, read_instant
from ledger.evidence.view import BundleView, Row, checkpoint_view


def view_of(
    manifest: Manifest,
    notes: Mapping[int, bytes],
    verdicts: Iterable[Row],
    decisions: Iterable[Row],
    limits: Sequence[str],
) -> BundleView:
    """What the readable files are made from."""
    return BundleView(
        ledger=manifest.ledger,
        topic=manifest.partitions[0].topic,
        as_of=None if manifest.as_of is None else read_instant(manifest.as_of),
        query=manifest.query.model_dump(mode="json"),
        checkpoints=[checkpoint_view(partition, note) for partition, note in sorted(notes.items())],
        verdicts=verdicts,
        decisions=decisions,
        limits=limits,
        subjects=manifest.subjects or (),
        files=[MANIFEST, *all_names(manifest)],
    )


def renderings(view: BundleView, formats: Sequence[str]) -> Iterator[tuple[str, Iterable[bytes]]]:  # noqa: ARG001
    """The files' names with their bytes, in parts."""
    yield from ()


def rendered_names(formats: Sequence[str]) -> list[str]:  # noqa: ARG001
    """The names of the files that are rendered."""
    return []


def all_names(manifest: Manifest) -> list[str]:
    """Every file beside its manifest that a bundle has; those that can't be rendered again are not among them."""
    partitions = [one.partition for one in manifest.partitions]
    return sorted([*file_names(partitions), *rendered_names(manifest.query.formats)])
