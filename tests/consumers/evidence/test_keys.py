"""The notary's keys: who may read them, what is never written over, and rotations that survive being killed."""

from __future__ import annotations

import stat
from contextlib import suppress
from pathlib import Path

import pytest

from consumers.evidence import keys as keys_module
from consumers.evidence.keys import (
    BEGUN,
    EARLIER,
    NEXT_KEY,
    NOTARY_KEY,
    TAG_KEY,
    new_keys,
    open_keys,
    rotate_keys,
    rotations,
)
from ledger.errors import DiskFailed, UnusableLog, WrongUsage
from ledger.evidence.notes import COSIGNATURE, read_note, read_verifier_key, verifier_key
from ledger.evidence.signatures import signed_by


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return tmp_path / "acme.keys"


def mode(path: Path) -> int:
    return stat.S_IMODE(path.stat().st_mode)


def secrets_of(folder: Path) -> list[str]:
    """Every private byte that is there, as it might be shown."""
    keys = open_keys(folder)
    seed = keys.signer._key.private_bytes_raw()
    return [secret for one in (seed, keys.tag_key) for secret in (one.hex(), repr(one)[2:-1])]


def test_new_keys_are_for_their_owner_alone(folder: Path) -> None:
    """The folder is 0700, both files 0600, whatever the umask."""
    new_keys(folder, "acme")
    assert mode(folder) == 0o700
    assert {path.name: mode(path) for path in folder.iterdir()} == {NOTARY_KEY: 0o600, TAG_KEY: 0o600}


def test_nothing_secret_is_shown(folder: Path) -> None:
    """Neither the keys' repr nor that of the signer has a private byte in it."""
    keys = new_keys(folder, "acme")
    shown = repr(keys) + repr(keys.signer) + str(keys.verifier)
    assert [secret for secret in secrets_of(folder) if secret in shown] == []


def test_keys_are_never_written_over(folder: Path) -> None:
    """A second `keys new` is refused, and changes no byte."""
    new_keys(folder, "acme")
    before = {path.name: path.read_bytes() for path in folder.iterdir()}
    for name in ("acme", "other"):
        with pytest.raises(WrongUsage, match="already"):
            new_keys(folder, name)
    assert {path.name: path.read_bytes() for path in folder.iterdir()} == before


@pytest.mark.parametrize("name", ["", "a b", "a+b", "..", "a/../b", "/a", "a/", "a\nb", "a\\b", "x" * 257, "a\u202eb"])
def test_names_that_no_ledger_may_have(folder: Path, name: str) -> None:
    """What would break a checkpoint's text, a key's text or a path is refused, and nothing is made."""
    with pytest.raises(WrongUsage, match="no name"):
        new_keys(folder, name)
    assert not folder.exists()


@pytest.mark.parametrize("file", [NOTARY_KEY, TAG_KEY])
def test_a_key_that_others_may_read_is_refused(folder: Path, file: str) -> None:
    """As ssh does: the permission is said, with the command that mends it."""
    new_keys(folder, "acme")
    (folder / file).chmod(0o640)
    with pytest.raises(WrongUsage, match="chmod 600"):
        open_keys(folder)


@pytest.mark.parametrize("file", [NOTARY_KEY, TAG_KEY])
@pytest.mark.parametrize("content", [b"", b"{}", b'{"name":"acme","seed":"00","vkey":"x"}', b"\xff" * 64])
def test_a_damaged_key_is_said_without_its_content(folder: Path, file: str, content: bytes) -> None:
    """The error names the file, and nothing that is in it."""
    new_keys(folder, "acme")
    secret = (folder / file).read_text()
    (folder / file).write_bytes(content + secret.encode()[:40])
    with pytest.raises(UnusableLog, match="damaged") as found:
        open_keys(folder)
    assert secret[:40] not in str(found.value)


def test_without_keys_the_command_is_named(folder: Path) -> None:
    """Whoever has no keys is told how to make them."""
    with pytest.raises(WrongUsage, match="pauseledger keys new NAME"):
        open_keys(folder)


def test_a_lost_key_is_not_replaced_where_it_has_signed(folder: Path) -> None:
    """A journal without a key is a folder that lost it: a new one would sign another history."""
    folder.mkdir()
    (folder / "signed.db").touch()
    with pytest.raises(WrongUsage, match="copy"):
        new_keys(folder, "acme")


@pytest.mark.parametrize("at", range(1, 20))
def test_making_keys_that_dies_is_ended_by_the_next(folder: Path, at: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """Cut short at any call of the disk, the next try makes whole keys, with the tag key that is there already."""
    calls = 0

    def dying(act: object) -> object:
        def call(*given: object, **named: object) -> object:
            nonlocal calls
            calls += 1
            if calls == at:
                raise OSError(5, "died")
            return act(*given, **named)  # type: ignore[operator]

        return call

    with monkeypatch.context() as patched:
        for name in ("open", "fsync", "link"):
            patched.setattr(keys_module.os, name, dying(getattr(keys_module.os, name)))
        with suppress(DiskFailed):
            new_keys(folder, "acme")
    kept = (folder / TAG_KEY).read_text() if (folder / TAG_KEY).exists() else None
    if (folder / NOTARY_KEY).exists():
        keys = open_keys(folder)
    else:
        keys = new_keys(folder, "acme")
        assert sorted(one.name for one in folder.iterdir()) == [NOTARY_KEY, TAG_KEY]
    assert kept in (None, f"{keys.tag_key.hex()}\n")


@pytest.mark.parametrize("begun", ["", "0" * 64 + "\n"])
def test_a_tag_key_that_was_put_there_is_never_taken(folder: Path, begun: str) -> None:
    """It is another ledger's, also where keys were begun beside it: it would be in two genesis leaves."""
    folder.mkdir()
    (folder / TAG_KEY).write_text("ab" * 32 + "\n")
    (folder / TAG_KEY).chmod(0o600)
    if begun:
        (folder / BEGUN).write_text(begun)
    with pytest.raises(WrongUsage, match="tag key of another ledger"):
        new_keys(folder, "acme")
    assert not (folder / NOTARY_KEY).exists()


def test_a_rotation_is_signed_by_the_old_key(folder: Path) -> None:
    """The name and the tag key stay, the old public key is kept, and its private bytes are nowhere."""
    first = new_keys(folder, "acme")
    old_seed = first.signer._key.private_bytes_raw().hex()
    second, third = rotate_keys(folder), rotate_keys(folder)
    assert third.name == "acme"
    assert third.tag_key == first.tag_key
    assert third.earlier == (second.verifier, first.verifier)
    assert len({str(one) for one in third.verifiers}) == 3
    newest, oldest = map(read_note, (one.encode() for one in rotations(folder)))
    assert f"\n{first.verifier}\n{second.verifier}\n" in oldest.text
    assert signed_by(oldest, first.verifier)
    assert signed_by(newest, second.verifier)
    assert [path for path in folder.rglob("*") if path.is_file() and old_seed in path.read_text()] == []
    assert {mode(path) for path in folder.rglob("*") if path.is_file()} == {0o600}


@pytest.mark.parametrize("at", range(1, 13))
def test_a_rotation_that_dies_is_ended_by_the_next(folder: Path, at: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """Cut short at any call of the disk, there is one key that works, and a chain of signatures that leads to it."""
    first = new_keys(folder, "acme")
    calls = 0

    def dying(act: object) -> object:
        def call(*given: object, **named: object) -> object:
            nonlocal calls
            calls += 1
            if calls == at:
                raise OSError(5, "died")
            return act(*given, **named)  # type: ignore[operator]

        return call

    with monkeypatch.context() as patched:
        for name in ("open", "fsync", "link"):
            patched.setattr(keys_module.os, name, dying(getattr(keys_module.os, name)))
        patched.setattr(Path, "replace", dying(Path.replace))
        try:
            rotate_keys(folder)
        except DiskFailed:
            assert open_keys(folder).name == "acme"
    after = rotate_keys(folder)
    assert after.earlier[-1] == first.verifier
    assert all(
        signed_by(read_note(one.encode()), key) for one, key in zip(rotations(folder), after.earlier, strict=True)
    )
    assert not (folder / NEXT_KEY).exists()
    assert not list(folder.rglob(".*.new"))


def test_a_rotation_that_nobody_signed_is_refused(folder: Path) -> None:
    """A key that somebody slipped in among the earlier ones is not believed."""
    new_keys(folder, "acme")
    rotate_keys(folder)
    (path,) = (folder / EARLIER).iterdir()
    note = path.read_text()
    path.write_text(note.replace("acme+", "acmf+", 1))
    with pytest.raises(UnusableLog, match="no rotation"):
        open_keys(folder)


def test_witnesses_are_read(folder: Path) -> None:
    """A key a line; one that is no witness's is refused by its line."""
    keys = new_keys(folder, "acme")
    witness = verifier_key("witness.example", bytes(range(32)), COSIGNATURE)
    (folder / "witnesses").write_text(f"# ours\n\n{witness}\n")
    assert open_keys(folder).witnesses == (read_verifier_key(str(witness)),)
    (folder / "witnesses").write_text(f"{witness}\n{keys.verifier}\n")
    with pytest.raises(WrongUsage, match="Line 2"):
        open_keys(folder)
