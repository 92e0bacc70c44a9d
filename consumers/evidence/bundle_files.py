"""Write a bundle into a folder, from records as they come off the log: nothing but a few dozen bytes an entry is held.

The log is believed as little as anybody: where the leaves of what was read don't give the root that the notary signed,
no bundle is written. The verdicts are not taken from the index, they are made here from the records, as the verifier
makes them; an index that lies can't get into a bundle.
"""

from __future__ import annotations

import hashlib
import os
from array import array
from collections.abc import Callable, Iterator, Sequence
from functools import lru_cache
from pathlib import Path
from typing import BinaryIO, NamedTuple

from ledger.errors import LogChanged, NotFound, UnusableLog, WrongUsage
from ledger.evidence import bundle
from ledger.evidence.bundle import (
    Counts,
    CoveredPartition,
    FileDigest,
    Manifest,
    Query,
    read_instant,
    read_time,
    written_instant,
)
from ledger.evidence.containers import SCATTERED
from ledger.evidence.covering import BLOCK_LEAVES, gaps_in
from ledger.evidence.entries_file import Entries, Group
from ledger.evidence.judging import NOWHERE, Judged, Progress, Sink, Terms, ignored, judge
from ledger.evidence.leaves import LEAF_BYTES, NO_RECORD, Genesis, tag_of
from ledger.evidence.lines import read_line
from ledger.evidence.merkle import Frontier, leaf_hash, leaf_hashes
from ledger.evidence.notes import Checkpoint, VerifierKey
from ledger.evidence.renderings import all_names, parquet_name, renderings, view_of
from ledger.evidence.rows import Rows
from ledger.evidence.sheets import SHEETS
from ledger.evidence.statements import Found, limits
from ledger.evidence.view import RENDERING, BundleView
from ledger.partitions import partition_of
from ledger.record import Record, record_bytes

_BUFFER = 1024 * 1024
_NONE = 2**64 - 1
_LONGEST_SUBJECT = 256


class Tree(NamedTuple):
    """A partition as the notary signed it. ``records`` reads it from its start, by offset; it may go on behind that."""

    genesis: Genesis
    checkpoint: Checkpoint
    note: bytes
    records: Callable[[], Iterator[Record]]


class Notary(NamedTuple):
    """What of the notary goes into a bundle."""

    verifier: VerifierKey
    tag_key: bytes


def write_bundle(
    folder: Path,
    query: Query,
    trees: Sequence[Tree],
    notary: Notary,
    progress: Progress = ignored,
    absent: Callable[[str], object] = ignored,
) -> Manifest:
    """Write the answer to a query into an empty folder. ``trees`` are all partitions of the log, by number.

    ``progress`` is told of records read and judged, ``absent`` of each work item that was asked for by name and has no
    record. Raises ``NotFound`` where a query chooses no work item, and
    ``LogChanged`` where the log is not what the notary signed.
    """
    subjects = None if query.all else query.subjects or _chosen(folder, query, trees, progress)
    needed = [tree for tree in trees if _is_needed(tree.genesis, query, subjects)]
    written = _Bundle(folder, query, subjects, needed, notary, progress)
    manifest = written.write()
    for name in written.absent():
        absent(name)
    return manifest


def _is_needed(genesis: Genesis, query: Query, subjects: Sequence[str] | None) -> bool:
    if subjects is None:
        return not query.partitions or genesis.partition in query.partitions
    return any(partition_of(one, genesis.partitions) == genesis.partition for one in subjects)


def _chosen(folder: Path, query: Query, trees: Sequence[Tree], progress: Progress) -> tuple[str, ...]:
    """The work items that a query chooses, by judging all that the checkpoints cover. Raises ``NotFound``."""
    until = None if query.until is None else read_instant(query.until)
    count = trees[0].genesis.partitions
    spool = folder / "spool"
    entries = Entries(count, until)
    with _made(spool) as file:
        for tree in trees:
            for record in _under(tree):
                group = entries.groups.get(Group(record.key or b"", record.partition))
                if group is None or group not in entries.ending:
                    _put(file, entries, record)
                progress(1)
    with spool.open("rb", buffering=SCATTERED) as read:
        judged = judge(entries, read, Terms(query, count, until, None), NOWHERE)
    spool.unlink()
    names = [name for group in judged.wanted if (name := _subject(group, count)) is not None]
    if not names:
        raise NotFound("No work item is such under these checkpoints.", "Ask for others, or sign a newer checkpoint.")
    return tuple(sorted(names))


def _subject(group: Group, partitions: int) -> str | None:
    """The work item of a group; null where its records are no work item's."""
    try:
        name = group.key.decode()
    except UnicodeDecodeError:
        return None
    is_name = 0 < len(name) <= _LONGEST_SUBJECT
    return name if is_name and partition_of(name, partitions) == group.partition else None


def _under(tree: Tree) -> Iterator[Record]:
    """The records under the checkpoint."""
    for record in tree.records():
        if record.offset >= tree.checkpoint.size - 1:
            return
        yield record


def _put(file: BinaryIO, entries: Entries, record: Record) -> None:
    """Write a record as a line, and keep where it starts."""
    line = bundle.entry_line(record)
    _refuse_too_long(line)
    entries.add(record, file.tell())
    file.write(line + b"\n")


def _refuse_too_long(line: bytes) -> None:
    if len(line) > bundle.LONGEST_LINE:
        raise UnusableLog("An entry is larger than a bundle takes.", "Leave its work item out.")


def refuse_another_history(tree: Tree, read: Frontier) -> None:
    """Raises ``LogChanged`` where what was read is not what was signed: such a bundle would hold nowhere."""
    if (read.size, read.root()) != (tree.checkpoint.size, tree.checkpoint.root):
        raise LogChanged(
            f"Partition {tree.genesis.partition} of {tree.genesis.topic!r} is not the log that "
            f"{tree.checkpoint.origin} was signed of.",
            "Find the entry: pauseledger checkpoint --recheck",
        )


class _Bundle:
    """A bundle that is being written."""

    def __init__(
        self,
        folder: Path,
        query: Query,
        subjects: tuple[str, ...] | None,
        trees: Sequence[Tree],
        notary: Notary,
        progress: Progress,
    ) -> None:
        self._folder, self._query, self._subjects = folder, query, subjects
        self._trees, self._notary, self._progress = trees, notary, progress
        self._until = None if query.until is None else read_instant(query.until)
        self._count = trees[0].genesis.partitions
        self._keys = None if subjects is None else frozenset(one.encode() for one in subjects)
        self._entries = Entries(self._count, self._until)
        self._latest: int | None = None
        self._gaps = 0

    def write(self) -> Manifest:
        """All files."""
        with self._new(bundle.ENTRIES) as file:
            for tree in self._trees:
                self._write_tree(tree, file)
        judged = self._write_judgement()
        self._write_small(bundle.KEY, f"{self._notary.verifier}\n".encode())
        self._write_small(bundle.TAG_KEY, f"{self._notary.tag_key.hex()}\n".encode())
        for tree in self._trees:
            self._write_small(bundle.checkpoint_file(tree.genesis.partition), tree.note)
        manifest = self._render(self._manifest(judged.counts), judged)
        data = manifest.as_bytes()
        if len(data) > bundle.LONGEST_MANIFEST:
            raise WrongUsage("So many work items have no room in a manifest.", "Export all: --all.")
        self._write_small(bundle.MANIFEST, data)
        return manifest

    def absent(self) -> list[str]:
        """The work items that were asked for by name and have no record here."""
        return self._entries.absent(self._query.subjects)

    def _new(self, name: str) -> BinaryIO:
        path = self._folder / name
        path.parent.mkdir(mode=0o700, exist_ok=True)
        return _made(path)

    def _write_small(self, name: str, data: bytes) -> None:
        with self._new(name) as file:
            file.write(data)

    def _write_tree(self, tree: Tree, file: BinaryIO) -> None:
        """The leaves of a partition, and of its records those that belong here."""
        partition = tree.genesis.partition
        frontier = Frontier()
        frontier.append(leaf_hash(tree.genesis.leaf()))
        with self._new(bundle.leaves_file(partition)) as out:
            for block in self._leaves(tree, file):
                out.write(block)
                frontier.extend(leaf_hashes(block, LEAF_BYTES))
                self._gaps += gaps_in(block)
        refuse_another_history(tree, frontier)

    def _leaves(self, tree: Tree, file: BinaryIO) -> Iterator[bytes]:
        """All leaves behind the genesis, some at a time; the records that belong here are written on the way."""
        tag = lru_cache(maxsize=16_384)(lambda key: tag_of(self._notary.tag_key, key))
        end, leaves, offset = tree.checkpoint.size - 1, [], 0
        for record in _under(tree):
            while offset < record.offset:
                leaves.append(NO_RECORD)
                offset += 1
            leaves.append(tag(record.key) + hashlib.sha256(record_bytes(record)).digest())
            offset += 1
            self._take(record, file)
            if len(leaves) >= BLOCK_LEAVES:
                yield b"".join(leaves)
                self._progress(len(leaves))
                leaves = []
        leaves += [NO_RECORD] * (end - offset)
        yield b"".join(leaves)
        self._progress(len(leaves))

    def _take(self, record: Record, file: BinaryIO) -> None:
        if self._latest is None or record.recorded_at > self._latest:
            self._latest = record.recorded_at
        key = record.key or b""
        if self._keys is not None and key not in self._keys:
            return
        group = self._entries.groups.get(Group(key, record.partition))
        if group is None or group not in self._entries.ending:
            _put(file, self._entries, record)

    @property
    def _as_of(self) -> str | None:
        """The instant of which the decisions are: ``until``, else the last one under the checkpoints."""
        if self._query.until is not None:
            return self._query.until
        return None if self._latest is None else written_instant(self._latest)

    def _write_judgement(self) -> Judged:
        """Verdicts come work item by work item, and are put into the order of the entries afterwards."""
        spool = self._folder / "spool"
        starts = array("Q", [_NONE]) * len(self._entries)
        as_of = None if self._as_of is None else read_time(self._as_of)
        terms = Terms(self._query, self._count, self._until, as_of)
        with (
            (self._folder / bundle.ENTRIES).open("rb", buffering=SCATTERED) as file,
            _made(spool) as spooled,
            self._new(bundle.DECISIONS) as decisions,
        ):

            def verdict(number: int, line: bytes) -> None:
                _refuse_too_long(line)
                starts[number] = spooled.tell()
                spooled.write(line + b"\n")

            def decision(_: str, line: bytes) -> None:
                decisions.write(line + b"\n")

            judged = judge(self._entries, file, terms, Sink(verdict, decision), self._progress)
        with spool.open("rb", buffering=SCATTERED) as read, self._new(bundle.VERDICTS) as verdicts:
            for start in starts:
                if start != _NONE:
                    read.seek(start)
                    verdicts.write((read_line(read) or b"") + b"\n")
        spool.unlink()
        return judged

    def _manifest(self, counts: Counts) -> Manifest:
        """The manifest, with no digest yet."""
        return Manifest(
            ledger=self._trees[0].genesis.ledger,
            query=self._query,
            as_of=self._as_of,
            partitions=tuple(CoveredPartition.of(one.genesis, one.checkpoint.size) for one in self._trees),
            subjects=self._subjects,
            counts=counts,
            files={},
            versions=bundle.versions(RENDERING),
        )

    def _render(self, manifest: Manifest, judged: Judged) -> Manifest:
        """Write what is rendered from the rest; the manifest with the digests of all files."""
        notes = {one.genesis.partition: one.note for one in self._trees}
        view = view_of(
            manifest,
            notes,
            Rows(lambda: (self._folder / bundle.VERDICTS).open("rb")),
            Rows(lambda: (self._folder / bundle.DECISIONS).open("rb")),
            limits(manifest, Found(self._gaps, judged.unended)),
        )
        for name, parts in renderings(view, self._query.formats):
            with self._new(name) as out:
                out.writelines(parts)
        if "parquet" in self._query.formats:
            self._write_parquet(view)
        files = {name: _digest(self._folder / name) for name in all_names(manifest)}
        return manifest.model_copy(update={"files": files})

    def _write_parquet(self, view: BundleView) -> None:
        from consumers.evidence.parquet import write_parquet

        for sheet in SHEETS:
            with self._new(parquet_name(sheet.name)) as out:
                write_parquet(sheet, view, out)


def _made(path: Path) -> BinaryIO:
    """A new file for its owner alone: with the tag key, names of work items can be guessed from leaves."""
    return os.fdopen(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "wb", buffering=_BUFFER)


def _digest(path: Path) -> FileDigest:
    with path.open("rb") as file:
        digest = hashlib.file_digest(file, "sha256").hexdigest()
        return FileDigest(sha256=digest, bytes=os.fstat(file.fileno()).st_size)
