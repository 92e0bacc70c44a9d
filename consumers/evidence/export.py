"""Export: a query's answer as a bundle, from the log and the notary's checkpoints. The index is not asked.

It is written beside where it goes, and renamed when it is whole and on the disk: under its name lies a bundle or
nothing. What is there already is never written over.
"""

from __future__ import annotations

import os
import shutil
import tempfile
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path

from consumers.evidence.bundle_files import Notary, Tree, write_bundle
from consumers.evidence.exporters_keys import ExportersKeys, open_exporters_keys
from consumers.evidence.tile_store import open_tiles
from consumers.settings import Settings
from ledger.errors import DiskFailed, LogChanged, NotFound, UnusableLog, WrongUsage
from ledger.evidence.bundle import Manifest, Query, in_order, read_time
from ledger.evidence.judging import Progress, ignored
from ledger.evidence.manifest_check import query_problem
from ledger.evidence.notes import BadNote, Checkpoint
from ledger.evidence.renderings import all_names
from ledger.evidence.signatures import signed_checkpoint
from ledger.evidence.tiles import CHECKPOINT_PATH
from ledger.evidence.zips import write_zip
from ledger.log import Identity, Log
from ledger.partitions import partition_of
from ledger.record import Record
from ledger.verdict import REASONS

READ_RECORDS = 4_096
_ARCHIVES = (".zip", ".tar", ".tgz", ".tbz2", ".txz", ".gz", ".bz2", ".xz", ".zst", ".7z", ".rar")
"""Names that somebody gives who wants one file: a folder of such a name would surprise."""
_CHOICES = ("owner", "verdict", "active_from", "active_to")
VERDICTS = ("accepted", "refused", "duplicate", "malformed")


def export(
    settings: Settings,
    query: Query,
    out: Path,
    progress: Callable[[int | None], Progress],
    absent: Callable[[str], object] = ignored,
) -> Manifest:
    """Write the bundle of a query to ``out``: a folder, or a zip where the name ends so. ``progress`` is given how
    many entries will be read and judged, where that is known, and gives who is told of them. ``absent`` is told of
    each work item that was asked for by name and of which no entry is under the checkpoints.

    Raises ``WrongUsage`` where something lies there or the query can't be meant, ``NotFound`` where there is no
    checkpoint or nothing to export, ``LogChanged`` where the log is not what was signed.
    """
    refuse_bad_query(query)
    _refuse_bad_place(out)
    keys = open_exporters_keys(settings.keys)
    if "parquet" in query.formats:
        import consumers.evidence.parquet  # noqa: F401  # says what is missing before anything is read
    log = settings.open_log()
    try:
        trees = list(exported_trees(settings, keys, log, _partitions(query, log.identity())))
        covered = sum(tree.checkpoint.size - 1 for tree in trees)
        count_on = progress(2 * covered if query.all else None)  # read and judged; of a part nobody knows before
        with _beside(out) as folder:
            manifest = write_bundle(folder, query, trees, Notary(keys.verifier, keys.tag_key), count_on, absent)
            _put_in_place(folder, manifest, out)
    finally:
        log.close()
    return manifest


def refuse_bad_query(query: Query) -> None:
    """Raises ``WrongUsage`` for a query that can't be meant."""
    chosen = [name for name in _CHOICES if getattr(query, name) is not None]
    asked = [*(["all"] if query.all else []), *(["subject"] if query.subjects else []), *chosen]
    if not asked:
        raise WrongUsage("It isn't said what to export.", f"Give --subject, --all, or one of {_listed(_CHOICES)}.")
    if asked != chosen and len(asked) > 1:
        raise WrongUsage(
            f"{_listed(asked)} don't go together.", f"Give --subject, or --all, or some of {_listed(_CHOICES)}."
        )
    if query.partitions and not query.all:
        raise WrongUsage("--partition goes with --all only.", "A work item has all of its entries on one partition.")
    begin, end = query.active_from, query.active_to
    if begin is not None and end is not None and read_time(begin) >= read_time(end):
        raise WrongUsage(
            f"--active-from {begin} is not before --active-to {end}: no entry lies between.", "Give the earlier first."
        )
    if problem := query_problem(query):
        raise WrongUsage(f"The query can't be meant: {problem}.", "See: pauseledger export --help")
    if query.verdict is not None and query.verdict not in (*VERDICTS, *REASONS):
        raise WrongUsage(
            f"{query.verdict} is neither a verdict nor the code of one.", f"Verdicts: {', '.join(VERDICTS)}."
        )


def _listed(names: Sequence[str]) -> str:
    """Options, as they are given."""
    *before, last = (f"--{name.replace('_', '-')}" for name in names)
    return f"{', '.join(before)} and {last}" if before else last


def _refuse_bad_place(out: Path) -> None:
    if os.path.lexists(out):
        raise WrongUsage(f"{out} is there already.", "Nothing is written over: name another place.")
    if not out.parent.is_dir():
        raise WrongUsage(f"There is no folder {out.parent}.", "Make it first.")
    if out.name in ("", ".", ".."):
        raise WrongUsage("--out names no file.", "Name a folder that isn't there yet, or a file that ends in .zip.")
    if (kind := out.suffix) != ".zip" and kind.lower() in _ARCHIVES:
        raise WrongUsage(f"--out {out}: a bundle is no {kind} file.", "Name a file that ends in .zip, or a folder.")


def exported_trees(settings: Settings, keys: ExportersKeys, log: Log, partitions: Sequence[int]) -> Iterator[Tree]:
    """The trees of these partitions, by their published checkpoints. Raises ``NotFound`` where one has none."""
    identity = log.identity()
    _refuse_no_partition(partitions, identity)
    for partition in partitions:
        genesis = keys.genesis(identity, partition)
        note = open_tiles(settings.tiles_place, genesis.origin).read(CHECKPOINT_PATH)
        if note is None:
            raise NotFound(f"No checkpoint of {genesis.origin} was signed yet.", "Sign one: pauseledger checkpoint.")
        try:
            checkpoint = signed_checkpoint(note, keys.verifier)
        except BadNote as error:
            raise NotFound(
                f"The checkpoint of {genesis.origin} is not signed by the key of now: {error}.",
                "Sign it: pauseledger checkpoint. After a rotation exporters need the new notary.vkey.",
            ) from None
        if checkpoint.origin != genesis.origin:
            raise UnusableLog(f"The checkpoint published for {genesis.origin} is of {checkpoint.origin}.")
        yield Tree(genesis, checkpoint, note, _Reader(log, partition, checkpoint))


def _partitions(query: Query, identity: Identity) -> Sequence[int]:
    if query.subjects:
        return sorted({partition_of(one, identity.partitions) for one in query.subjects})
    return query.partitions or range(identity.partitions)


def _refuse_no_partition(partitions: Sequence[int], identity: Identity) -> None:
    if bad := [one for one in partitions if one >= identity.partitions]:
        raise WrongUsage(f"The log has no partition {bad[0]}: it has {identity.partitions}, from 0 on.")


class _Reader:
    """Reads a partition from its start to its checkpoint, as often as it is called."""

    def __init__(self, log: Log, partition: int, checkpoint: Checkpoint) -> None:
        self._log, self._partition, self._end = log, partition, checkpoint.size - 1

    def __call__(self) -> Iterator[Record]:
        first, end = self._log.bounds(self._partition)
        if first > 0 or end < self._end:
            raise LogChanged(
                f"Partition {self._partition} of the log goes from {first} to {end}, and {self._end} entries of it "
                "were signed.",
                "It was cut, or another one lies there: restore it. The notary says more: pauseledger checkpoint.",
            )
        offset = 0
        while offset < self._end:
            read = self._log.read(self._partition, offset, most=READ_RECORDS, wait_seconds=1.0)
            yield from read.records
            offset = read.next_offset


@contextmanager
def _beside(out: Path) -> Iterator[Path]:
    """An empty folder on the same disk, which is gone afterwards."""
    with _disk(out):
        place = Path(tempfile.mkdtemp(prefix=f".{out.name}.", suffix=".partial", dir=out.parent))
    try:
        folder = place / "bundle"
        folder.mkdir(mode=0o700)  # what is in a bundle is for whoever is given it: nobody else on this machine
        with _disk(out):
            yield folder
    finally:
        shutil.rmtree(place, ignore_errors=True)


@contextmanager
def _disk(out: Path) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        raise DiskFailed(f"{out} can't be written: {error.strerror}.", "See that there is room, and a right.") from None


def _put_in_place(folder: Path, manifest: Manifest, out: Path) -> None:
    names = in_order(all_names(manifest))
    if out.suffix == ".zip":
        packed = folder.parent / "bundle.zip"
        with os.fdopen(os.open(packed, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "wb") as file:
            write_zip(file, folder, names)
        _sync(packed)
        try:
            os.link(packed, out)  # unlike a renaming it fails where something came there meanwhile
        except FileExistsError:
            _refuse_bad_place(out)
            raise
    else:
        for name in names:
            _sync(folder / name)
        for inner in {(folder / name).parent for name in names}:
            _sync(inner)
        _refuse_bad_place(out)
        folder.rename(out)
    _sync(out.parent)


def _sync(path: Path) -> None:
    descriptor = os.open(path, os.O_RDONLY)
    try:
        with suppress(OSError):  # of a folder, where the file system knows no such thing
            os.fsync(descriptor)
    finally:
        os.close(descriptor)
