"""What people are told who did something slightly wrong with evidence: what it was, and the way on."""

from __future__ import annotations

import json
import os
import sqlite3
import stat
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest

from consumers.evidence.keys import WITNESSES
from ledger.errors import LogChanged, WrongUsage
from ledger.evidence.bundle import written_instant
from ledger.evidence.notes import Note, read_note
from tests.consumers.evidence.test_export import Ledger, done, run
from tests.consumers.evidence.test_witnesses import Witness
from tests.ledger.evidence import forging


@pytest.fixture
def signed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Ledger:
    monkeypatch.setenv("PAUSELEDGER_LOG", f"sqlite:///{tmp_path}/log.db")
    monkeypatch.setenv("PAUSELEDGER_KEYS", str(tmp_path / "keys"))
    monkeypatch.setenv("PAUSELEDGER_TILES", str(tmp_path / "tiles"))
    ledger = Ledger(tmp_path)
    done("checkpoint")
    return ledger


@pytest.fixture
def open_umask() -> Iterator[None]:
    before = os.umask(0)
    yield
    os.umask(before)


@pytest.mark.usefixtures("open_umask")
@pytest.mark.parametrize("out", ["bundle", "bundle.zip"])
def test_a_bundle_is_its_owners_alone(out: str, signed: Ledger) -> None:
    """Whatever the umask, for the tag key is in it: folders 0700, files 0600."""
    bundle = signed.export("--all", "--csv", "--ocsf", name=out)
    modes = {stat.S_IMODE(one.stat().st_mode) for one in (bundle, *bundle.rglob("*")) if not one.is_dir()}
    folders = {stat.S_IMODE(one.stat().st_mode) for one in (bundle, *bundle.rglob("*")) if one.is_dir()}
    assert modes == {0o600}
    assert folders == ({0o700} if out == "bundle" else set())


def test_a_changed_log_is_to_be_looked_through(signed: Ledger) -> None:
    """An export can't say which entry was changed, but the command that does."""
    with closing(sqlite3.connect(signed.log)) as connection, connection:
        connection.execute("UPDATE log_records SET value = ? WHERE offset = 3", (b"{}",))
    failed = run("export", "--all", "--out", str(signed.folder / "bundle")).exception
    assert isinstance(failed, LogChanged)
    assert str(failed).endswith("Find the entry: pauseledger checkpoint --recheck")
    found = run("checkpoint", "--recheck").exception
    assert "entry 0:3 is" in str(found)


def test_a_key_that_is_none(signed: Ledger) -> None:
    """An empty one, as of a command that printed nothing, and the note of a rotation are said to be what they are."""
    bundle = signed.export("--all")
    note = signed.folder / "note"
    done("keys", "rotate")
    note.write_text(done("keys", "show", "--rotations"))
    for given, said in (
        ("", "--key is empty: give NAME+ID+KEY."),
        (" \n", "--key is empty: give NAME+ID+KEY."),
        (str(note), f"--key {note} is a rotation note. Give the key in its line 3, NAME+ID+KEY."),
    ):
        failed = run("verify", str(bundle), "--key", given).exception
        assert isinstance(failed, WrongUsage)
        assert str(failed) == said
    assert note.read_text().splitlines()[2] == signed.vkey


def test_an_earlier_checkpoint_of_another_ledger(signed: Ledger, tmp_path: Path) -> None:
    """Its key may be given, too, but it signs for its own ledger only."""
    bundle = signed.export("--all")
    from consumers.evidence.keys import new_keys

    other = new_keys(tmp_path / "other", "other.example")
    text = read_note((bundle / "checkpoint-0").read_bytes()).text
    forged = tmp_path / "forged"
    forged.write_text(str(Note(text, (other.signer.sign(text),))))
    given = ["--key", signed.vkey, "--key", str(other.verifier), "--since", str(forged)]
    failed = run("verify", str(bundle), *given).exception
    assert isinstance(failed, WrongUsage)
    assert "the key is that of other.example" in str(failed)


def test_each_mistake_with_a_cosignature_has_its_own_words(signed: Ledger) -> None:
    """No note and no lines; a witness that nobody knows; a line of another checkpoint; and each says the way on."""
    known, stranger = Witness("witness.example/w1"), Witness("stranger.example")
    file = signed.folder / "cosigned"
    text = read_note(done("checkpoint").encode()).text
    older = text.replace("\n", "\n1", 1)

    def said(content: str) -> str:
        file.write_text(content)
        failed = run("checkpoint", "--cosigned", str(file)).exception
        assert isinstance(failed, WrongUsage)
        return str(failed)

    assert "whose key is known: they are by witness.example/w1 (" in said(str(known.line(text)))
    (signed.folder / "keys" / WITNESSES).write_text(f"{known.key}\n")
    for nothing in ("", "thanks", text, str(known.line(text)).strip()):
        assert "neither a signed note nor signature lines" in said(nothing)
        assert "Give the whole note that the witness returned" in said(nothing)
    for strange in (str(stranger.line(text)), str(Note(text, (stranger.line(text),)))):
        assert "whose key is known: they are by stranger.example (" in said(strange)
        assert "`witnesses`" in said(strange)
    assert "they are of another one. Give the whole note" in said(str(known.line(older)))
    assert "it is of another one, or changed" in said(str(Note(text, (known.line(older),))))
    assert "was not signed here" in said(str(Note(older, (known.line(older),))))
    file.write_text(str(known.line(text)))
    assert "Cosigned by witness.example/w1" in run("checkpoint", "--cosigned", str(file)).stderr


def test_later_records_are_counted_by_themselves(signed: Ledger) -> None:
    """Under an instant the record behind it is told from those that are judged, by the exporter and the verifier."""
    with closing(sqlite3.connect(signed.log)) as connection, connection:
        times = [one[0] for one in connection.execute("SELECT recorded_at FROM log_records ORDER BY offset")]
    before = written_instant(times[0] - 1)
    out = signed.folder / "until"
    told = done("export", "--subject", "T-2", "--until", before, "--out", str(out))
    assert told.startswith(f"{out}: 1 record, of which 1 later, not judged, of 0 work items; 0 verdicts")
    proven = signed.verify(out)["proven"]
    assert any(
        f"up to {before}, is here: 1 record, of which 1 later, not judged, none withheld" in one for one in proven
    )
    all_of_it = done("export", "--subject", "T-2", "--out", str(signed.folder / "all"))
    assert "not judged" not in all_of_it


def test_a_newer_rendering_is_named(signed: Ledger) -> None:
    """A bundle of a newer version is refused by what isn't known of it."""
    bundle = signed.export("--all")
    files = forging.read(bundle)
    manifest = json.loads(files["manifest.json"])
    manifest["versions"]["rendering"] = 2
    forging.write(forging.with_manifest(files, manifest), bundle)
    (failure,) = signed.verify(bundle)["failures"]
    assert failure["kind"] == "malformed"
    assert "rendering 2, which this pauseledger doesn't know: upgrade" in failure["detail"]
