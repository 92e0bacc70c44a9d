"""Every file of a bundle that is made from the others: by the exporter, and again by the verifier."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence

from ledger.evidence.bundle import (
    CSV_FOLDER,
    MANIFEST,
    OCSF,
    PARQUET_FOLDER,
    README,
    REPORT,
    Manifest,
    file_names,
    read_instant,
)
from ledger.evidence.csv_tables import csv_lines
from ledger.evidence.ocsf import ocsf_lines
from ledger.evidence.readme import readme_txt
from ledger.evidence.report import report_pieces
from ledger.evidence.sheets import SHEETS
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


def renderings(view: BundleView, formats: Sequence[str]) -> Iterator[tuple[str, Iterable[bytes]]]:
    """The files' names with their bytes, in parts."""
    yield README, [readme_txt(view)]
    yield REPORT, report_pieces(view)
    if "csv" in formats:
        for sheet in SHEETS:
            yield f"{CSV_FOLDER}{sheet.name}.csv", csv_lines(sheet, view)
    if "ocsf" in formats:
        yield OCSF, ocsf_lines(view)


def all_names(manifest: Manifest) -> list[str]:
    """Every file that a bundle has beside its manifest."""
    names = [*file_names([one.partition for one in manifest.partitions]), README, REPORT]
    formats = manifest.query.formats
    if "csv" in formats:
        names += [f"{CSV_FOLDER}{sheet.name}.csv" for sheet in SHEETS]
    if "ocsf" in formats:
        names.append(OCSF)
    if "parquet" in formats:
        names += [parquet_name(sheet.name) for sheet in SHEETS]
    return sorted(names)


def parquet_name(sheet: str) -> str:
    """The file of a sheet that is not made again: other versions of its library write other bytes."""
    return f"{PARQUET_FOLDER}{sheet}.parquet"
