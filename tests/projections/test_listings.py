"""Owners, deadlines, debts and the inbox: the tables say what the states say, and time is judged exactly."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from ledger.fold import Replay
from ledger.packet import WorkItem
from ledger.record import Record
from ledger.times import parse_instant
from projections.deadlines import deadlines_of, debts_of
from projections.inbox import inbox_of, most_urgent_first
from projections.listing import WITH_DEADLINES, WITH_DEBTS, WITH_OWNERS, work_items
from projections.owners import owners_of, ownership_changes
from tests.faults.ledgers import dump, opened, put, url
from tests.faults.lines import DANA, line, note
from tests.faults.lines import opened as pause_data
from tests.projections.tables import everything, indexed

START = datetime(2026, 3, 28, 9, tzinfo=UTC)
MILLISECOND = timedelta(milliseconds=1)


def folded(*lines: tuple[int, bytes]) -> WorkItem:
    """T-1 after lines at so many seconds past nine."""
    replay = Replay(1)
    for offset, (second, value) in enumerate(lines):
        at = int((START + timedelta(seconds=second)).timestamp() * 1000)
        verdict = replay.take(Record(0, offset, at, b"T-1", value))
        assert verdict.accepted, verdict
    return replay.items["T-1"]


def attempted(**members: Any) -> WorkItem:
    """A pause whose action somebody attempted at 09:01 without a grant."""
    data = {"execution": "run-1", "pause": "p1"}
    return folded((0, line("pause.opened", pause_data(**members))), (60, line("side_effect.attempted", data, id="a")))


def test_tables_say_what_the_states_say(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """For every work item of all stories: no row too many, none missing, none that lags."""
    indexed(everything(tmp_path / "log.db"), tmp_path / "index.db", 7, monkeypatch)
    rows = dump(tmp_path / "index.db")
    with opened(url(tmp_path / "log.db"), tmp_path / "index.db") as ledger:
        subjects = [name for (name,) in ledger.index.recorder.select("SELECT DISTINCT subject FROM trail")]
        items = [item for name in subjects if name and (item := ledger.index.work_item(name)) is not None]
        later = datetime.max.replace(tzinfo=UTC)
        owners = sorted(tuple(one) for item in items for one in owners_of(item))
        assert sorted(rows["owners"]) == owners
        times = {(one.subject, one.pause, one.kind): one.at for item in items for one in deadlines_of(item, later)}
        owed = {(one.subject, one.pause): (one.since, one.due) for item in items for one in debts_of(item, later)}
        assert len(rows["deadlines"]) == sum(len(item.pauses) for item in items)
        for subject, pause, _, _, _, fresh, lapses, since, due, _ in rows["deadlines"]:
            assert fresh == times.get((subject, pause, "freshness"))
            assert lapses == times.get((subject, pause, "heartbeat"))
            assert due == times.get((subject, pause, "debt"))
            assert (since, due) == owed.get((subject, pause), (None, None))
        assert min(len(owners), len(times), len(owed)) > 10
        for candidates, of in (
            (WITH_OWNERS, lambda item, _: owners_of(item)),
            (WITH_DEADLINES, deadlines_of),
            (WITH_DEADLINES, inbox_of),
            (WITH_DEBTS, debts_of),
        ):
            now = [one for item, at in work_items(ledger.index, candidates, now=later) for one in of(item, at)]
            then = [one for item, at in work_items(ledger.index, "", now=START, at=later) for one in of(item, at)]
            assert now
            assert now == then


def test_a_deadline_has_passed_at_its_very_instant() -> None:
    """One millisecond before it has not."""
    item = attempted(fresh_for="PT1H", heartbeat_timeout="PT10M", reconcile_within="PT30M")
    found = {one.kind: parse_instant(one.at) for one in deadlines_of(item, START)}
    assert found == {
        "heartbeat": START + timedelta(minutes=10),
        "debt": START + timedelta(minutes=31),
        "freshness": START + timedelta(hours=1),
    }
    for kind, at in found.items():
        assert [one.passed for one in deadlines_of(item, at - MILLISECOND) if one.kind == kind] == [False]
        assert [one.passed for one in deadlines_of(item, at) if one.kind == kind] == [True]
    assert [one.kind for one in deadlines_of(item, START)] == ["heartbeat", "debt", "freshness"]
    due = found["debt"]
    assert [one.overdue for at in (due - MILLISECOND, due) for one in debts_of(item, at)] == [False, True]


def test_a_closed_pause_keeps_its_debt_and_nothing_else() -> None:
    """Until somebody settles it or writes it off, it is in the inbox."""
    told = (
        (0, line("pause.opened", pause_data(reconcile_within="PT1M"))),
        (60, line("side_effect.attempted", {"execution": "run-1", "pause": "p1"}, id="a")),
        (70, line("execution.finished", {"execution": "run-1"}, id="f")),
    )
    item = folded(*told)
    assert [one.kind for one in deadlines_of(item, START)] == ["debt"]
    assert [(one.state, one.since[11:19], one.due) for one in debts_of(item, START)] == [
        ("closed", "09:01:00", "2026-03-28T09:02:00.000Z")
    ]
    (task,) = inbox_of(item, START + timedelta(hours=1))
    assert (task.decision, task.rule, task.state, task.overdue) == ("reconcile", "debt", "closed", True)
    waived = line(
        "debt.waived", {"execution": "run-1", "pause": "p1", "reason": "checked by phone"}, id="w", actor=DANA
    )
    item = folded(*told, (80, waived))
    assert deadlines_of(item, START) == debts_of(item, START) == inbox_of(item, START) == []


def test_what_may_be_resumed_needs_nobody_until_it_is_stale() -> None:
    """The same state, asked at two instants."""
    item = folded((0, line("pause.opened", pause_data(fresh_for="PT1H"))))
    at = START + timedelta(hours=1)
    assert inbox_of(item, at - MILLISECOND) == []
    (task,) = inbox_of(item, at)
    assert (task.decision, task.rule, task.since) == ("review", "stale", "2026-03-28T10:00:00.000Z")


def test_the_most_urgent_comes_first() -> None:
    """Overdue before due, reconcile before terminate before review; what is due sooner before what is due later."""
    later = START + timedelta(minutes=20)
    stale = inbox_of(folded((0, line("pause.opened", pause_data(fresh_for="PT1M")))), later)
    moved = inbox_of(
        folded((0, line("pause.opened", pause_data())), (1, line("work.moved", {"to": "x"}, id="m"))), later
    )
    overdue = inbox_of(attempted(reconcile_within="PT10M"), later)
    due = inbox_of(attempted(reconcile_within="PT1H"), later)
    never = inbox_of(attempted(), later)
    assert [len(one) for one in (stale, moved, overdue, due, never)] == [1] * 5
    wanted = [*overdue, *due, *never, *moved, *stale]
    assert most_urgent_first([*stale, *never, *moved, *due, *overdue]) == wanted


def test_roles_of_executions() -> None:
    """A rival, a claim that replaces both, and a move."""
    told = [
        (0, line("execution.claimed", {"execution": "a", "owner": DANA}, id="1")),
        (1, line("branch.started", {"execution": "b", "by": "user:eve"}, id="2")),
    ]
    assert [(one.execution, one.role, one.owner) for one in owners_of(folded(*told))] == [
        ("a", "canonical", DANA),
        ("b", "rival", None),
    ]
    told.append((2, line("execution.claimed", {"execution": "c", "owner": "user:eve", "replaces": ["a", "b"]}, id="3")))
    told.append((3, line("work.moved", {"to": "elsewhere"}, id="4")))
    assert [(one.execution, one.role, one.owner_set, one.moved) for one in owners_of(folded(*told))] == [
        ("a", "retired", "0:0", None),
        ("b", "retired", None, None),
        ("c", "moved", "0:2", "0:3"),
    ]


def test_changes_of_ownership_are_the_accepted_ones(tmp_path: Path) -> None:
    """Of one work item or of all, in the log's order; none that was refused, and none that came later."""

    def claim(subject: str, execution: str, name: str, **members: Any) -> tuple[str, bytes]:
        data = {"execution": execution, "owner": DANA, **members}
        return subject, line("execution.claimed", data, id=name, subject=subject)

    told = [
        claim("T-1", "a", "1"),
        claim("T-2", "a", "2"),
        claim("T-1", "b", "3"),
        ("T-1", note(4)),
        claim("T-1", "b", "5", replaces="a"),
    ]
    with opened(url(tmp_path / "log.db"), tmp_path / "index.db") as ledger:
        put(ledger.log, told)
        ledger.indexer.catch_up()

        def offsets(**given: Any) -> list[int]:
            return [one.record.offset for one in ownership_changes(ledger.index, **given)]

        assert offsets() == [0, 1, 4]
        assert offsets(subject="T-1") == [0, 4]
        assert offsets(at=datetime(2000, 1, 1, tzinfo=UTC)) == []
        assert offsets(at=datetime.max.replace(tzinfo=UTC)) == [0, 1, 4]
