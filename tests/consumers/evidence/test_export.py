"""Export and verify on the command line: what is written, what is refused, and that nothing half is ever left."""

from __future__ import annotations

import json
import os
import shutil
import signal
import sqlite3
from collections.abc import Callable
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner, Result

from consumers.cli.app import app
from consumers.evidence import export as export_module
from consumers.evidence.keys import open_keys
from consumers.evidence.notary import open_notary
from consumers.evidence.witnesses import add_cosignatures
from consumers.settings import Settings
from ledger.cloudevents import STRUCTURED_HEADERS
from ledger.errors import DiskFailed, LedgerError, LogChanged, NotFound, WrongUsage
from ledger.evidence import verify as verify_module
from ledger.log import Draft
from ledger.logs.sqlite import SqliteLog
from tests.consumers.evidence.test_witnesses import Witness
from tests.ledger.evidence.forging import read, touched
from tests.ledger.evidence.ledgers import ODD, SUBJECTS, event, life


class Ledger:
    """A ledger in a folder, with its notary."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.log = folder / "log.db"
        done("keys", "new", "acme.example/audit")
        lines = [(name, line) for step in range(8) for name in SUBJECTS for line in life(name)[step : step + 1]]
        self.put([Draft(0, name.encode(), line, STRUCTURED_HEADERS) for name, line in lines])
        self.put([Draft(0, key, value, headers) for key, value, headers in ODD])

    def put(self, drafts: list[Draft]) -> None:
        with closing(SqliteLog(self.log)) as log:
            log.append(drafts)

    def note(self, subject: str, text: str) -> None:
        """One more entry."""
        line = event(subject, "note.added", f"more-{text}", text=text)
        self.put([Draft(0, subject.encode(), line, STRUCTURED_HEADERS)])

    @property
    def vkey(self) -> str:
        return str(open_keys(self.folder / "keys").verifier)

    def export(self, *given: str, name: str = "bundle") -> Path:
        out = self.folder / name
        done("export", *given, "--out", str(out))
        return out

    def verify(self, bundle: Path, *given: str) -> dict[str, Any]:
        """What ``verify`` says, with its exit code."""
        result = run("verify", str(bundle), "--key", self.vkey, "--json", *given)
        content: dict[str, Any] = json.loads(result.stdout)
        assert content.keys() == {"ok", "entries", "work_items", "proven", "not_proven", "failures"}
        return content | {"code": result.exit_code}


def run(*given: str) -> Result:
    return CliRunner().invoke(app, list(given))


def done(*given: str) -> str:
    result = run(*given)
    assert result.exit_code == 0, (result.output, result.exception)
    return result.stdout


@pytest.fixture
def acme(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Ledger:
    monkeypatch.setenv("PAUSELEDGER_LOG", f"sqlite:///{tmp_path}/log.db")
    monkeypatch.setenv("PAUSELEDGER_KEYS", str(tmp_path / "keys"))
    monkeypatch.setenv("PAUSELEDGER_TILES", str(tmp_path / "tiles"))
    return Ledger(tmp_path)


@pytest.fixture
def signed(acme: Ledger) -> Ledger:
    done("checkpoint")
    return acme


QUERIES = {
    "one": ["--subject", "T-1"],
    "two": ["--subject", "T-1", "--subject", "Tø-4", "--csv", "--ocsf"],
    "all": ["--all"],
    "a partition": ["--all", "--partition", "0"],
    "owner": ["--owner", "user:ann"],
    "verdict": ["--verdict", "no-authority"],
    "time": ["--active-from", "2020-01-01T00:00:00Z", "--active-to", "2999-01-01T00:00:00+02:00"],
    "until": ["--subject", "T-2", "--until", "2020-01-01T00:00:00Z"],
}


@pytest.mark.parametrize("name", QUERIES)
@pytest.mark.parametrize("out", ["bundle", "bundle.zip"])
def test_what_is_exported_verifies(name: str, out: str, signed: Ledger) -> None:
    """Each query gives a bundle that holds, the manifest on stdout, and the same bytes when it is asked again."""
    given = QUERIES[name]
    manifest = json.loads(done("export", *given, "--out", str(signed.folder / out), "--json"))
    found = signed.verify(signed.folder / out)
    assert (found["ok"], found["code"], found["failures"]) == (True, 0, [])
    assert (found["entries"], found["work_items"]) == (manifest["counts"]["entries"], manifest["counts"]["work_items"])
    signed.note("T-1", "what comes later is not under the checkpoint")
    again = signed.export(*given, name=f"again-{out}")
    first = signed.folder / out
    assert not first.stat().st_mode & 0o077, "a bundle has the tag key in it: it is its owner's alone"
    if first.is_dir():
        assert read(first) == read(again)
        assert json.loads((first / "manifest.json").read_bytes()) == manifest
    else:
        assert first.read_bytes() == again.read_bytes()


def test_parquet_is_listed_and_not_proven(signed: Ledger) -> None:
    """The tables for analysis are in the manifest, and the verifier says that it does not make them again."""
    pytest.importorskip("pyarrow")
    bundle = signed.export("--all", "--parquet")
    assert (bundle / "parquet" / "entries.parquet").read_bytes()[:4] == b"PAR1"
    found = signed.verify(bundle)
    assert found["ok"]
    assert any("Parquet" in one for one in found["not_proven"])


def test_the_embedded_log_is_proven_in_full(signed: Ledger) -> None:
    """All records of the log are in an export of all, and nothing of the choice is left unproven."""
    found = signed.verify(signed.export("--all"))
    assert found["entries"] == 8 * len(SUBJECTS) + len(ODD)
    assert found["work_items"] == len(SUBJECTS)
    assert not any("exporter" in one or "left out" in one for one in found["not_proven"])


WRONG: dict[str, list[str]] = {
    "nothing asked": [],
    "all and some": ["--all", "--subject", "T-1"],
    "some and chosen": ["--subject", "T-1", "--owner", "user:ann"],
    "a partition of some": ["--subject", "T-1", "--partition", "0"],
    "no such partition": ["--all", "--partition", "7"],
    "no such verdict": ["--verdict", "nice"],
    "no time": ["--all", "--until", "yesterday"],
    "an empty name": ["--subject", ""],
    "a long name": ["--subject", "x" * 257],
    "an empty owner": ["--owner", ""],
}


@pytest.mark.parametrize("name", WRONG)
def test_what_can_not_be_meant_is_wrong_usage(name: str, signed: Ledger) -> None:
    """A query that asks for nothing, for two things, or for what can't be is refused, and nothing is written."""
    before = sorted(signed.folder.iterdir())
    result = run("export", *WRONG[name], "--out", str(signed.folder / "bundle"))
    assert isinstance(result.exception, WrongUsage)
    assert sorted(signed.folder.iterdir()) == before


@pytest.mark.parametrize("out", ["bundle", "bundle.zip"])
def test_nothing_is_written_over(out: str, signed: Ledger) -> None:
    """A file, a folder, even an empty one or a link that leads nowhere, stays as it is."""
    place = signed.folder / out
    makers: list[Callable[[], object]] = [
        place.mkdir, lambda: place.write_bytes(b"mine"), lambda: place.symlink_to("nowhere"),
    ]  # fmt: skip
    for make in makers:
        make()
        before = place.lstat().st_ino, place.lstat().st_mtime_ns, place.lstat().st_size
        result = run("export", "--all", "--out", str(place))
        assert isinstance(result.exception, WrongUsage)
        assert "is there already" in str(result.exception)
        assert (place.lstat().st_ino, place.lstat().st_mtime_ns, place.lstat().st_size) == before
        place.rmdir() if place.is_dir() else place.unlink()


def test_where_there_is_no_folder_nothing_is_made(signed: Ledger) -> None:
    """The folder around the bundle must be there."""
    result = run("export", "--all", "--out", str(signed.folder / "none" / "bundle"))
    assert isinstance(result.exception, WrongUsage)
    assert "There is no folder" in str(result.exception)


def test_without_a_checkpoint_there_is_no_bundle(acme: Ledger) -> None:
    """What is missing is named, with the command that makes it."""
    result = run("export", "--all", "--out", str(acme.folder / "bundle"))
    assert isinstance(result.exception, NotFound)
    assert "pauseledger checkpoint" in str(result.exception)


def test_without_keys_there_is_no_bundle(acme: Ledger) -> None:
    """And without keys it is said how to make some."""
    shutil.rmtree(acme.folder / "keys")
    result = run("export", "--all", "--out", str(acme.folder / "bundle"))
    assert isinstance(result.exception, WrongUsage)
    assert "pauseledger keys new" in str(result.exception)


def test_a_query_that_nothing_matches_says_so(signed: Ledger) -> None:
    """No empty bundle is made of a choice that chose nothing."""
    result = run("export", "--owner", "user:nobody", "--out", str(signed.folder / "bundle"))
    assert isinstance(result.exception, NotFound)
    assert not (signed.folder / "bundle").exists()


def test_a_changed_log_is_not_exported(signed: Ledger) -> None:
    """Somebody changed the log behind the notary's back: no bundle is made that could not hold."""
    with closing(sqlite3.connect(signed.log)) as connection, connection:
        connection.execute("UPDATE log_records SET value = ? WHERE offset = 3", (b"{}",))
    for given in (["--all"], ["--subject", "T-1"]):
        result = run("export", *given, "--out", str(signed.folder / "bundle"))
        assert isinstance(result.exception, LogChanged)
    with closing(sqlite3.connect(signed.log)) as connection, connection:
        connection.execute("DELETE FROM log_records WHERE offset > 3")
    result = run("export", "--all", "--out", str(signed.folder / "bundle"))
    assert isinstance(result.exception, LogChanged)
    assert not [one.name for one in signed.folder.iterdir() if "bundle" in one.name]


@pytest.mark.parametrize("out", ["bundle", "bundle.zip"])
@pytest.mark.parametrize("step", ["write_bundle", "write_zip", "_sync", "_put_in_place"])
def test_a_failing_disk_leaves_nothing(step: str, out: str, signed: Ledger, monkeypatch: pytest.MonkeyPatch) -> None:
    """Whatever fails on the way, it is said in a line, and neither a bundle nor a part of one is left."""
    if step == "write_zip" and out == "bundle":
        return

    def fail(*_: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(export_module, step, fail)
    result = run("export", "--all", "--out", str(signed.folder / out))
    assert isinstance(result.exception, DiskFailed)
    assert not [one.name for one in signed.folder.iterdir() if "bundle" in one.name]


@pytest.mark.parametrize("out", ["bundle", "bundle.zip"])
@pytest.mark.parametrize("step", ["_put_in_place", "_sync", "in_order"])
def test_a_killed_export_leaves_no_bundle(step: str, out: str, signed: Ledger, monkeypatch: pytest.MonkeyPatch) -> None:
    """Killed at any moment before the last, nothing lies under the name, and the next export makes it."""
    child = os.fork()
    if child == 0:
        monkeypatch.setattr(export_module, step, lambda *_: os.kill(os.getpid(), signal.SIGKILL))
        run("export", "--all", "--out", str(signed.folder / out))
        os._exit(0)
    _, status = os.waitpid(child, 0)
    assert os.waitstatus_to_exitcode(status) == -signal.SIGKILL
    assert not (signed.folder / out).exists()
    assert signed.verify(signed.export("--all", name=out))["ok"]


def test_an_exporter_needs_no_private_key(signed: Ledger, monkeypatch: pytest.MonkeyPatch) -> None:
    """Under an account with the public key and that of the tags it makes the same bundle, and can sign nothing."""
    own = signed.folder / "exporters-keys"
    own.mkdir()
    whole = signed.export("--all", name="by-the-notary")
    key = signed.vkey
    monkeypatch.setenv("PAUSELEDGER_KEYS", str(own))
    assert isinstance(run("export", "--all", "--out", str(signed.folder / "none")).exception, WrongUsage)
    (own / "notary.vkey").write_text(f"{key}\n")
    assert isinstance(run("export", "--all", "--out", str(signed.folder / "none")).exception, LedgerError)
    shutil.copy(signed.folder / "keys" / "tag.key", own)
    assert read(signed.export("--all", name="by-itself")) == read(whole)
    assert isinstance(run("checkpoint").exception, WrongUsage)
    (own / "notary.vkey").write_text("no key\n")
    assert isinstance(run("export", "--all", "--out", str(signed.folder / "none")).exception, WrongUsage)
    assert sorted(one.name for one in own.iterdir()) == ["notary.vkey", "tag.key"]


def test_a_witness_that_is_named_must_have_cosigned(signed: Ledger) -> None:
    """Its line is kept in the bundle; it holds, or the bundle is refused, and its time is said."""
    one, other = Witness("witness.example/w1"), Witness("witness.example/w2")
    (signed.folder / "keys" / "witnesses").write_text(f"{one.key}\n{other.key}\n")
    with open_notary(Settings.read()) as notary:
        add_cosignatures(notary, str(one.line(notary.checkpoint(0).note.text)).encode())
    bundle = signed.export("--subject", "T-1")
    found = signed.verify(bundle, "--witness", str(one.key))
    assert found["ok"]
    assert any("witness.example/w1 saw" in said and "2026-09-21T" in said for said in found["proven"])
    assert signed.verify(bundle)["ok"]
    found = signed.verify(bundle, "--witness", str(one.key), "--witness", str(other.key))
    assert (found["code"], [each["kind"] for each in found["failures"]]) == (1, ["forged"])
    note = (bundle / "checkpoint-0").read_text()
    line = note.splitlines()[-1].split(" ")[-1]
    other_letter = "A" if line[40] != "A" else "B"
    (bundle / "checkpoint-0").write_text(note.replace(line, line[:40] + other_letter + line[41:]))
    found = signed.verify(bundle, "--witness", str(one.key))
    assert found["failures"][0]["kind"] == "forged"


def test_rotated_keys(signed: Ledger) -> None:
    """After a rotation the next checkpoint is signed anew; what was signed before is found with the older key."""
    old = signed.vkey
    earlier = signed.folder / "earlier"
    shutil.copy(next((signed.folder / "tiles").rglob("checkpoint")), earlier)
    done("keys", "rotate")
    result = run("export", "--all", "--out", str(signed.folder / "early"))
    assert isinstance(result.exception, NotFound)
    assert "pauseledger checkpoint" in str(result.exception)
    signed.note("T-1", "after the rotation")
    done("checkpoint")
    bundle = signed.export("--all")
    assert signed.verify(bundle)["ok"]
    assert signed.verify(bundle, "--key", old, "--since", str(earlier))["ok"]
    result = run("verify", str(bundle), "--key", signed.vkey, "--since", str(earlier))
    assert isinstance(result.exception, WrongUsage)
    assert run("verify", str(bundle), "--key", old).exit_code == 1


def test_since_finds_what_was_rolled_back(signed: Ledger) -> None:
    """A bundle under an older checkpoint holds by itself, and not beside a newer one."""
    bundle = signed.export("--subject", "T-1", name="old.zip")
    signed.note("T-1", "this is what they withhold")
    done("checkpoint")
    newest = next((signed.folder / "tiles").rglob("checkpoint"))
    assert signed.verify(bundle)["ok"]
    found = signed.verify(bundle, "--since", str(newest))
    assert (found["ok"], found["code"]) == (False, 1)
    assert [one["kind"] for one in found["failures"]] == ["rolled-back"]


def test_what_verify_tells_people(signed: Ledger) -> None:
    """It says what is proven and what is not; of a refused bundle what is wrong, and where."""
    bundle = signed.export("--subject", "T-1")
    told = done("verify", str(bundle), "--key", signed.vkey)
    assert told.startswith(f"{bundle} holds.\nProven:\n")
    assert "\nNot proven:\n" in told
    assert "Every entry of 'T-1' under the checkpoints is here: 11 records" in told
    entries = bundle / "entries.jsonl"
    entries.write_bytes(entries.read_bytes().replace(b"an annotation", b"no annotation"))
    result = run("verify", str(bundle), "--key", signed.vkey)
    assert result.exit_code == 1
    assert f"{bundle} is REFUSED: changed. The first entry at fault is 0:20.\n" in result.stdout
    assert "proves nothing" in result.stdout


def test_the_key_may_lie_in_a_file_but_not_in_the_bundle(signed: Ledger) -> None:
    """A key that comes with the bundle proves nothing, so it is no answer to the question which key."""
    bundle = signed.export("--all")
    (signed.folder / "vkey").write_text(signed.vkey + "\n")
    assert run("verify", str(bundle), "--key", str(signed.folder / "vkey")).exit_code == 0
    for given in (str(bundle / "key.txt"), str(signed.folder / "none"), "acme+00000000+AAAA", str(bundle), ""):
        before = touched(bundle)
        result = run("verify", str(bundle), "--key", given)
        assert isinstance(result.exception, WrongUsage), given
        assert touched(bundle) == before


def test_wrong_usage_of_verify(signed: Ledger) -> None:
    """No bundle there, or no checkpoint where one is named: that is no refusal, but wrong usage."""
    bundle, key = signed.export("--all"), signed.vkey
    checkpoint = bundle / "checkpoint-0"
    cases = [
        ["verify", str(signed.folder / "none"), "--key", key],
        ["verify", str(bundle), "--key", key, "--since", str(signed.folder / "none")],
        ["verify", str(bundle), "--key", key, "--since", str(bundle / "leaves-0")],
        ["verify", str(bundle), "--key", key, "--since", str(bundle / "README.txt")],
        ["verify", str(bundle), "--key", key, "--since", str(checkpoint), "--since", str(checkpoint)],
    ]
    for given in cases:
        result = run(*given)
        assert isinstance(result.exception, WrongUsage), given
        assert result.exception.exit_code == 2


def test_a_verifier_that_fails_refuses(signed: Ledger, monkeypatch: pytest.MonkeyPatch) -> None:
    """Should the verifier itself have a fault, what it looked at is not taken for sound."""
    bundle = signed.export("--all")

    def fail(*_: object) -> None:
        raise RecursionError("deep")

    monkeypatch.setattr(verify_module, "verify", fail)
    found = signed.verify(bundle)
    assert (found["ok"], found["code"], found["failures"][0]["kind"]) == (False, 1, "malformed")


def test_errors_are_a_line_with_an_exit_code(signed: Ledger) -> None:
    """Each error is one of the ledger's, so that the command line prints it in a line."""
    result = run("export", "--all", "--out", "/proc/none")
    assert isinstance(result.exception, LedgerError)


def test_each_partition_needs_its_own_checkpoint_only(signed: Ledger) -> None:
    """The notary's trees and the exporter's are the same."""
    with open_notary(Settings.read()) as notary:
        size = notary.checkpoint(0).checkpoint.size
    manifest = json.loads((signed.export("--all") / "manifest.json").read_bytes())
    assert manifest["partitions"][0]["size"] == size
