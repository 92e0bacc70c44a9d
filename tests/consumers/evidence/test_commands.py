"""The commands of evidence, as scripts rely on them: their JSON is that of the protocol, and nothing else."""

from __future__ import annotations

import base64
import json
import re
from pathlib import Path

import pytest
from typer.testing import CliRunner, Result

from consumers.cli.app import app
from consumers.evidence.keys import open_keys
from consumers.evidence.notary import latest
from consumers.settings import Settings
from ledger.errors import LogChanged, NotFound, UnusableLog, WrongUsage
from ledger.evidence.merkle import leaf_hash, verify_consistency, verify_inclusion
from ledger.evidence.notes import Note, read_note, read_verifier_key
from ledger.evidence.signatures import signed_checkpoint
from tests.consumers.evidence.acme import Acme
from tests.consumers.evidence.test_witnesses import Witness


@pytest.fixture
def acme(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Acme:
    acme = Acme(tmp_path)
    monkeypatch.setenv("PAUSELEDGER_LOG", f"sqlite:///{acme.log_path}")
    monkeypatch.setenv("PAUSELEDGER_KEYS", str(acme.keys))
    monkeypatch.setenv("PAUSELEDGER_TILES", str(acme.tiles))
    return acme


def run(*given: str) -> Result:
    return CliRunner().invoke(app, list(given))


def said(*given: str) -> str:
    done = run(*given)
    assert done.exit_code == 0, done.output
    return done.stdout


def test_keys(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """New, shown and rotated: the verifier key, and never a private byte on either stream."""
    monkeypatch.setenv("PAUSELEDGER_KEYS", str(tmp_path / "k"))
    made = run("keys", "new", "acme", "--json")
    (vkey,) = json.loads(made.stdout).values()
    assert json.loads(made.stdout) == {"vkey": vkey}
    assert read_verifier_key(vkey).name == "acme"
    assert json.loads(said("keys", "show", "--json")) == {"vkey": vkey}
    assert said("keys", "show") == f"{vkey}\n"
    seed = open_keys(tmp_path / "k").signer._key.private_bytes_raw().hex()
    rotated = run("keys", "rotate", "--json")
    new = json.loads(rotated.stdout)["vkey"]
    assert new != vkey
    shown, notes = run("keys", "show"), run("keys", "show", "--rotations")
    assert (shown.stdout, shown.stderr) == (f"{new}\n", f"Earlier: {vkey}\n")
    assert notes.stdout.startswith(f"pauseledger key rotation\n{vkey}\n{new}\n")
    keys = open_keys(tmp_path / "k")
    private = [seed, keys.signer._key.private_bytes_raw().hex(), keys.tag_key.hex()]
    output = made.output + rotated.output + shown.output + notes.output
    assert [one for one in private if one in output] == []
    again = run("keys", "new", "acme")
    assert isinstance(again.exception, WrongUsage)
    assert again.exception.exit_code == 2


def test_checkpoint(acme: Acme) -> None:
    """A list of partition, size, root and note; the note alone where it isn't JSON."""
    acme.append(4)
    (told,) = json.loads(said("checkpoint", "--json"))
    checkpoint = signed_checkpoint(told["checkpoint"].encode(), open_keys(acme.keys).verifier)
    assert told == {
        "partition": 0,
        "size": 5,
        "root": checkpoint.root.hex(),
        "checkpoint": told["checkpoint"],
    }
    assert (checkpoint.origin, checkpoint.size) == ("acme/log/0", 5)
    assert json.loads(said("checkpoint", "--partition", "0", "--json")) == [told]
    assert said("checkpoint") == told["checkpoint"]
    assert latest(Settings.read(), 0) == told["checkpoint"].encode()
    assert isinstance(run("checkpoint", "--partition", "1").exception, WrongUsage)


def test_offsets_without_a_record_are_reported(acme: Acme) -> None:
    """On stderr, so that scripts read what they expect."""
    acme.append(4)
    acme.change_log("DELETE FROM log_records WHERE offset = 2")
    done = run("checkpoint", "--json")
    assert "Partition 0: 1 offset holds no readable record." in done.stderr
    assert len(json.loads(done.stdout)) == 1


def test_a_recheck_says_what_it_saw(acme: Acme) -> None:
    """And halts with exit code 1, naming the entry, where the log is not what was signed."""
    acme.append(4)
    said("checkpoint")
    done = run("checkpoint", "--recheck", "--json")
    assert "4 offsets hashed again, and 1 signed root came out." in done.stderr
    acme.change_log("UPDATE log_records SET value = x'00' WHERE offset = 2")
    for command in (["checkpoint", "--recheck"], ["prove", "inclusion", "--entry", "0:2"]):
        failed = run(*command).exception
        assert isinstance(failed, LogChanged)
        assert failed.exit_code == 1
        assert "ntry 0:2 is" in str(failed)


def test_a_witness_is_shown(acme: Acme, tmp_path: Path) -> None:
    """What it signed is added to the checkpoint, and who it was is said with its time."""
    witness = Witness("witness.example")
    (acme.keys / "witnesses").write_text(str(witness.key))
    assert f"Witness: {witness.key}\n" in run("keys", "show").stderr
    note = read_note(said("checkpoint").encode())
    (tmp_path / "cosigned").write_text(str(Note(note.text, (witness.line(note.text),))))
    done = run("checkpoint", "--cosigned", str(tmp_path / "cosigned"))
    assert len(read_note(done.stdout.encode()).signatures) == 2
    assert "Cosigned by witness.example at 2026-09-21T14:13:20.000Z." in done.stderr
    assert json.loads(said("checkpoint", "--json"))[0]["checkpoint"] == done.stdout
    assert isinstance(run("checkpoint", "--cosigned", str(tmp_path / "nothing")).exception, WrongUsage)


def test_prove(acme: Acme) -> None:
    """Both proofs have the members of the protocol, and hold."""
    for count in (4, 300):
        acme.append(count)
        said("checkpoint")
    proof = json.loads(said("prove", "inclusion", "--entry", "0:17", "--json"))
    assert list(proof) == ["index", "tree_size", "hashes", "leaf", "checkpoint"]
    checkpoint = signed_checkpoint(proof["checkpoint"].encode(), open_keys(acme.keys).verifier)
    hashes = [bytes.fromhex(one) for one in proof["hashes"]]
    leaf = base64.b64decode(proof["leaf"])
    assert (proof["index"], proof["tree_size"], len(leaf)) == (18, 305, 64)
    verify_inclusion(leaf_hash(leaf), 18, 305, hashes, checkpoint.root)
    assert said("prove", "inclusion", "--entry", "0:17").endswith(f"\n\n{proof['checkpoint']}")
    proof = json.loads(said("prove", "consistency", "--partition", "0", "--from", "5", "--json"))
    assert list(proof) == ["old_size", "new_size", "hashes", "old_checkpoint", "new_checkpoint"]
    old = signed_checkpoint(proof["old_checkpoint"].encode(), open_keys(acme.keys).verifier)
    hashes = [bytes.fromhex(one) for one in proof["hashes"]]
    verify_consistency(5, 305, hashes, old.root, checkpoint.root)
    assert proof["hashes"][0] in said("prove", "consistency", "--partition", "0", "--from", "5")


@pytest.mark.parametrize(
    ("command", "kind", "message"),
    [
        (["inclusion", "--entry", "0:4"], NotFound, "the newest ends before 0:4. Sign what is there now"),
        (["inclusion", "--entry", "x"], WrongUsage, "such as 0:17"),
        (["inclusion", "--entry", "0:-1"], WrongUsage, "such as 0:17"),
        (["inclusion", "--entry", "1:0"], WrongUsage, "no partition 1"),
        (["consistency", "--partition", "0", "--from", "3"], NotFound, "The nearest are of: 5."),
        (["consistency", "--partition", "0", "--from", "9" * 25], NotFound, "The nearest are of: 5."),
        (["consistency", "--partition", "1", "--from", "3"], WrongUsage, "no partition 1"),
    ],
)
def test_what_can_not_be_proven(acme: Acme, command: list[str], kind: type[Exception], message: str) -> None:
    """It is said with what can be done."""
    acme.append(4)
    said("checkpoint")
    acme.append(1)
    failed = run("prove", *command, "--json").exception
    assert isinstance(failed, kind)
    assert message in str(failed)


def test_nothing_is_proven_before_it_is_signed(acme: Acme) -> None:
    """Without a checkpoint the command that makes one is named, and there is no published one."""
    failed = run("prove", "inclusion", "--entry", "0:0").exception
    assert isinstance(failed, NotFound)
    assert "pauseledger checkpoint" in str(failed)
    assert latest(Settings.read(), 0) is None


def test_damaged_tiles_prove_nothing(acme: Acme) -> None:
    """A proof that would not verify is never given."""
    acme.append(300)
    said("checkpoint")
    path = acme.tiles / "acme/log/0/tile/1/000.p/1"
    path.write_bytes(bytes(32))
    failed = run("prove", "inclusion", "--entry", "0:299").exception
    assert isinstance(failed, UnusableLog)
    assert "--recheck" in str(failed)


def test_without_keys_it_is_said_how_to_make_them(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Before anything is opened or made."""
    monkeypatch.chdir(tmp_path)
    failed = run("checkpoint").exception
    assert isinstance(failed, WrongUsage)
    assert "pauseledger keys new NAME" in str(failed)
    assert list(tmp_path.iterdir()) == []


def test_the_doctor_looks_at_evidence(acme: Acme) -> None:
    """What is signed, up to where, and whether all of it agrees; it says what to do, and changes nothing."""
    acme.append(3)
    acme.keys.rename(acme.keys.with_suffix(".away"))
    assert "No notary's key: nothing is signed." in run("doctor").stdout
    acme.keys.with_suffix(".away").rename(acme.keys)

    def told() -> list[tuple[str, str]]:
        found = json.loads(run("doctor", "--json").stdout)
        return [(one["level"], one["finding"]) for one in found if one["check"] == "evidence"]

    assert told()[1] == ("warning", "Nothing was signed yet.")
    said("checkpoint")
    acme.append(1)
    files = {path: path.read_bytes() for path in acme.tiles.rglob("*") if path.is_file()}
    (key, tree) = told()
    assert key == ("ok", f"The notary's key in {acme.keys} is {open_keys(acme.keys).verifier}.")
    assert tree[0] == "ok"
    assert tree[1].startswith("Partition 0 is signed up to 3 of 4 offsets, ")
    assert re.search(r", to an entry of \S+Z, \d+ s ago; log, journal, tiles in \S+ and what is published", tree[1])
    assert {path: path.read_bytes() for path in acme.tiles.rglob("*") if path.is_file()} == files
    acme.change_log("UPDATE log_records SET value = x'00' WHERE offset = 2")
    assert told()[1][0] == "problem"
    assert "Entry 0:2 was signed" in told()[1][1]
    (acme.keys / "tag.key").chmod(0o644)
    assert told() == [("problem", f"{acme.keys / 'tag.key'} may be read by others: it is secret.")]
