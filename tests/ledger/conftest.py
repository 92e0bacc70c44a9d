"""What tests of the publisher share: a court that does as it is told, and publishers on it."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from ledger.outbox import Outbox
from ledger.publisher import Publisher
from tests.faults.courts import ScriptedCourt

Opening = Callable[..., Publisher]


@pytest.fixture
def court() -> ScriptedCourt:
    return ScriptedCourt()


@pytest.fixture
def outbox_path(tmp_path: Path) -> Path:
    return tmp_path / "facts.outbox"


@pytest.fixture
def opening(court: ScriptedCourt, outbox_path: Path) -> Iterator[Opening]:
    """Opens publishers on the court with an outbox, and closes them afterwards."""
    made: list[Publisher] = []

    def open_one(**options: object) -> Publisher:
        settings = {"open_court": lambda: court, "outbox": Outbox(outbox_path, "log"), "deadline_seconds": 5.0}
        made.append(Publisher(**(settings | options)))  # type: ignore[arg-type]
        return made[-1]

    yield open_one
    court.acknowledge()
    for publisher in made:
        publisher.close()
