"""Where task tokens are kept: whole or absent, on the disk, and nobody else's."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from ledger.errors import DiskFailed, WrongUsage
from ledger.runtimes.pauses import Paused
from ledger.runtimes.task_tokens import Damaged, Kept, TokenFolder, token_hash

KEPT = Kept(Paused("T-1", "run", "p-1"), "secret")


def test_the_folder_of_tokens(tmp_path: Path) -> None:
    """What is kept is found by its hash, the newest pause counts; a forgotten one is gone; a path is no hash."""
    folder = TokenFolder(tmp_path / "tokens")
    assert list(folder.hashes()) == []
    folder.keep(Kept(Paused("T-1", "run", "p-1"), "secret"))
    folder.keep(Kept(Paused("T-1", "run", "p-2"), "secret"))
    assert list(folder.hashes()) == [token_hash("secret")]
    assert folder.find(token_hash("secret")) == Kept(Paused("T-1", "run", "p-2"), "secret")
    folder.forget(token_hash("secret"))
    folder.forget(token_hash("secret"))
    assert folder.find(token_hash("secret")) is None
    with pytest.raises(WrongUsage):
        folder.find("../secret")


def test_a_folder_is_made_for_its_owner_alone(tmp_path: Path) -> None:
    """Whatever the umask is: nobody else may enter the folder, or read a file of it."""
    before = os.umask(0)
    try:
        TokenFolder(tmp_path / "tokens").keep(KEPT)
    finally:
        os.umask(before)
    modes = [(tmp_path / "tokens" / name).stat().st_mode & 0o777 for name in ("", KEPT.hash)]
    assert modes == [0o700, 0o600]


@pytest.mark.parametrize("mode", [0o750, 0o701, 0o777])
def test_a_folder_that_others_may_enter_is_refused(tmp_path: Path, mode: int) -> None:
    """A folder that was there before, open to others, takes no token and gives none away."""
    folder = TokenFolder(tmp_path / "tokens")
    folder.keep(KEPT)
    (tmp_path / "tokens").chmod(mode)
    for use in (lambda: folder.keep(Kept(KEPT.paused, "another")), lambda: folder.find(KEPT.hash)):
        with pytest.raises(WrongUsage, match="may enter") as caught:
            use()
        assert "secret" not in str(caught.value)
    (tmp_path / "tokens").chmod(0o700)
    assert folder.find(KEPT.hash) == KEPT


def test_a_folder_of_another_user_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Its owner could read what is kept there, whatever its mode is."""
    folder = TokenFolder(tmp_path / "tokens")
    folder.keep(KEPT)
    monkeypatch.setattr(os, "geteuid", lambda: os.getuid() + 1)
    with pytest.raises(WrongUsage, match="may enter"):
        folder.find(KEPT.hash)


def test_what_is_kept_is_on_the_disk(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The file, then the folder's entry of it, and of a new folder the entry in its own folder first."""
    flushed: list[str] = []
    monkeypatch.setattr(os, "fsync", lambda number: flushed.append(str(Path(f"/proc/self/fd/{number}").readlink())))
    folder = TokenFolder(tmp_path / "tokens")
    folder.keep(KEPT)
    assert flushed[0] == str(tmp_path)
    assert flushed[1].startswith(str(tmp_path / "tokens/.new-"))
    assert flushed[2:] == [str(tmp_path / "tokens")]
    folder.keep(KEPT)
    assert len(flushed) == 5  # the folder is not new any more


def test_a_token_that_could_not_be_kept_leaves_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A disk that fails: the error names neither token nor path, the earlier file stands, and no other lies about."""
    folder = TokenFolder(tmp_path / "tokens")
    folder.keep(KEPT)

    def full(_: int) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(DiskFailed, match="No space left") as caught:
        folder.keep(Kept(Paused("T-1", "run", "p-2"), "secret"))
    assert "secret" not in str(caught.value)
    assert [path.name for path in (tmp_path / "tokens").iterdir()] == [KEPT.hash]
    assert folder.find(KEPT.hash) == KEPT


def test_what_a_killed_process_left_is_forgotten_too(tmp_path: Path) -> None:
    """Half a file is no token; it holds one, so it goes with the token that it was written for, and with no other."""
    folder = TokenFolder(tmp_path / "tokens")
    folder.keep(KEPT)
    halves = [tmp_path / "tokens" / f".new-{hash}-x" for hash in (KEPT.hash, token_hash("another"))]
    for half in halves:
        half.write_text('{"token": "sec')
    assert list(folder.hashes()) == [KEPT.hash]
    folder.forget(KEPT.hash)
    assert [half.exists() for half in halves] == [False, True]


@pytest.mark.parametrize("content", [b"", b'{"token": "s', b"[]", b'{"token": "s"}', b"7"])
def test_a_damaged_file_is_told_apart(tmp_path: Path, content: bytes) -> None:
    """It is no token and no absence, and the error shows nothing of it."""
    folder = TokenFolder(tmp_path / "tokens")
    folder.keep(KEPT)
    (tmp_path / "tokens" / KEPT.hash).write_bytes(content)
    with pytest.raises(Damaged, match=KEPT.hash):
        folder.find(KEPT.hash)


def test_foreign_files_are_no_tokens(tmp_path: Path) -> None:
    """Only what is named by a hash is looked at, and only a hash is looked for."""
    folder = TokenFolder(tmp_path / "tokens")
    folder.keep(KEPT)
    for name in ("README", "g" * 64, KEPT.hash + "x", "A" * 64):
        (tmp_path / "tokens" / name).write_text("x")
        with pytest.raises(WrongUsage, match="no hash"):
            folder.find(name)
    assert list(folder.hashes()) == [KEPT.hash]


def test_a_disk_that_can_not_be_read_says_so(tmp_path: Path) -> None:
    """Whatever is asked of the folder, the error is the ledger's own, which a job waits out."""
    folder = TokenFolder(tmp_path / "tokens")
    folder.keep(KEPT)
    folder.forget(KEPT.hash)
    (tmp_path / "tokens" / KEPT.hash).mkdir()
    for use in (lambda: folder.find(KEPT.hash), lambda: folder.forget(KEPT.hash)):
        with pytest.raises(DiskFailed):
            use()
    (tmp_path / "file").write_text("")
    with pytest.raises(DiskFailed):
        list(TokenFolder(tmp_path / "file").hashes())


def test_a_token_is_in_no_repr() -> None:
    """What is logged is read by many."""
    assert "secret" not in repr(KEPT)
