"""What somebody does who changes a bundle: by hand, with its digests put right, or with our own code all the way.

A bundle is held as its files' bytes. :func:`with_digests` makes the manifest fit its files again; :func:`with_all`
takes the records as they are now and makes verdicts, decisions, counts and all that is rendered from them anew, as an
exporter would whom nobody can trust.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable
from io import BytesIO
from pathlib import Path
from typing import Any

import rfc8785

from ledger.evidence import bundle
from ledger.evidence.bundle import BadText, read_instant, read_manifest, read_time
from ledger.evidence.covering import gaps_in
from ledger.evidence.entries_file import read_entries
from ledger.evidence.failures import Refused
from ledger.evidence.judging import Sink, Terms, judge
from ledger.evidence.renderings import renderings, view_of
from ledger.evidence.rows import Rows
from ledger.evidence.statements import Found, limits

Files = dict[str, bytes]
Repair = Callable[[Files], Files]


def read(folder: Path) -> Files:
    """A bundle's files."""
    return {str(one.relative_to(folder)): one.read_bytes() for one in sorted(folder.rglob("*")) if one.is_file()}


def write(files: Files, folder: Path, before: Files | None = None) -> None:
    """Put them into a folder, which has nothing else then; ``before`` is what it has now."""
    there = read(folder) if before is None else before
    for name in there.keys() - files.keys():
        (folder / name).unlink()
    for inner in (folder / "csv", folder / "parquet"):
        if inner.is_dir() and not any(inner.iterdir()):
            inner.rmdir()
    for name, data in files.items():
        if there.get(name) is not data:
            path = folder / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(data)


def touched(folder: Path) -> dict[str, tuple[int, int]]:
    """When each thing in a folder, and the folder, was written last, and how large it is."""
    return {str(one): (one.stat().st_mtime_ns, one.stat().st_size) for one in (folder, *folder.rglob("*"))}


def manifest_of(files: Files) -> dict[str, Any]:
    """The manifest, to be changed."""
    content: dict[str, Any] = json.loads(files["manifest.json"])
    return content


def with_manifest(files: Files, content: dict[str, Any]) -> Files:
    """Another manifest, in its one right form."""
    return files | {"manifest.json": rfc8785.dumps(content)}


def as_it_is(files: Files) -> Files:
    """Nothing is put right."""
    return files


def with_digests(files: Files) -> Files:
    """The manifest lists the files as they are."""
    content = manifest_of(files)
    content["files"] = {
        name: {"sha256": hashlib.sha256(data).hexdigest(), "bytes": len(data)}
        for name, data in files.items()
        if name != "manifest.json"
    }
    return with_manifest(files, content)


def with_all(files: Files) -> Files:
    """All that follows from the records is made of them anew; where that can't be, the digests are put right."""
    try:
        return with_digests(_judged_again(files))
    except (Refused, BadText, ValueError, LookupError):
        return with_digests(files)


def _judged_again(files: Files) -> Files:
    content = manifest_of(files)
    manifest = read_manifest(rfc8785.dumps(content))
    query, count = manifest.query, manifest.partitions[0].partitions
    until = None if query.until is None else read_instant(query.until)
    entries = read_entries(BytesIO(files[bundle.ENTRIES]), dict.fromkeys(range(100), 2**63), count, until)
    as_of = None if manifest.as_of is None else read_time(manifest.as_of)
    verdicts: dict[int, bytes] = {}
    decisions: list[bytes] = []
    sink = Sink(verdicts.__setitem__, lambda _, line: decisions.append(line))
    judged = judge(entries, BytesIO(files[bundle.ENTRIES]), Terms(query, count, until, as_of), sink)
    made = files | {
        bundle.VERDICTS: b"".join(verdicts[one] + b"\n" for one in sorted(verdicts)),
        bundle.DECISIONS: b"".join(one + b"\n" for one in decisions),
    }
    manifest = manifest.model_copy(update={"counts": judged.counts})
    notes = {one.partition: files[bundle.checkpoint_file(one.partition)] for one in manifest.partitions}
    gaps = sum(gaps_in(files[bundle.leaves_file(partition)]) for partition in notes)
    view = view_of(
        manifest,
        notes,
        Rows(lambda: BytesIO(made[bundle.VERDICTS])),
        Rows(lambda: BytesIO(made[bundle.DECISIONS])),
        limits(manifest, Found(gaps, judged.unended)),
    )
    made |= {name: b"".join(parts) for name, parts in renderings(view, query.formats)}
    return with_manifest(made, manifest.as_dict())


def lines(files: Files, name: str) -> list[bytes]:
    """The lines of a file, with their ends."""
    return files[name].splitlines(keepends=True)


def with_lines(files: Files, name: str, found: list[bytes]) -> Files:
    """A file of other lines."""
    return files | {name: b"".join(found)}


def changed_line(line: bytes, **members: Any) -> bytes:
    """A line with other members, written as it must be."""
    content = json.loads(line) | members
    return json.dumps(content, ensure_ascii=False, separators=(",", ":")).encode() + b"\n"
