"""Verify a bundle, offline: with a public key that came another way, and nothing else.

What it does, in this order; where one step fails the later ones are not taken, for they would rest on it:

1. the manifest, the list of files and their digests;
2. each checkpoint: signed by a given key, the same for all, of the tree that the manifest's genesis begins;
3. the entries: written as they must be, in order;
4. the trees: the root over all leaves, each record the one of its leaf, none withheld or added, and what was signed
   earlier (``--since``) still true;
5. the fold: every verdict and decision once more, from the raw records;
6. what is rendered from them, once more.

It reads and never writes. It holds a few dozen bytes an entry, and the records of one work item at a time.
"""

from __future__ import annotations

import hashlib
import zlib
from collections.abc import Iterable, Iterator, Sequence
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

from ledger.evidence import bundle
from ledger.evidence.bundle import BadText, Manifest, read_instant, read_manifest, read_time, written_instant
from ledger.evidence.containers import SCATTERED, Container, opened
from ledger.evidence.covering import MOST_FAILURES, Scope, covered, wrong_length
from ledger.evidence.entries_file import Entries, Group, read_entries
from ledger.evidence.failures import Failure, Kind, Refused, shown
from ledger.evidence.judging import Judged, Progress, Sink, Terms, ignored, judge
from ledger.evidence.leaves import TAG_KEY_BYTES, tag_key_digest
from ledger.evidence.lines import lines
from ledger.evidence.manifest_check import manifest_problem
from ledger.evidence.notes import LONGEST_NOTE, Checkpoint, VerifierKey, read_note
from ledger.evidence.renderings import all_names, renderings, view_of
from ledger.evidence.rows import Rows
from ledger.evidence.signatures import ForgedNote, cosigned_by
from ledger.evidence.signers import Signers
from ledger.evidence.statements import NO_BUNDLE_PROVES, Found, Seen, Signatures, limits, not_given, proven
from ledger.evidence.view import RENDERING
from ledger.partitions import partition_of

_BLOCK = 1024 * 1024
_MARK_BYTES = 16


class Verified(NamedTuple):
    """What became of a bundle."""

    ok: bool
    entries: int
    work_items: int
    proven: list[str]
    not_proven: list[str]
    failures: list[Failure]

    def as_dict(self) -> dict[str, Any]:
        """The result as scripts read it."""
        return self._asdict() | {"failures": [one.as_dict() for one in self.failures]}


class Trusted(NamedTuple):
    """What the auditor brings along: nothing of it comes from the bundle."""

    key: VerifierKey
    earlier: Sequence[Checkpoint] = ()
    """Checkpoints that the ledger's key signed before, of one tree each."""
    witnesses: Sequence[VerifierKey] = ()
    """Who must have cosigned every checkpoint."""
    other_keys: Sequence[VerifierKey] = ()
    """Keys that the ledger had at other times. One of all that are given must have signed every checkpoint."""


def verify(path: Path, trusted: Trusted, progress: Progress = ignored) -> Verified:
    """Verify the bundle at a path; ``progress`` is told of entries that were judged.

    Raises ``OSError`` where nothing lies there.
    """
    try:
        with opened(path) as container:
            return _Examination(container, trusted, progress).run()
    except Refused as refused:
        return Verified(False, 0, 0, [], [], [refused.failure])


class _Examination:
    """One bundle under examination."""

    def __init__(self, container: Container, trusted: Trusted, progress: Progress) -> None:
        self._progress = progress
        self._container, self._witnesses = container, trusted.witnesses
        self._earlier = {one.origin: one for one in trusted.earlier}
        self._failures: list[Failure] = []
        self._file_failures: list[Failure] = []
        """Of whole files: what is wrong in them is looked for all the same, and named first."""
        self._manifest = self._read_manifest()
        self._keys = (trusted.key, *trusted.other_keys)
        self._notes: dict[int, bytes] = {}
        self._checkpoints: list[Checkpoint] = []
        self._seen: list[Seen] = []

    def run(self) -> Verified:
        """All steps. Raises ``Refused`` where one can't be taken at all."""
        self._check_files()
        self._check_manifest()
        signers = self._check_checkpoints()
        tag_key = self._tag_key()
        entries = self._read_entries()
        gaps = self._check_trees(entries, tag_key)
        if self._failures:
            return self._result(entries, 0, signers)
        self._check_as_of(entries)
        judged = self._check_judgement(entries)
        not_proven = limits(self._manifest, Found(gaps, judged.unended))
        if not self._failures and not self._file_failures:
            self._check_renderings(not_proven)
        self._container.refuse_changed()
        return self._result(entries, judged.counts.work_items, signers, not_proven)

    def _result(self, entries: Entries, work_items: int, signers: Signers, not_proven: Sequence[str] = ()) -> Verified:
        failures = [*self._failures, *self._file_failures]
        if failures:
            return Verified(False, len(entries), work_items, [], [], failures[:MOST_FAILURES])
        signed = Signatures(signers.keys, list(self._earlier.values()), self._seen)
        absent = entries.absent(self._manifest.subjects or ())
        said = proven(self._manifest, self._checkpoints, signed, absent)
        named = [] if signers.named is None else [not_given(signers.named)]
        return Verified(True, len(entries), work_items, said, [*not_proven, *named, *NO_BUNDLE_PROVES], [])

    def _fail(self, kind: Kind, detail: str) -> None:
        self._failures.append(Failure(kind, None, detail))

    def _read_manifest(self) -> Manifest:
        if bundle.MANIFEST not in self._container.names():
            raise Refused("malformed", "there is no manifest.json: this is no bundle")
        try:
            return read_manifest(self._read(bundle.MANIFEST, bundle.LONGEST_MANIFEST))
        except BadText as error:
            raise Refused("malformed", f"manifest.json: {error}") from None

    def _read(self, name: str, longest: int) -> bytes:
        """A short file. Raises ``Refused``."""
        with self._container.open(name) as file:
            data = file.read(longest + 1)
        if len(data) > longest:
            raise Refused("malformed", f"{name} is too long")
        return data

    def _check_files(self) -> None:
        """Nothing is missing, nothing is added, and each file has its digest."""
        there, listed = set(self._container.names()) - {bundle.MANIFEST}, self._manifest.files
        missing, more = sorted(set(listed) - there), sorted(there - set(listed))
        if missing:
            raise Refused("withheld", f"the file {shown(missing[0])} is missing")
        if more:
            raise Refused("added", f"the manifest does not list the file {shown(more[0])}")
        for name in sorted(there | {bundle.MANIFEST}):
            digest, crc = self._digest(name)
            if self._container.checksum(name) not in (None, crc):
                found = Failure("malformed", None, f"the zip's own checksum of {name} is wrong")
                self._file_failures.append(found)
            if name != bundle.MANIFEST and digest != (listed[name].sha256, listed[name].bytes):
                self._file_failures.append(Failure("changed", None, f"{name} is not the file that the manifest lists"))

    def _digest(self, name: str) -> tuple[tuple[str, int], int]:
        hashed, size, crc = hashlib.sha256(), 0, 0
        has_crc = self._container.checksum(name) is not None
        with self._container.open(name) as file:
            while block := file.read(_BLOCK):
                hashed.update(block)
                size += len(block)
                if has_crc:
                    crc = zlib.crc32(block, crc)
        return (hashed.hexdigest(), size), crc

    def _check_manifest(self) -> None:
        manifest = self._manifest
        if problem := manifest_problem(manifest):
            raise Refused("malformed", f"manifest.json: {problem}")
        if set(all_names(manifest)) != set(manifest.files):
            raise Refused("malformed", "the files are not those that a bundle of this query has")

    def _check_checkpoints(self) -> Signers:
        """Every checkpoint is signed by one and the same given key, and is that of the partition's own tree."""
        signers = Signers(self._keys, self._manifest.ledger, self._read(bundle.KEY, LONGEST_NOTE))
        for part in self._manifest.partitions:
            name = bundle.checkpoint_file(part.partition)
            data = self._read(name, LONGEST_NOTE)
            checkpoint = signers.checkpoint(name, data)
            if checkpoint.origin != part.genesis.origin:
                raise Refused("forged", f"{name} is a checkpoint of {shown(checkpoint.origin)}, not of this tree")
            if checkpoint.size != part.size:
                kind: Kind = "withheld" if part.size < checkpoint.size else "added"
                raise Refused(kind, f"{name} covers {checkpoint.size} leaves, the manifest says {part.size}")
            self._notes[part.partition] = data
            self._checkpoints.append(checkpoint)
            self._check_witnesses(name, data, checkpoint)
        covered_trees = {one.origin for one in self._checkpoints}
        for origin in sorted(set(self._earlier) - covered_trees):
            self._fail("rolled-back", f"the earlier checkpoint is of {shown(origin)}, which this bundle does not cover")
        return signers

    def _check_witnesses(self, name: str, data: bytes, checkpoint: Checkpoint) -> None:
        note = read_note(data)
        for witness in self._witnesses:
            try:
                cosigned = cosigned_by(note, witness)
            except ForgedNote as error:
                raise Refused("forged", f"{name}: {error}") from None
            if cosigned is None:
                raise Refused("forged", f"{name}: the witness {shown(witness.name)} did not cosign it")
            self._seen.append(Seen(cosigned.name, checkpoint.origin, cosigned.at))

    def _tag_key(self) -> bytes:
        data = self._read(bundle.TAG_KEY, 2 * TAG_KEY_BYTES + 1)
        try:
            tag_key = bytes.fromhex(data.decode())
        except ValueError:
            raise Refused("malformed", "tag-key.txt is no key") from None
        if len(tag_key) != TAG_KEY_BYTES or f"{tag_key.hex()}\n".encode() != data:
            raise Refused("malformed", "tag-key.txt is no key as it must be written")
        if tag_key_digest(tag_key) != self._manifest.partitions[0].tag_key_sha256:
            raise Refused("forged", "tag-key.txt is not the tag key of this ledger's trees")
        return tag_key

    def _read_entries(self) -> Entries:
        query, parts = self._manifest.query, self._manifest.partitions
        until = None if query.until is None else read_instant(query.until)
        with self._container.open(bundle.ENTRIES) as file:
            return read_entries(file, {one.partition: one.size - 1 for one in parts}, parts[0].partitions, until)

    def _check_trees(self, entries: Entries, tag_key: bytes) -> int:
        """The leaves and the records; the number of gaps."""
        subjects = self._manifest.subjects
        keys = None if subjects is None else frozenset(one.encode() for one in subjects)
        gaps = 0
        for part, checkpoint in zip(self._manifest.partitions, self._checkpoints, strict=True):
            name = bundle.leaves_file(part.partition)
            if failure := wrong_length(part.partition, part.size, self._container.size(name)):
                self._failures.append(failure)
                continue
            with self._container.open(name) as leaves:
                earlier = self._earlier.get(checkpoint.origin)
                found = covered(part.genesis, checkpoint, leaves, entries, Scope(tag_key, keys), earlier)
            gaps += found.gaps
            self._failures += found.failures
        return gaps

    def _check_as_of(self, entries: Entries) -> None:
        """``as_of`` is ``until``; else the last instant, as far as the records here show which that is."""
        manifest, query = self._manifest, self._manifest.query
        if query.until is not None:
            right = manifest.as_of == query.until
        elif query.all:
            right = manifest.as_of == (None if entries.latest is None else written_instant(entries.latest))
        elif manifest.as_of is None:
            right = not len(entries)
        else:
            latest = 0 if entries.latest is None else read_instant(written_instant(entries.latest))
            right = latest <= read_instant(manifest.as_of)
        if not right:
            self._fail("re-judged", "as_of is not the instant of which this bundle must speak")

    def _check_judgement(self, entries: Entries) -> Judged:
        """Every verdict and every decision, from the records."""
        manifest, query = self._manifest, self._manifest.query
        until = None if query.until is None else read_instant(query.until)
        as_of = None if manifest.as_of is None else read_time(manifest.as_of)
        terms = Terms(query, manifest.partitions[0].partitions, until, as_of)
        marks = _Marks(len(entries))
        with (
            self._container.open(bundle.ENTRIES, SCATTERED) as file,
            self._container.open(bundle.DECISIONS) as decisions,
        ):
            compared = _Compared(lines(decisions), bundle.DECISIONS)
            judged = judge(entries, file, terms, Sink(marks.put, compared.expect), self._progress)
            compared.finish()
        self._failures += compared.failures
        with self._container.open(bundle.VERDICTS) as verdicts:
            self._failures += marks.compared(lines(verdicts), entries)
        if judged.counts != manifest.counts:
            self._fail("malformed", "the counts of the manifest are not those of the bundle")
        if query.is_chosen:
            self._check_choice(judged)
        return judged

    def _check_choice(self, judged: Judged) -> None:
        """Each work item that was chosen is one that the query speaks of."""
        count = self._manifest.partitions[0].partitions
        for subject in self._manifest.subjects or ():
            if Group(subject.encode(), partition_of(subject, count)) not in judged.wanted:
                self._fail("added", f"the query does not choose the work item {shown(subject)}")

    def _check_renderings(self, not_proven: Sequence[str]) -> None:
        """What is for people is what the rest gives."""
        manifest = self._manifest
        if manifest.versions.rendering != RENDERING:
            return
        verdicts, decisions = (
            Rows(partial(self._container.open, name)) for name in (bundle.VERDICTS, bundle.DECISIONS)
        )
        view = view_of(manifest, self._notes, verdicts, decisions, not_proven)
        for name, parts in renderings(view, manifest.query.formats):
            hashed, size = hashlib.sha256(), 0
            for part in parts:
                hashed.update(part)
                size += len(part)
            if (hashed.hexdigest(), size) != (manifest.files[name].sha256, manifest.files[name].bytes):
                self._fail("changed", f"{name} does not show what is in this bundle")


class _Marks:
    """The digests of the verdicts that must be there, by entry: they are made in another order than they lie in."""

    def __init__(self, count: int) -> None:
        self._marks = bytearray(_MARK_BYTES * count)

    def put(self, number: int, line: bytes) -> None:
        """The verdict of an entry must be this line."""
        mark = hashlib.blake2b(line, digest_size=_MARK_BYTES).digest()
        self._marks[_MARK_BYTES * number : _MARK_BYTES * (number + 1)] = mark

    def compared(self, found: Iterable[bytes], entries: Entries) -> Iterator[Failure]:
        """The first verdict that is another, where one is."""
        compared = _Compared(iter(found), bundle.VERDICTS, marked=True)
        partitions = sorted(entries.begins.items(), key=lambda one: one[1])
        for at, (partition, begin) in enumerate(partitions):
            end = partitions[at + 1][1] if at + 1 < len(partitions) else len(entries)
            for number in range(begin, end):
                mark = bytes(self._marks[_MARK_BYTES * number : _MARK_BYTES * (number + 1)])
                if any(mark):
                    compared.expect(f"{partition}:{entries.offsets[number]}", mark)
        compared.finish()
        yield from compared.failures


class _Compared:
    """Lines as they are beside lines as they must be, up to the first that differs."""

    def __init__(self, found: Iterator[bytes], name: str, *, marked: bool = False) -> None:
        self._found, self._name, self._marked = found, name, marked
        self.failures: list[Failure] = []

    def expect(self, entry: str, right: bytes) -> None:
        """The next line must be this one, of that entry."""
        if self.failures:
            return
        line = self._next(entry)
        if line is None and not self.failures:
            self._fail(entry, "a line is missing that these records give")
        elif line is not None and (self._marked_of(line) if self._marked else line) != right:
            self._fail(entry, "a line is not what these records give")

    def finish(self) -> None:
        """There must be no other line."""
        if not self.failures and self._next(None) is not None:
            self._fail(None, "there are more lines than these records give")

    def _next(self, entry: str | None) -> bytes | None:
        try:
            return next(self._found, None)
        except BadText as error:
            self.failures.append(Failure("malformed", entry, f"{self._name}: {error}"))
            return None

    def _marked_of(self, line: bytes) -> bytes:
        return hashlib.blake2b(line, digest_size=_MARK_BYTES).digest()

    def _fail(self, entry: str | None, detail: str) -> None:
        self.failures.append(Failure("re-judged", entry, f"{self._name}: {detail}"))
