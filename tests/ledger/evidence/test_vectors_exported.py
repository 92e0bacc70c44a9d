"""The conformance vectors, through a bundle and its verifier: what an auditor derives is what every reader must."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from ledger.evidence.bundle import Query, written_time
from ledger.evidence.verify import Trusted, verify
from ledger.times import parse_instant
from tests.ledger.evidence.ledgers import SIGNER, Signed, lines_of
from tests.ledger.test_vectors import OWN
from tests.vectors import CHECKS, VERDICT_MEMBERS, Vectors, files_in, read_vectors

MOST_QUESTIONS = 12
"""Of a file; the first ones: the fold has been asked all of them elsewhere."""


def signed(vectors: Vectors) -> Signed:
    """The vectors' log under a notary's signature. Its partitions share one count of offsets, so each has gaps."""
    sizes = [1] * vectors.partitions
    for one in vectors.records:
        sizes[one.partition] = one.offset + 2
    return Signed(SIGNER, vectors.records, vectors.partitions, sizes)


@pytest.mark.parametrize("path", files_in(OWN), ids=lambda path: path.stem)
def test_the_vectors_hold_in_a_bundle(path: Path, tmp_path: Path) -> None:
    """Verdicts of an export of all, and decisions of exports as of the instants that are asked about."""
    vectors = read_vectors(path)
    whole = signed(vectors)
    whole.export(tmp_path / "all", Query(all=True, formats=("csv", "ocsf")))
    assert verify(tmp_path / "all", Trusted(SIGNER.verifier)).failures == []
    found = {(one["partition"], one["offset"]): one for one in lines_of(tmp_path / "all", "verdicts.jsonl")}
    assert len(found) == len(vectors.records)
    for record, expected in zip(vectors.records, vectors.verdicts, strict=True):
        got = found[record.partition, record.offset]
        assert {name: got.get(name) for name in VERDICT_MEMBERS} == {
            name: expected.get(name) for name in VERDICT_MEMBERS
        }
    for number, asked in enumerate(vectors.decisions[:MOST_QUESTIONS]):
        at = written_time(parse_instant(asked["at"]))
        folder = tmp_path / str(number)
        whole.export(folder, Query(subjects=(asked["subject"],), until=at))
        assert verify(folder, Trusted(SIGNER.verifier)).failures == []
        decisions = lines_of(folder, "decisions.jsonl")
        assert len(decisions) == len(asked["decisions"])
        for got, expected in zip(decisions, asked["decisions"], strict=True):
            assert _told(got, expected) == expected


def _told(decision: dict[str, Any], expected: dict[str, Any]) -> dict[str, Any]:
    """The members of a decision that a vector gives."""
    results = {name: decision["checks"][name]["result"] for name in CHECKS}
    return {name: (decision | results)[name] for name in expected}
