"""What a runtime's program has to do with: one scene, its folder, the effect, and the moments at which it is killed.

Runs inside the program's process. The effect is a row in a database that the runtime knows nothing of.
"""

from __future__ import annotations

import os
import signal
import sqlite3
import time
from collections.abc import Iterator
from contextlib import closing, contextmanager
from datetime import timedelta
from pathlib import Path
from typing import Any, NamedTuple

from consumers.gates import open_gate
from ledger.runtimes.gate import Gate, Grant, Who
from ledger.runtimes.guard import Permit
from ledger.runtimes.pauses import Paused

SUBJECT = "ORDER-1"
OWNER = "user:anna"
AMOUNT = 20
_BARRIER_SECONDS = 5.0


class Approval(NamedTuple):
    """What a person answers. ``amount`` is that of an edit."""

    outcome: str = "approve"
    actor: str = OWNER
    amount: int | None = None


class Scene:
    """One scene, as a program sees it."""

    def __init__(
        self,
        folder: Path,
        *,
        wired: bool,
        fresh_seconds: float = 3600.0,
        crash: str = "",
        barrier: str = "",
        extra: dict[str, Any] | None = None,
    ) -> None:
        self.folder = folder
        """The runtime's own state goes here, and is found here again by the next process."""
        self.wired = wired
        """Whether the ledger is wired in; without it the program does what its runtime's manual says."""
        self.fresh_seconds = fresh_seconds
        self.extra = extra or {}
        """What the tests' side of this runtime has to say: a server's address."""
        self._crash = crash
        self._barrier = barrier

    @property
    def fresh_for(self) -> timedelta:
        """How long the plan is fresh when it is paused."""
        return timedelta(seconds=self.fresh_seconds)

    @property
    def terms(self) -> dict[str, Any]:
        """What is said of the pause when it is opened."""
        return {
            "owner": OWNER,
            "requires_review": True,
            "fresh_for": self.fresh_for,
            "side_effect": "not_happened",
        }

    @property
    def log_url(self) -> str:
        return f"sqlite:///{self.folder}/ledger.db"

    @contextmanager
    def gate(self, source: str = "urn:runtime") -> Iterator[Gate]:
        """The gate, with this scene's moments in it."""
        with open_gate(self.log_url, outbox=self.folder / "outbox.db", source=source, actor="service:agent") as gate:
            ask = gate.request_resume

            def request_resume(paused: Paused, *, who: Who | None = None) -> Grant:
                self._wait_for_the_other()
                grant = ask(paused, who=who)
                self._reached("grant")
                return grant

            gate.request_resume = request_resume  # type: ignore[method-assign]
            yield gate

    def effect(self, amount: int, permit: Permit | None = None) -> int:
        """The effect: a row, with the fence that it was done with; the row's number. Call it inside the guard."""
        if not self.wired:
            self._wait_for_the_other()
            self._reached("grant")
        self._reached("attempt")
        with closing(sqlite3.connect(effects_of(self.folder), timeout=30, isolation_level=None)) as database:
            database.execute("CREATE TABLE IF NOT EXISTS refunds (amount INTEGER, fence INTEGER)")
            fence = None if permit is None else permit.fence
            row = database.execute("INSERT INTO refunds VALUES (?, ?)", (amount, fence)).lastrowid
        self._reached("effect")
        assert row is not None
        return row

    def action(self, amount: int = AMOUNT) -> dict[str, Any]:
        """The pending action as programs without a more natural one describe it."""
        return {"kind": "tool", "name": "refund", "arguments": {"amount": amount}}

    def _reached(self, moment: str) -> None:
        if moment == self._crash:
            os.kill(os.getpid(), signal.SIGKILL)

    def _wait_for_the_other(self) -> None:
        """Two at once: both come to the gate before either goes through. Where only one comes, it goes on alone."""
        if not self._barrier:
            return
        (self.folder / self._barrier).touch()
        deadline = time.monotonic() + _BARRIER_SECONDS
        while len(list(self.folder.glob("at-the-gate-*"))) < 2 and time.monotonic() < deadline:
            time.sleep(0.01)


def effects_of(folder: Path) -> Path:
    """The database of effects, outside of any runtime."""
    return folder / "effects.db"


def effects(folder: Path) -> list[int]:
    """The amounts that were refunded, in order."""
    if not effects_of(folder).exists():
        return []
    with closing(sqlite3.connect(effects_of(folder), timeout=30)) as database:
        return [amount for (amount,) in database.execute("SELECT amount FROM refunds ORDER BY rowid")]
