"""The notary at every write that dies, fails, or fails though it was done: there is one history, and it goes on."""

from __future__ import annotations

import errno
import re
import subprocess
import sys
from collections.abc import Callable, Iterable, Mapping
from contextlib import suppress
from pathlib import Path

import pytest

from consumers.evidence.journal import Journal, Signed
from consumers.evidence.keys import JOURNAL
from consumers.evidence.notary import Notary
from consumers.evidence.tile_store import TileStore
from ledger.errors import DiskFailed, LogUnavailable
from tests.consumers.evidence.acme import Acme
from tests.faults.notary_process import STEPS, Topic

ROOT = Path(__file__).parents[2]


@pytest.fixture
def acme(tmp_path: Path) -> Acme:
    return Acme(tmp_path)


def test_a_notary_that_is_killed_at_any_write(tmp_path: Path) -> None:
    """After each of some hundred deaths the tree verifies, no two checkpoints conflict, and the next one goes on."""
    done = subprocess.run(
        [sys.executable, "-m", "tests.faults.notary_process", str(tmp_path)],
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=300,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    kills = [int(count) for count in re.findall(r"killed (\d+) times", done.stdout)]
    assert len(kills) == len(STEPS)
    assert min(kills) > 25


class Faults:
    """Raises at the n-th write: before it, in the midst of it, or after it was done."""

    def __init__(self) -> None:
        self.at = 0
        self.count = 0
        self.mode = "before"
        self.happened = False

    def around(self, act: Callable[[], object], half: Callable[[], object] = lambda: None) -> None:
        self.count += 1
        if self.count != self.at:
            act()
            return
        self.happened = True
        if self.mode != "before":
            (act if self.mode == "after" else half)()
        raise LogUnavailable(f"Write {self.at} failed.")


class FaultyStore:
    """A store of tiles whose writes fail."""

    def __init__(self, store: TileStore, faults: Faults) -> None:
        self._store = store
        self._faults = faults
        self.where = store.where

    def read(self, path: str) -> bytes | None:
        return self._store.read(path)

    def write(self, files: Mapping[str, bytes], *, mend: bool = False) -> None:
        half = dict(list(files.items())[: len(files) // 2])
        self._faults.around(lambda: self._store.write(files, mend=mend), lambda: self._store.write(half, mend=mend))

    def publish(self, note: bytes, instead_of: bytes | None) -> None:
        self._faults.around(lambda: self._store.publish(note, instead_of))

    def drop(self, folders: Iterable[str]) -> None:
        self._faults.around(lambda: self._store.drop(folders))


class FaultyJournal(Journal):
    """A journal whose commits fail, or are said to."""

    def __init__(self, path: Path, faults: Faults) -> None:
        self._faults = faults
        super().__init__(path)

    def record(self, *given: object) -> None:  # type: ignore[override]
        self._faults.around(lambda: super(FaultyJournal, self).record(*given))  # type: ignore[arg-type]

    def tell_announced(self, signed: Signed) -> None:
        self._faults.around(lambda: super(FaultyJournal, self).tell_announced(signed))


class FaultyTopic(Topic):
    """A topic whose acknowledgements fail."""

    def __init__(self, path: Path, faults: Faults) -> None:
        super().__init__(path)
        self._faults = faults

    def announce(self, partition: int, origin: str, note: bytes) -> None:
        self._faults.around(lambda: super(FaultyTopic, self).announce(partition, origin, note))


@pytest.mark.parametrize("mode", ["before", "half", "after"])
@pytest.mark.parametrize("before", [0, 250])
def test_writes_that_fail_or_only_say_so(tmp_path: Path, mode: str, before: int) -> None:
    """Each write once: not persisted, half, and persisted but failed; the same notary goes on, and a new one too."""
    at, happened = 0, True
    while happened:
        at += 1
        folder = tmp_path / str(at)
        folder.mkdir()
        acme, faults = Acme(folder), Faults()
        if before:
            acme.append(before)
            acme.checkpoint()
        acme.append(300)
        faults.at, faults.mode = at, mode
        journal = FaultyJournal(acme.keys / JOURNAL, faults)
        topic = FaultyTopic(folder / "topic", faults)
        with acme.notary(store=lambda one, f=faults: FaultyStore(one, f), announcer=topic, journal=journal) as notary:
            try:
                notary.checkpoint(0)
            except LogUnavailable:
                acme.look_at_all()
                acme.append(1)
                notary.checkpoint(0)
            happened = faults.happened
            acme.look_at_all()
        acme.append(1)
        assert acme.checkpoint().checkpoint == acme.published()
        acme.look_at_all()
    assert at > 7


def test_a_full_disk_under_the_tiles(acme: Acme, monkeypatch: pytest.MonkeyPatch) -> None:
    """Nothing is signed of what could not be written; with room again it goes on."""
    acme.append(3)
    acme.checkpoint()
    acme.append(3)

    def full(path: Path, data: bytes) -> int:
        raise OSError(errno.ENOSPC, "No space left on device", str(path))

    with monkeypatch.context() as patched:
        patched.setattr(Path, "write_bytes", full)
        with pytest.raises(DiskFailed, match="No space left"):
            acme.checkpoint()
    assert [one.checkpoint.size for one in acme.signed()] == [4]
    assert acme.checkpoint().checkpoint.size == 7
    acme.look_at_all()


def sign_until_full(acme: Acme, notary: Notary) -> None:
    for _ in range(60):
        acme.append(1)
        with suppress(DiskFailed):
            notary.checkpoint(0)
            continue
        return
    raise AssertionError("the journal never got full")


def test_a_full_disk_under_the_journal(acme: Acme) -> None:
    """What could not be written into the journal is not published; with room again it goes on."""
    acme.append(3)
    acme.checkpoint()
    with acme.notary() as notary:
        connection = notary.journal._connection
        (pages,) = connection.execute("PRAGMA page_count").fetchone()
        connection.execute(f"PRAGMA max_page_count={pages}")
        sign_until_full(acme, notary)
        published = acme.published()
        assert published is not None
        assert acme.signed()[-1].checkpoint == published
        connection.execute("PRAGMA max_page_count=100000")
        assert notary.checkpoint(0).checkpoint.size == published.size + 1
    acme.look_at_all()


def test_a_power_cut_that_lost_what_was_not_synced(acme: Acme, monkeypatch: pytest.MonkeyPatch) -> None:
    """Every file that is moved to its place was synced before, and its folder after; so are folders that were made."""
    import os

    synced: set[tuple[int, int]] = set()
    fsync, replace = os.fsync, os.replace
    unsynced: list[str] = []
    moved: list[Path] = []

    def noted(descriptor: int) -> None:
        found = os.fstat(descriptor)
        synced.add((found.st_dev, found.st_ino))
        fsync(descriptor)

    def checked(source: Path, target: Path) -> None:
        found = Path(source).stat()
        if (found.st_dev, found.st_ino) not in synced:
            unsynced.append(str(source))
        replace(source, target)
        parents = [one.stat() for one in Path(target).parents[:-1] if acme.folder in one.parents or one == acme.folder]
        synced.difference_update((one.st_dev, one.st_ino) for one in parents[:1])
        moved.append(Path(target).parent)

    monkeypatch.setattr(os, "fsync", noted)
    monkeypatch.setattr(os, "replace", checked)
    acme.append(300)
    acme.checkpoint()
    assert moved
    assert unsynced == []
    folders = {one for folder in moved for one in (folder, *folder.parents) if acme.folder in (one, *one.parents)}
    assert [one for one in folders if (one.stat().st_dev, one.stat().st_ino) not in synced] == []
