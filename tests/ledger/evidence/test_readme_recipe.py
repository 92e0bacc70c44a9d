"""The recipe in a bundle's README is enough: a verifier that was written from it alone finds what it must."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from cryptography.exceptions import InvalidSignature

from ledger.evidence.bundle import Query, written_instant
from ledger.partitions import partition_of
from tests.ledger.evidence.auditor import faults
from tests.ledger.evidence.ledgers import MINUTE, SIGNER, START, STRANGER, ledger, lines_of

UNTIL = written_instant(START + 9 * MINUTE)
QUERIES = [
    Query(all=True),
    Query(subjects=("T-1",)),
    Query(subjects=("T-2", "Tø-4"), formats=("csv", "ocsf")),
    Query(subjects=("T-2", "T-3"), until=UNTIL),
    Query(all=True, until=UNTIL),
]


@pytest.fixture
def bundle(tmp_path: Path) -> Path:
    """A bundle of one work item."""
    folder = tmp_path / "bundle"
    ledger().export(folder, QUERIES[1])
    return folder


@pytest.mark.parametrize("query", QUERIES, ids=["all", "one", "two", "until", "all until"])
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


@pytest.mark.parametrize("query", QUERIES, ids=["all", "one", "two", "until", "all until"])
def test_the_recipe_finds_each_record_that_is_left_out(query: Query, tmp_path: Path) -> None:
    """Whichever it is, also one without a key, and under an instant all that lies up to it."""
    folder = tmp_path / "bundle"
    ledger().export(folder, query)
    entries, lines = folder / "entries.jsonl", lines_of(folder, "entries.jsonl")
    raw = entries.read_bytes().splitlines(keepends=True)
    for number, gone in enumerate(lines):
        if query.until is not None and gone["recorded_at"] > START + 9 * MINUTE:
            continue
        entries.write_bytes(b"".join(raw[:number] + raw[number + 1 :]))
        found = [one for one in faults(folder, str(SIGNER.verifier)) if one.startswith("withheld ")]
        assert f"withheld {gone['partition']}:{gone['offset']}" in found


def test_the_recipe_finds_a_partition_that_is_not_there(bundle: Path) -> None:
    """A bundle that names a work item and has not its partition shows nothing of it."""
    manifest = json.loads((bundle / "manifest.json").read_bytes())
    (there,) = (one["partition"] for one in manifest["partitions"])
    strangers = [f"T-{n}" for n in range(9) if partition_of(f"T-{n}", 2) != there]
    manifest["subjects"] += strangers
    (bundle / "manifest.json").write_text(json.dumps(manifest))
    found = list(faults(bundle, str(SIGNER.verifier)))
    assert [one for one in found if one.startswith("the partition ")] == [
        f"the partition of {one}" for one in strangers
    ]
    assert strangers


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
