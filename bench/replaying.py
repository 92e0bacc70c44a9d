"""Figures: one long work item rebuilt, with a snapshot and without, against a plain aggregate of as many events."""

from __future__ import annotations

import shutil
import sqlite3
from pathlib import Path

from bench.ledgers import fill, folder, indexed, now, opened
from bench.plain import cases, saved_long
from bench.rounds import Figure, in_turns, rates, seconds
from bench.sizes import Sizes
from bench.workload import one_long_life

SUBJECT = "TICKET-LONG"
_REPEATED = 10


def _without_snapshots(path: Path) -> Path:
    copy = path.with_name("no-snapshots.db")
    shutil.copy(path, copy)
    connection = sqlite3.connect(copy)
    with connection:
        connection.execute("DELETE FROM stored_snapshots")
    connection.close()
    return copy


def replay(sizes: Sizes) -> list[Figure]:
    with folder() as place:
        fill(place / "ledger.db", one_long_life(SUBJECT, sizes.long_life, now()))
        indexed(place / "ledger.db")
        return [
            _figure(place, "ledger.db", "replay-snapshot", "with a snapshot", 10.0, sizes),
            _figure(place, _without_snapshots(place / "ledger.db").name, "replay", "without a snapshot", 1.5, sizes),
        ]


def _figure(place: Path, file: str, name: str, how: str, target: float, sizes: Sizes) -> Figure:
    text = "A heartbeat of the owner, as long as the data of one: " + 200 * "."
    with cases(place / f"{name}.db") as app:
        identity = saved_long(app, sizes.long_life, text)
        ledger = opened(place / file)
        try:

            def rebuild() -> None:
                ledger.index.forget()  # a state that was asked for before is kept
                ledger.index.work_item(SUBJECT)

            def rebuilt() -> float:
                return seconds(lambda: [rebuild() for _ in range(_REPEATED)]) / _REPEATED

            ours, theirs = in_turns(name, rebuilt, lambda: seconds(lambda: app.repository.get(identity)), sizes.rounds)
            item = ledger.index.work_item(SUBJECT)
        finally:
            ledger.close()
    assert item is not None
    assert item.version == sizes.long_life
    return Figure(
        name=name,
        title=f"Replay of one work item, {how}",
        unit="entries/s",
        ours="index.work_item(subject), with nothing cached",
        theirs="eventsourcing: repository.get of a plain aggregate with as many events",
        target=target,
        at_least=True,
        ours_each=rates(ours, sizes.long_life),
        theirs_each=rates(theirs, sizes.long_life),
        notes={"entries": sizes.long_life, "pauses": len(item.pauses)},
    )
