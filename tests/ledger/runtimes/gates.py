"""A gate on a real ledger in a folder."""

from __future__ import annotations

from contextlib import AbstractContextManager
from pathlib import Path
from typing import Any

from consumers.gates import open_gate
from ledger.runtimes.gate import Gate
from tests.faults.ledgers import url


def gate_on(folder: Path, **more: Any) -> AbstractContextManager[Gate]:
    """An agent's gate on the folder's ledger, which is made where there is none."""
    settings = {"source": "urn:test", "actor": "service:agent", **more}
    return open_gate(url(folder / "log.db"), outbox=folder / "outbox.db", **settings)
