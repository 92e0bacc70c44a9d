"""After a rotation of the key: what stands is signed again, and bundles hold by any key that signed them."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import pytest

from consumers.evidence import job as job_module
from consumers.evidence.job import NotaryJob
from consumers.evidence.keys import NOTARY_KEY, PUBLIC_KEY, TAG_KEY, open_keys, rotate_keys
from ledger.errors import NotFound, WrongUsage
from ledger.evidence.notes import VerifierKey
from ledger.evidence.signatures import Signer, signed_checkpoint
from tests.consumers.evidence.acme import Acme
from tests.consumers.evidence.test_commands import run, said
from tests.consumers.evidence.test_job import Time


@pytest.fixture
def acme(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Acme:
    acme = Acme(tmp_path)
    monkeypatch.setenv("PAUSELEDGER_LOG", f"sqlite:///{acme.log_path}")
    monkeypatch.setenv("PAUSELEDGER_KEYS", str(acme.keys))
    monkeypatch.setenv("PAUSELEDGER_TILES", str(acme.tiles))
    acme.append(3)
    acme.checkpoint()
    return acme


def verified(bundle: Path, *keys: str, since: Path | None = None) -> dict[str, Any]:
    given = [one for key in keys for one in ("--key", key)]
    done = run("verify", str(bundle), *given, *([] if since is None else ["--since", str(since)]), "--json")
    found: dict[str, Any] = json.loads(done.stdout)
    assert done.exit_code == (0 if found["ok"] else 1)
    return found


def published_for(acme: Acme, key: VerifierKey) -> int:
    data = acme.store.read("checkpoint")
    assert data is not None
    return signed_checkpoint(data, key).size


def test_an_archived_bundle_holds_by_its_own_key(acme: Acme) -> None:
    """The newest key first, as it is prescribed; and what a later checkpoint shows of it is not hidden."""
    old = said("keys", "show").strip()
    archived = acme.folder / "all.zip"
    said("export", "--all", "--out", str(archived))
    new = said("keys", "rotate").strip()
    for keys in ((new, old), (old, new)):
        assert verified(archived, *keys)["ok"]
    assert verified(archived, new)["failures"][0]["kind"] == "forged"
    acme.append(1)
    since = acme.folder / "since"
    since.write_text(said("checkpoint"))
    for keys in ((new, old), (old, new)):
        assert [one["kind"] for one in verified(archived, *keys, since=since)["failures"]] == ["rolled-back"]


def test_what_was_signed_again_holds_by_either_key(acme: Acme) -> None:
    """Both signatures are on it, so whoever has only the old key is not sent away."""
    old = said("keys", "show").strip()
    told = run("keys", "rotate")
    new = told.stdout.strip()
    assert "pauseledger checkpoint" in told.stderr
    assert PUBLIC_KEY in told.stderr
    early = run("export", "--all", "--out", str(acme.folder / "early")).exception
    assert isinstance(early, NotFound)
    said("checkpoint")
    bundle = acme.folder / "bundle"
    said("export", "--all", "--out", str(bundle))
    for keys in ((new,), (old,), (new, old)):
        assert verified(bundle, *keys)["ok"], keys


def test_an_idle_notary_signs_what_stands_again(acme: Acme, monkeypatch: pytest.MonkeyPatch) -> None:
    """On a quiet ledger nothing else would: the published checkpoint has the new key's signature beside the old one."""
    clock = Time()
    monkeypatch.setattr(job_module, "time", clock)
    monkeypatch.setattr(job_module, "_WAIT_SECONDS", 0.0)
    old = open_keys(acme.keys).verifier
    job = NotaryJob(acme.notary(), entries=100, seconds=30)
    job.take({0})
    job.step()
    new = rotate_keys(acme.keys).verifier
    clock.now = 10
    job.step()
    assert published_for(acme, new) == published_for(acme, old) == 4
    note = acme.store.read("checkpoint")
    clock.now = 20
    job.step()
    assert acme.store.read("checkpoint") == note
    job.close()
    assert len(acme.signed()) == 1


def test_what_the_journal_has_and_nobody_sees_is_published_by_an_idle_notary(
    acme: Acme, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Another process was killed between journal and publishing: the running one ends it."""
    clock = Time()
    monkeypatch.setattr(job_module, "time", clock)
    monkeypatch.setattr(job_module, "_WAIT_SECONDS", 0.0)
    job = NotaryJob(acme.notary(), entries=100, seconds=30)
    job.take({0})
    job.step()
    keys = rotate_keys(acme.keys)
    with acme.notary() as killed:
        (signed,) = acme.signed()
        killed.journal.add_signatures(signed.checkpoint, [keys.signer.sign(signed.note.text)], first=True)
    clock.now = 10
    job.step()
    assert published_for(acme, keys.verifier) == 4
    job.close()


@pytest.fixture
def exporter(acme: Acme, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The folder of an account that exports and can't sign."""
    folder = acme.folder / "exporter"
    folder.mkdir(mode=0o700)
    (folder / PUBLIC_KEY).write_text(said("keys", "show"))
    shutil.copy(acme.keys / TAG_KEY, folder)
    monkeypatch.setenv("PAUSELEDGER_KEYS", str(folder))
    return folder


def test_an_exporter_shows_and_proves(acme: Acme, exporter: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """With the public key and that of the tags: the same as the notary, and nothing is written into its folder."""
    proof, key = said("prove", "inclusion", "--entry", "0:1", "--json"), said("keys", "show", "--json")
    assert sorted(one.name for one in exporter.iterdir()) == [PUBLIC_KEY, TAG_KEY]
    for given in (["checkpoint"], ["keys", "rotate"], ["prove", "consistency", "--partition", "0", "--from", "4"]):
        failed = run(*given).exception
        assert isinstance(failed, WrongUsage), given
        assert "is an exporter's" in str(failed)
        assert "keys new" not in str(failed)
    assert isinstance(run("keys", "show", "--rotations").exception, WrongUsage)
    monkeypatch.setenv("PAUSELEDGER_KEYS", str(acme.keys))
    assert said("prove", "inclusion", "--entry", "0:1", "--json") == proof
    assert said("keys", "show", "--json") == key


def test_an_exporter_proves_nothing_by_another_key(exporter: Path) -> None:
    """A checkpoint that its public key did not sign, and an entry or a partition that is not there, are refused."""
    for entry, kind in (("0:3", NotFound), ("1:0", WrongUsage)):
        assert isinstance(run("prove", "inclusion", "--entry", entry).exception, kind)
    (exporter / PUBLIC_KEY).write_text(f"{Signer('acme', bytes(32)).verifier}\n")
    failed = run("prove", "inclusion", "--entry", "0:1").exception
    assert isinstance(failed, NotFound)
    assert PUBLIC_KEY in str(failed)


def test_no_second_ledger_gets_an_exporters_tag_key(exporter: Path) -> None:
    """`keys new` makes nothing where a public key lies, or a tag key that it did not make itself."""
    for _ in range(2):
        failed = run("keys", "new", "other").exception
        assert isinstance(failed, WrongUsage)
        assert "PAUSELEDGER_KEYS" in str(failed)
        assert not (exporter / NOTARY_KEY).exists()
        (exporter / PUBLIC_KEY).unlink(missing_ok=True)
    assert [one.name for one in exporter.iterdir()] == [TAG_KEY]
