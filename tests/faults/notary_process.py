"""A notary that is killed at every write: ``python -m tests.faults.notary_process FOLDER``.

A child of this process signs what a ledger has more, and is killed before or after its first call of the disk, its
second and so on, until one lives to the end. After each death it is looked at what is there, and another goes on.
"""

from __future__ import annotations

import os
import shutil
import signal
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from consumers.evidence import journal as journal_module
from tests.consumers.evidence.acme import Acme

STEPS = [(0, 260), (250, 10)]
"""How many entries were signed before, and how many come then."""


class Topic:
    """A topic of checkpoints that is a file: a note a line."""

    def __init__(self, path: Path, write: Callable[[], None] = lambda: None) -> None:
        self._path = path
        self._write = write

    def announce(self, partition: int, origin: str, note: bytes) -> None:
        with self._path.open("ab") as file:
            file.write(note.replace(b"\n", b"|") + b"\n")
        self._write()

    def newest(self, partition: int, origin: str) -> bytes | None:
        told = self._path.read_bytes().splitlines() if self._path.exists() else []
        return told[-1].replace(b"|", b"\n") if told else None

    def close(self) -> None: ...


class Killing:
    """Kills this process at its n-th write: odd ones before it, even ones when it is done."""

    def __init__(self, at: int) -> None:
        self._left = at

    def _step(self) -> None:
        self._left -= 1
        if self._left == 0:
            os.kill(os.getpid(), signal.SIGKILL)

    def around(self, act: Callable[..., Any]) -> Callable[..., Any]:
        def call(*given: Any, **named: Any) -> Any:
            self._step()
            found = act(*given, **named)
            self._step()
            return found

        return call

    def install(self) -> None:
        """Before and after every write, sync, move and making of a folder, and every commit of the journal."""
        for name in ("fsync", "replace", "mkdir", "link"):
            setattr(os, name, self.around(getattr(os, name)))
        for name in ("write_bytes", "replace", "mkdir"):
            setattr(Path, name, self.around(getattr(Path, name)))
        immediate = journal_module.immediate

        @contextmanager
        def killing_immediate(connection: Any) -> Iterator[Any]:
            with immediate(connection) as found:
                yield found
                self._step()
            self._step()

        journal_module.immediate = killing_immediate


def sign(folder: Path, at: int) -> None:
    """What the child does."""
    killing = Killing(at)
    acme = Acme(folder)
    killing.install()
    with acme.notary(announcer=Topic(folder / "topic", killing._step)) as notary:
        notary.checkpoint(0)


def prepared(folder: Path, before: int, more: int) -> None:
    acme = Acme(folder)
    if before:
        acme.append(before)
        with acme.notary(announcer=Topic(folder / "topic")) as notary:
            notary.checkpoint(0)
    acme.append(more)


def killed_at(folder: Path, at: int) -> bool:
    """Whether the child died there."""
    child = os.fork()
    if not child:
        try:
            sign(folder, at)
        except BaseException as error:
            print(f"{error!r} at {at}", flush=True)
            os._exit(1)
        os._exit(0)
    _, status = os.waitpid(child, 0)
    if os.WIFSIGNALED(status):
        return True
    assert os.waitstatus_to_exitcode(status) == 0
    return False


def looked_at(folder: Path) -> None:
    """What is there holds at once; then another notary signs on, and what it announces is what was signed."""
    acme = Acme(folder)
    acme.look_at_all()
    seen = acme.published()
    acme.append(3)
    with acme.notary(announcer=Topic(folder / "topic")) as notary:
        newest = notary.checkpoint(0)
    acme.look_at_all()
    assert acme.published() == newest.checkpoint
    signed = {str(one.note).replace("\n", "|") for one in acme.signed()}
    told = (folder / "topic").read_text().splitlines()
    assert set(told) <= signed
    assert told[-1] == str(newest.note).replace("\n", "|")
    if seen is not None:
        assert any(one.checkpoint == seen for one in acme.signed())


def main(place: Path) -> None:
    os.fsync = lambda descriptor: None  # a kill loses nothing that was written: the sync itself may be left out
    for number, (before, more) in enumerate(STEPS):
        pristine = place / f"pristine-{number}"
        pristine.mkdir()
        prepared(pristine, before, more)
        at, died = 0, True
        while died:
            at += 1
            folder = place / f"run-{number}"
            shutil.copytree(pristine, folder)
            died = killed_at(folder, at)
            looked_at(folder)
            shutil.rmtree(folder)
        print(f"{before}+{more}: killed {at - 1} times", flush=True)


if __name__ == "__main__":
    main(Path(sys.argv[1]))
