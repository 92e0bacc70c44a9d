"""Several keys of one ledger, as after rotations: one of those given must have signed all of a bundle."""

from __future__ import annotations

from itertools import permutations
from pathlib import Path

import pytest

from consumers.evidence.bundle_files import Notary, write_bundle
from ledger.evidence.bundle import Query
from ledger.evidence.notes import Checkpoint, Note, VerifierKey, read_note
from ledger.evidence.signatures import Signer
from ledger.evidence.verify import Trusted, Verified, verify
from tests.ledger.evidence import forging
from tests.ledger.evidence.ledgers import SIGNER, STRANGER, TAG_KEY, Signed, ledger

NEW = Signer(SIGNER.verifier.name, b"\x07" * 32)
OTHER_LEDGER = Signer("other.example/audit", b"\x08" * 32)


def note_of(checkpoint: Checkpoint, *signers: Signer) -> bytes:
    return str(Note(checkpoint.text, tuple(one.sign(checkpoint.text) for one in signers))).encode()


def bundle(folder: Path, *signers: tuple[Signer, ...], key: Signer, less: int = 0) -> Path:
    """A bundle of all whose partitions were signed by these; ``key`` is in key.txt."""
    folder.mkdir()
    signed: Signed = ledger(2, less=less)
    trees = [
        tree._replace(note=note_of(tree.checkpoint, *by)) for tree, by in zip(signed.trees(), signers, strict=True)
    ]
    write_bundle(folder, Query(all=True), trees, Notary(key.verifier, TAG_KEY))
    return folder


def checked(folder: Path, *keys: Signer, earlier: tuple[Checkpoint, ...] = ()) -> Verified:
    first, *others = (one.verifier for one in keys)
    return verify(folder, Trusted(first, earlier, other_keys=others))


def kinds(found: Verified) -> list[str]:
    assert found.ok is not bool(found.failures)
    return [one.kind for one in found.failures]


def short(key: VerifierKey) -> str:
    return f"{key.name}+{key.number:08x}"


@pytest.mark.parametrize("given", [*permutations((NEW, SIGNER, STRANGER))])
def test_the_order_of_the_keys_means_nothing(given: tuple[Signer, ...], tmp_path: Path) -> None:
    """A bundle from before a rotation holds by its own key, wherever that stands among those given, and names it."""
    found = checked(bundle(tmp_path / "old", (SIGNER,), (SIGNER,), key=SIGNER), *given)
    assert kinds(found) == []
    signed = [one for one in found.proven if "was signed by" in one]
    assert len(signed) == 2
    assert all(f"by the given key {short(SIGNER.verifier)} with" in one for one in signed)


def test_a_newer_key_finds_an_old_bundle_rolled_back(tmp_path: Path) -> None:
    """What another key would have hidden: the older bundle is sound, and not the newest."""
    folder = bundle(tmp_path / "old", (SIGNER,), (SIGNER,), key=SIGNER, less=2)
    newest = tuple(ledger(2).checkpoint(one) for one in (0, 1))
    assert set(kinds(checked(folder, NEW, SIGNER, earlier=newest))) == {"rolled-back"}


@pytest.mark.parametrize("named", [SIGNER, NEW])
@pytest.mark.parametrize("given", [[SIGNER], [NEW], [SIGNER, NEW]])
def test_what_both_keys_signed_holds_by_either(named: Signer, given: list[Signer], tmp_path: Path) -> None:
    """A checkpoint that was signed again after a rotation; a key in key.txt that was not given is not vouched for."""
    found = checked(bundle(tmp_path / "both", (NEW, SIGNER), (NEW, SIGNER), key=named), *given)
    assert kinds(found) == []
    doubted = [one for one in found.not_proven if f"{short(named.verifier)} in key.txt" in one]
    assert len(doubted) == (named not in given)
    assert f"given keys {short(SIGNER.verifier)} and " in found.proven[0] or len(given) == 1


@pytest.mark.parametrize(
    ("signers", "key", "given"),
    [
        ([(SIGNER,), (NEW,)], NEW, [NEW, SIGNER]),
        ([(SIGNER, NEW), (STRANGER,)], NEW, [NEW, SIGNER]),
        ([(STRANGER,), (STRANGER,)], STRANGER, [NEW, SIGNER]),
        ([(STRANGER,), (STRANGER,)], SIGNER, [NEW, SIGNER]),
        ([(NEW,), (NEW,)], STRANGER, [NEW, SIGNER]),
        ([(NEW,), (NEW,)], SIGNER, [NEW]),
        ([(NEW, SIGNER), (NEW,)], SIGNER, [NEW]),
        ([(OTHER_LEDGER,), (OTHER_LEDGER,)], OTHER_LEDGER, [SIGNER, OTHER_LEDGER]),
        ([(OTHER_LEDGER,), (OTHER_LEDGER,)], SIGNER, [SIGNER, OTHER_LEDGER]),
        ([(NEW, OTHER_LEDGER), (NEW, OTHER_LEDGER)], OTHER_LEDGER, [NEW]),
    ],
)
def test_keys_are_not_mixed(
    signers: list[tuple[Signer, ...]], key: Signer, given: list[Signer], tmp_path: Path
) -> None:
    """Not one key for this partition and one for that, none that was not given, and none of another ledger."""
    assert kinds(checked(bundle(tmp_path / "bundle", *signers, key=key), *given)) == ["forged"]


def test_a_given_key_that_is_forged_on_one_line_spoils_the_note(tmp_path: Path) -> None:
    """Where another given key's line holds, one that does not is a forgery still."""
    folder = bundle(tmp_path / "both", (NEW, SIGNER), (NEW, SIGNER), key=NEW)
    files = forging.read(folder)
    note = read_note(files["checkpoint-0"])
    old = note.signatures[1]
    spoilt = note._replace(signatures=(note.signatures[0], old._replace(signature=bytes(64))))
    forging.write(forging.with_digests(files | {"checkpoint-0": str(spoilt).encode()}), folder)
    assert kinds(checked(folder, NEW, SIGNER)) == ["forged"]
