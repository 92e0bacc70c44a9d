"""Thousands of changed bundles: all are refused, none makes the verifier fail, none makes it write anything."""

from __future__ import annotations

from collections.abc import Callable
from functools import cache
from pathlib import Path
from typing import get_args

import pytest

from ledger.evidence.bundle import Query, written_instant
from ledger.evidence.failures import Kind
from ledger.evidence.verify import Trusted, verify
from tests.ledger.evidence import forging, mutants
from tests.ledger.evidence.forging import Files
from tests.ledger.evidence.ledgers import MINUTE, SIGNER, START, ledger

KINDS = set(get_args(Kind))
LEAST = 2_000

BASES = {
    "tables": Query(all=True, formats=("csv", "ocsf")),
    "all": Query(all=True),
    "every line": Query(all=True, until=written_instant(START + 9 * MINUTE)),
    "two": Query(subjects=("T-1", "T-3")),
    "until": Query(subjects=("T-2", "T-3"), until=written_instant(START + 20 * MINUTE)),
}
CLASSES: dict[str, tuple[str, Callable[[Files], mutants.Mutants]]] = {
    "flipped bytes": ("tables", mutants.flipped),
    "flipped bytes of one": ("two", mutants.flipped),
    "files": ("tables", mutants.cut_and_more),
    "lines": ("until", mutants.other_lines),
    "lines of all": ("every line", mutants.other_lines),
    "forms": ("all", mutants.other_forms),
    "records": ("all", mutants.other_records),
    "records of some": ("until", mutants.other_records),
    "withheld": ("all", mutants.withheld),
    "withheld of two": ("two", mutants.withheld),
    "withheld until": ("until", mutants.withheld),
    "verdicts": ("two", mutants.other_verdicts),
    "manifest": ("two", mutants.other_manifests),
    "manifest of all": ("all", mutants.other_manifests),
}
_SEEN: dict[str, int] = {}


@pytest.fixture(scope="module")
def base(tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], Files]:
    @cache
    def made(name: str) -> Files:
        folder = tmp_path_factory.mktemp("base") / "bundle"
        ledger().export(folder, BASES[name])
        assert verify(folder, Trusted(SIGNER.verifier)).ok
        return forging.read(folder)

    return made


@pytest.mark.parametrize("name", CLASSES)
def test_every_mutant_is_refused(name: str, base: Callable[[str], Files], tmp_path: Path) -> None:
    """Whatever one thing is changed in a bundle, it is refused with a kind that the protocol names."""
    on, change = CLASSES[name]
    sound = base(on)
    folder = tmp_path / "bundle"
    folder.mkdir()
    before: Files = {}
    count = 0
    for what, files in change(sound):
        assert files != sound, what
        forging.write(files, folder, before)
        before, touched = files, forging.touched(tmp_path)
        found = verify(folder, Trusted(SIGNER.verifier))
        assert not found.ok, what
        assert found.failures, what
        assert {one.kind for one in found.failures} <= KINDS, what
        assert found.proven == [], what
        assert all(one.detail.isprintable() for one in found.failures), what
        assert forging.touched(tmp_path) == touched, what
        count += 1
    assert [one.name for one in tmp_path.iterdir()] == ["bundle"]
    assert count
    _SEEN[name] = count


def test_there_are_enough_of_them(base: Callable[[str], Files]) -> None:
    """So many different bundles were refused, in every class that there is."""
    counts = {name: _SEEN.get(name) or sum(1 for _ in change(base(on))) for name, (on, change) in CLASSES.items()}
    assert min(counts.values()) > 20
    assert sum(counts.values()) >= LEAST, counts
