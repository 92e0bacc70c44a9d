"""Exports and proofs of a ledger with sealed members: they hold before a key is destroyed, and after."""

from __future__ import annotations

import json
import zipfile
from pathlib import Path

from tests.consumers.personal.test_forgetting import PLAIN, command, everything, forgotten, story


def contents_of(bundle: Path) -> dict[str, bytes]:
    with zipfile.ZipFile(bundle) as archive:
        return {name: archive.read(name) for name in archive.namelist()}


def verdicts_of(bundle: Path) -> list[dict[str, object]]:
    return [json.loads(line) for line in contents_of(bundle)["verdicts.jsonl"].splitlines()]


def test_bundles_verify_before_and_after_a_key_is_destroyed(tmp_path: Path) -> None:
    """The same key verifies both, the second is an extension of the first, its verdicts are the same and more."""
    assert command(tmp_path, "publish", stdin=story()).code == 0
    vkey = command(tmp_path, "keys", "new", "acme", "--json").json["vkey"]
    (signed,) = command(tmp_path, "checkpoint", "--json").json
    (tmp_path / "first.checkpoint").write_text(signed["checkpoint"])
    before, after = tmp_path / "before.zip", tmp_path / "after.zip"
    assert command(tmp_path, "export", "--all", "--out", str(before)).code == 0
    assert forgotten(tmp_path).code == 0
    assert command(tmp_path, "checkpoint").code == 0
    assert command(tmp_path, "export", "--all", "--csv", "--ocsf", "--out", str(after)).code == 0
    for bundle in (before, after):
        found = command(tmp_path, "verify", str(bundle), "--key", vkey, "--since", "first.checkpoint", "--json")
        assert (found.code, found.json["ok"], found.json["failures"]) == (0, True, [])
    assert verdicts_of(after)[: len(verdicts_of(before))] == verdicts_of(before)
    assert len(verdicts_of(after)) == len(verdicts_of(before)) + 2
    for bundle in (before, after):
        raw = b"".join(contents_of(bundle).values())
        assert b"sealed:v1:" in raw
        assert not [word for word in PLAIN if word in raw]
    assert not [word for word in PLAIN if word in everything(tmp_path)]
