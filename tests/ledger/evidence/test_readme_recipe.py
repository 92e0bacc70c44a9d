"""The recipe in a bundle's README is enough: a verifier that was written from it alone finds what it must."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from cryptography.exceptions import InvalidSignature

from ledger.evidence.bundle import Query
from tests.ledger.evidence.auditor import faults
from tests.ledger.evidence.ledgers import SIGNER, STRANGER, ledger

QUERIES = [Query(all=True), Query(subjects=("T-1",)), Query(subjects=("T-2", "Tø-4"), formats=("csv", "ocsf"))]


@pytest.fixture
def bundle(tmp_path: Path) -> Path:
    """A bundle of one work item."""
    folder = tmp_path / "bundle"
    ledger().export(folder, QUERIES[1])
    return folder


@pytest.mark.parametrize("query", QUERIES, ids=["all", "one", "two"])
def test_a_bundle_holds_by_its_own_recipe(query: Query, tmp_path: Path) -> None:
    """Digests, leaves, genesis, roots and signatures come out as the text says."""
    folder = tmp_path / "bundle"
    ledger().export(folder, query)
    assert list(faults(folder, str(SIGNER.verifier))) == []


def test_the_recipe_finds_a_changed_record(bundle: Path) -> None:
    """A letter of an entry that was changed is found in the leaf of that entry, and in the file's digest."""
    entries = bundle / "entries.jsonl"
    entries.write_bytes(entries.read_bytes().replace(b"an annotation", b"no annotation"))
    found = list(faults(bundle, str(SIGNER.verifier)))
    assert found[0] == "the digest of entries.jsonl"
    assert len([one for one in found if one.startswith("the leaf of ")]) == 1


def test_the_recipe_finds_what_was_withheld(bundle: Path) -> None:
    """The leaf of an entry that was left out still carries the work item's tag."""
    entries = bundle / "entries.jsonl"
    lines = entries.read_bytes().splitlines(keepends=True)
    entries.write_bytes(b"".join(lines[:3] + lines[4:]))
    found = [one for one in faults(bundle, str(SIGNER.verifier)) if one.startswith("withheld ")]
    gone = json.loads(lines[3])
    assert found == [f"withheld {gone['partition']}:{gone['offset']}"]


def test_the_recipe_finds_a_changed_leaf(bundle: Path) -> None:
    """A leaf of somebody else's entry is under the root as well."""
    leaves = next(path for path in sorted(bundle.glob("leaves-*")) if path.stat().st_size)
    data = bytearray(leaves.read_bytes())
    data[40] ^= 1
    leaves.write_bytes(data)
    assert any(one.startswith("the root of ") for one in faults(bundle, str(SIGNER.verifier)))


def test_the_recipe_refuses_another_key(bundle: Path) -> None:
    """The signature is verified with the key that came another way."""
    with pytest.raises((InvalidSignature, AssertionError)):
        list(faults(bundle, str(STRANGER.verifier)))
