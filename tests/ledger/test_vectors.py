"""The vectors hold exactly: those shared by every implementation, where they lie, and the project's own."""

from __future__ import annotations

import json
import os
from pathlib import Path

import pytest

from tests.vectors import Vectors, files_in, read_vectors, wrong_decisions, wrong_verdicts

ROOT = Path(__file__).parents[2]
SHARED = Path(os.environ.get("PAUSELEDGER_VECTORS") or ROOT.parent / "shared" / "vectors")
OWN = ROOT / "docs" / "vectors"
ABSENT = f"the shared vectors are not at {SHARED}: set PAUSELEDGER_VECTORS to where they lie"

shared_files = pytest.mark.parametrize(
    "path",
    files_in(SHARED) or [pytest.param(SHARED, marks=pytest.mark.skip(reason=ABSENT))],
    ids=lambda path: path.stem,
)


@pytest.mark.skipif(not OWN.is_dir(), reason="docs/vectors is not written yet")
def test_the_project_has_vectors_of_its_own() -> None:
    """A folder of vectors that is there holds some."""
    assert files_in(OWN)


@shared_files
def test_every_shared_verdict_holds(path: Path) -> None:
    """The fold gives each entry of a shared file the verdict that the file says."""
    assert wrong_verdicts(read_vectors(path)) == []


@shared_files
def test_every_shared_decision_holds(path: Path) -> None:
    """The branch table decides each pause of a shared file as the file says, at the instants it names."""
    assert wrong_decisions(read_vectors(path)) == []


@pytest.mark.parametrize(
    "path",
    files_in(OWN) or [pytest.param(OWN, marks=pytest.mark.skip(reason="docs/vectors is not written yet"))],
    ids=lambda path: path.stem,
)
def test_every_vector_of_the_project_holds(path: Path) -> None:
    """Verdicts and decisions of the project's own files hold as exactly as the shared ones."""
    vectors = read_vectors(path)
    assert vectors.records
    assert wrong_verdicts(vectors) + wrong_decisions(vectors) == []


@pytest.fixture
def one_claim(tmp_path: Path) -> Vectors:
    """A file of one entry, with what it means."""
    content = {
        "specversion": "1.0",
        "id": "1",
        "source": "/s",
        "type": "pauseledger.pause.opened",
        "subject": "T-1",
        "data": {"execution": "run-1", "pause": "p-1", "owner": "user:ann"},
    }
    entry = {"partition": 0, "offset": 0, "recorded_at": "2026-03-28T09:00:00Z", "line": json.dumps(content)}
    decision = {"pause": "p-1", "decision": "reconcile", "side_effect": "indeterminate"}
    asked = {"subject": "T-1", "at": "2026-03-28T09:00:00Z", "decisions": [decision]}
    told = {"entries": [entry], "verdicts": [{"verdict": "accepted", "code": "ok"}], "decisions": [asked]}
    path = tmp_path / "one.json"
    path.write_text(json.dumps(told))
    return read_vectors(path)


def test_the_comparison_accepts_what_is_right(one_claim: Vectors) -> None:
    """A vector that says what the fold says has no difference."""
    assert wrong_verdicts(one_claim) == []
    assert wrong_decisions(one_claim) == []


def test_the_comparison_sees_another_code_and_another_check(one_claim: Vectors) -> None:
    """A comparison that could not fail would prove nothing: one wrong member is one difference."""
    one_claim.verdicts[0]["code"] = "bad-data"
    one_claim.decisions[0]["decisions"][0]["side_effect"] = "happened"
    assert wrong_verdicts(one_claim) == ["entry 0:0: code is ok, not bad-data"]
    assert [line.partition(": ")[2] for line in wrong_decisions(one_claim)] == [
        "side_effect is indeterminate, not happened"
    ]


def test_the_comparison_sees_a_missing_decision_and_a_missing_first(one_claim: Vectors) -> None:
    """A decision too few, or a duplicate that should know its first entry and does not, is a difference."""
    one_claim.decisions[0]["decisions"].clear()
    one_claim.verdicts[0]["first"] = {"verdict": "accepted", "code": "ok"}
    assert len(wrong_verdicts(one_claim)) == len(wrong_decisions(one_claim)) == 1
