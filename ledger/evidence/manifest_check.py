"""Whether a manifest hangs together: one query, in its one form, over the partitions and work items that it needs."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import pairwise
from typing import Any

from ledger.evidence.bundle import WRITERS, BadText, CoveredPartition, Manifest, Query, read_time
from ledger.evidence.failures import shown
from ledger.evidence.view import RENDERING
from ledger.partitions import partition_of


def query_problem(query: Query) -> str | None:
    """What is wrong with a query; null where it asks for one thing in the one right way."""
    chosen = (query.owner, query.verdict, query.active_from, query.active_to)
    is_chosen = any(one is not None for one in chosen)
    if query.all + bool(query.subjects) + is_chosen != 1:
        return "it asks for all, for work items by name, or for those that something is true of"
    if query.partitions and not query.all:
        return "partitions are named with all only"
    if not (_is_sorted(query.subjects) and _is_sorted(query.partitions) and _is_sorted(query.formats)):
        return "what it lists is not sorted, or named twice"
    try:
        for time in (query.active_from, query.active_to, query.until):
            if time is not None:
                read_time(time)
    except BadText as error:
        return str(error)
    return None


def _is_sorted(values: Sequence[Any]) -> bool:
    return all(one < other for one, other in pairwise(values))


def needed_partitions(manifest: Manifest) -> Sequence[int]:
    """The partitions that a bundle of this query must have."""
    count = manifest.partitions[0].partitions
    if manifest.subjects is not None:
        return sorted({partition_of(one, count) for one in manifest.subjects})
    return manifest.query.partitions or range(count)


def manifest_problem(manifest: Manifest) -> str | None:
    """The first thing in a manifest that can't be; null where it may be true."""
    return next(_problems(manifest), None)


def _problems(manifest: Manifest) -> Iterator[str]:
    query, parts = manifest.query, manifest.partitions
    if manifest.versions.pauseledger not in WRITERS:
        yield f"it was made by pauseledger {shown(manifest.versions.pauseledger)}, which this one doesn't know: upgrade"
    if not 0 < manifest.versions.rendering <= RENDERING:
        yield f"it is of rendering {manifest.versions.rendering}, which this pauseledger doesn't know: upgrade"
    if problem := query_problem(query):
        yield f"its query can't be: {problem}"
    if not parts:
        yield "it covers no partition"
        return
    if len({_common(one) for one in parts}) != 1 or parts[0].ledger != manifest.ledger:
        yield "its partitions are not of one topic of one ledger"
    if any(one.size < 1 or one.partition >= one.partitions for one in parts):
        yield "a partition of it can't be"
    yield from _subject_problems(manifest)
    needed, found = needed_partitions(manifest), [one.partition for one in parts]
    if len(needed) != len(found) or list(needed) != found:
        yield "its partitions are not those that its query needs"
    if manifest.as_of is not None:
        try:
            read_time(manifest.as_of)
        except BadText as error:
            yield f"as_of: {error}"


def _common(one: CoveredPartition) -> tuple[object, ...]:
    return one.ledger, one.topic, one.topic_id, one.partitions, one.protocol, one.tag_key_sha256


def _subject_problems(manifest: Manifest) -> Iterator[str]:
    subjects = manifest.subjects
    if (subjects is None) is not manifest.query.all:
        yield "it names work items although all were asked for, or none although some were"
    if subjects is None:
        return
    if not subjects or not _is_sorted(subjects) or not all(subjects):
        yield "its work items are not named once each, in order"
    if manifest.query.subjects and subjects != manifest.query.subjects:
        yield "its work items are not those that were asked for"
