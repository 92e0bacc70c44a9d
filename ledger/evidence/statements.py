"""What a bundle that verifies proves, and what it does not: sentences for people, made from what was checked."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import NamedTuple

from ledger.evidence.bundle import Manifest, written_instant
from ledger.evidence.failures import shown
from ledger.evidence.notes import Checkpoint, VerifierKey
from ledger.evidence.view import RENDERING

NO_BUNDLE_PROVES = (
    "Who wrote an entry: actors are what publishers said of themselves, unless the log itself lets only them in.",
    "What the broker's clock said: times are those of the log, and the notary signed them as they were.",
    "That nothing is newer than the checkpoints: that is known only from a later checkpoint (--since) or a witness.",
    "Records that name a work item and lie under another key or on another partition: they change nothing, and are in "
    "no work item's history.",
    "What lines of other signers on a checkpoint say, but for witnesses whose keys were given (--witness).",
)


class Found(NamedTuple):
    """What the limits of a bundle depend on, beside its manifest."""

    gaps: int
    """Offsets without a readable record, as the notary says."""
    unended: int
    """Work items without an entry later than ``until``."""


class Signatures(NamedTuple):
    """Which of the given keys signed every checkpoint, and what else was signed of these trees."""

    keys: Sequence[VerifierKey]
    earlier: Sequence[Checkpoint] = ()
    seen: Sequence[Seen] = ()


class Seen(NamedTuple):
    """A witness saw the checkpoint of a tree, at a time by its own clock."""

    witness: str
    origin: str
    at_seconds: int


def limits(manifest: Manifest, found: Found) -> list[str]:
    """What this very bundle does not prove, beside what none does."""
    return list(_limits(manifest, found))


def _limits(manifest: Manifest, found: Found) -> Iterator[str]:
    query = manifest.query
    if query.is_chosen:
        yield "That no work item was left out: they were chosen by owner, verdict or time. Each that is here is whole."
    if query.until is not None and found.unended:
        yield (
            f"That {counted(found.unended, 'work item')} had no entry between the checkpoint and {query.until}: "
            "a later entry of its own would prove it."
        )
    if query.until is None and (not query.all or query.partitions) and manifest.as_of is not None:
        yield f"That {manifest.as_of} is the last instant under the checkpoints: the exporter says so."
    if found.gaps:
        yield f"That {counted(found.gaps, 'offset')} held no readable record: the notary says so."
    if "parquet" in query.formats:
        yield "That the Parquet files say the same as verdicts.jsonl and decisions.jsonl."
    if manifest.versions.rendering != RENDERING:
        yield "README.txt, report.html, CSV and OCSF: they were rendered by an older pauseledger."


def not_given(key: VerifierKey) -> str:
    """What is said of a key in ``key.txt`` that signed beside a given one, as after a rotation."""
    return f"That {_short(key)} in key.txt is a key of this ledger: it was not given, and signed beside a given one."


def _short(key: VerifierKey) -> str:
    return f"{key.name}+{key.number:08x}"


def proven(
    manifest: Manifest, checkpoints: Sequence[Checkpoint], signed: Signatures, absent: Sequence[str] = ()
) -> list[str]:
    """What a bundle proves in which nothing was found to be wrong."""
    keys = f"key{'s' if len(signed.keys) > 1 else ''} {' and '.join(map(_short, signed.keys))}"
    said = [
        f"{one.origin} was signed by the given {keys} with {one.size - 1} entries under root {one.root.hex()}."
        for one in checkpoints
    ]
    said += [f"{one.origin} begins with the {one.size} leaves of the earlier checkpoint." for one in signed.earlier]
    said += [
        f"The witness {one.witness} saw {one.origin} so at {written_instant(1_000 * one.at_seconds)}, by its own clock."
        for one in signed.seen
    ]
    said.append(_complete(manifest))
    if absent:
        more = f" and of {counted(len(absent) - 5, 'more work item')}" if len(absent) > 5 else ""
        said.append(f"There is no entry of {', '.join(map(shown, absent[:5]))}{more} under the checkpoints.")
    counts = manifest.counts
    said.append(
        f"{counted(counts.verdicts, 'verdict')} and {counted(counts.decisions, 'decision')}, as of "
        f"{manifest.as_of or 'the beginning'}, follow from the records by the rules of protocol "
        f"{manifest.versions.protocol}; so does what is rendered from them."
    )
    return said


def _complete(manifest: Manifest) -> str:
    query = manifest.query
    until = "" if query.until is None else f", up to {query.until},"
    if manifest.subjects is None:
        where = f" of partitions {', '.join(map(str, query.partitions))}" if query.partitions else ""
        whose = f"Every entry{where}"
    else:
        names = ", ".join(map(shown, manifest.subjects[:5]))
        more = len(manifest.subjects) - 5
        others = f" and {counted(more, 'more work item')}" if more > 0 else ""
        whose = f"Every entry of {names}{others}"
    return (
        f"{whose} under the checkpoints{until} is here: {records(manifest)}, "
        "none withheld, added, changed or out of order."
    )


def records(manifest: Manifest) -> str:
    """How many records there are, and how many of them only show where a history up to ``until`` ends."""
    later = manifest.counts.entries - manifest.counts.verdicts
    said = counted(manifest.counts.entries, "record")
    return f"{said}, of which {later:,} later, not judged" if later else said


def counted(number: int, what: str) -> str:
    """So many of something."""
    return f"{number:,} {what}{'' if number == 1 else 's'}"
