"""What the tests of adapters have in one: a gate on a ledger of their own, and a place where effects are counted."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from ledger.runtimes.gate import Gate
from tests.ledger.runtimes.gates import gate_on


@pytest.fixture
def gate(tmp_path: Path) -> Iterator[Gate]:
    with gate_on(tmp_path) as opened:
        yield opened


@pytest.fixture
def effects() -> list[int]:
    return []
