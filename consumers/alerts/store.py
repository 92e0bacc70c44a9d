"""The alerts and their deliveries, in the index's database.

They are no projection: what was told, to whom, can't be read from the log again. So ``rebuild`` leaves these tables
alone. When the database itself is lost, all that stands past its deadline is told once more, under the same ids.

Any number of watchers write here. An alert is inserted by whoever is first, under its one id. A try of a delivery is
claimed by counting it, from the count that was seen: who comes second changes nothing. The claim also puts the next
try off, so whoever dies in the middle of one leaves it to be tried again. Times are milliseconds since 1970.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from typing import Any, Literal, NamedTuple

from consumers.alerts.alert import Alert
from ledger.index import Index
from ledger.tables import Column, Lookup, Table
from projections.deadlines import Kind

State = Literal["waiting", "delivered", "dead"]

_WAITING = "delivered_at IS NULL AND dead_at IS NULL"
ALERTS = Table(
    "alerts",
    (
        Column("id"),
        Column("ledger", required=True),
        Column("partition", "integer", required=True),
        Column("kind", required=True),
        Column("subject", required=True),
        Column("pause", required=True),
        Column("execution", required=True),
        Column("owner"),
        Column("deadline", required=True),
        Column("content", required=True),
        Column("noticed_at", "integer", required=True),
    ),
    ("id",),
    (Lookup("alerts_deadlines", ("subject", "pause", "kind", "deadline", "ledger")),),
)
DELIVERIES = Table(
    "alert_deliveries",
    (
        Column("id"),
        Column("target"),
        Column("partition", "integer", required=True),
        Column("attempts", "integer", required=True),
        Column("next_attempt", "integer", required=True),
        Column("delivered_at", "integer"),
        Column("dead_at", "integer"),
        Column("said"),
    ),
    ("id", "target"),
    (Lookup("alert_deliveries_due", ("target", "next_attempt"), _WAITING),),
)
_COLUMNS: dict[Kind, str] = {"freshness": "fresh_until", "heartbeat": "lapses_at", "debt": "debt_due"}


class Passed(NamedTuple):
    """A row of the index whose deadline lies in the past, and of which nobody was told."""

    deadline: str
    subject: str
    pause: str


class Due(NamedTuple):
    """A try of a delivery that is due. ``attempts`` were made before it."""

    id: str
    target: str
    attempts: int
    partition: int
    subject: str
    content: str


class Delivery(NamedTuple):
    """How far the telling of one target has come. ``said`` is what came of the last try."""

    target: str
    state: State
    attempts: int
    next_attempt: int | None
    delivered_at: int | None
    said: str | None


class Told(NamedTuple):
    """An alert, when it was noticed, and its deliveries by target."""

    alert: Alert
    noticed_at: int
    deliveries: Sequence[Delivery]


class AlertStore:
    """The tables, made where they are missing. On the thread of the index."""

    def __init__(self, index: Index) -> None:
        self._recorder = index.recorder
        self._recorder.make_tables([ALERTS, DELIVERIES])

    def untold(self, ledger: str, kind: Kind, until: str, after: Passed, most: int) -> list[Passed]:
        """Up to ``most`` deadlines of a kind that lie at or before ``until`` and have no alert, earliest first.

        ``after`` is the last one of the page before, or where to begin.
        """
        column = _COLUMNS[kind]
        rows = self._recorder.select(
            f"SELECT {column}, subject, pause FROM deadlines AS d WHERE {column} <= ?"
            f" AND ({column}, subject, pause) > (?, ?, ?) AND NOT EXISTS (SELECT 1 FROM alerts AS a WHERE"
            f" a.subject = d.subject AND a.pause = d.pause AND a.kind = ? AND a.deadline = d.{column} AND a.ledger = ?)"
            f" ORDER BY {column}, subject, pause LIMIT {most:d}",
            (until, *after, kind, ledger),
        )
        return [Passed(*row) for row in rows]

    def add(self, alerts: Sequence[Alert], targets: Collection[str], now: int) -> list[Alert]:
        """Keep alerts, each to be delivered to every target, in one transaction; those that were not there before."""
        if not alerts:
            return []
        kept = [
            (
                "INSERT INTO alerts (id, ledger, partition, kind, subject, pause, execution, owner, deadline, content,"
                " noticed_at) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?) ON CONFLICT (id) DO NOTHING",
                (*alert, now),
            )
            for alert in alerts
        ]
        sent = [
            (
                "INSERT INTO alert_deliveries (id, target, partition, attempts, next_attempt) VALUES (?, ?, ?, 0, ?)"
                " ON CONFLICT (id, target) DO NOTHING",
                (alert.id, target, alert.partition, now),
            )
            for alert in alerts
            for target in targets
        ]
        changed = self._recorder.execute([*kept, *sent])
        return [alert for alert, rows in zip(alerts, changed, strict=False) if rows]

    def due(self, target: str, partitions: Collection[int], now: int, most: int) -> list[Due]:
        """Up to ``most`` deliveries to a target whose next try is due, those that have waited longest first."""
        marks = ", ".join("?" * len(partitions))
        rows = self._recorder.select(
            "SELECT d.id, d.target, d.attempts, a.partition, a.subject, a.content FROM alert_deliveries AS d"
            f" JOIN alerts AS a ON a.id = d.id WHERE d.target = ? AND {_WAITING} AND d.next_attempt <= ?"
            f" AND d.partition IN ({marks}) ORDER BY d.next_attempt, d.id LIMIT {most:d}",
            (target, now, *partitions),
        )
        return [Due(*row) for row in rows]

    def claim(self, due: Due, until: int) -> bool:
        """Count a try, and put the next one off until then; whether it is ours to make."""
        return self._changed(
            f"attempts = ?, next_attempt = ? WHERE id = ? AND target = ? AND attempts = ? AND {_WAITING}",
            (due.attempts + 1, until, due.id, due.target, due.attempts),
        )

    def delivered(self, due: Due, now: int, said: str) -> None:
        """It arrived, whoever else may have tried meanwhile."""
        what = "delivered_at = ?, dead_at = NULL, said = ? WHERE id = ? AND target = ? AND delivered_at IS NULL"
        self._changed(what, (now, said, due.id, due.target))

    def failed(self, due: Due, said: str, next_attempt: int) -> None:
        """The try that was claimed failed; the next one is at ``next_attempt``. Another's claim since then stands."""
        where = f"WHERE id = ? AND target = ? AND attempts = ? AND {_WAITING}"
        self._changed(f"next_attempt = ?, said = ? {where}", (next_attempt, said, due.id, due.target, due.attempts + 1))

    def dead(self, due: Due, said: str, now: int) -> None:
        """The try that was claimed failed, and was the last one: it waits in the list of dead letters."""
        where = f"WHERE id = ? AND target = ? AND attempts = ? AND {_WAITING}"
        self._changed(f"dead_at = ?, said = ? {where}", (now, said, due.id, due.target, due.attempts + 1))

    def replay(self, id: str | None, now: int) -> int:
        """Put the dead letters of one alert, or of all, back in the queue; how many."""
        one = "" if id is None else " AND id = ?"
        statement = (
            "UPDATE alert_deliveries SET dead_at = NULL, attempts = 0, next_attempt = ?"
            f" WHERE dead_at IS NOT NULL AND delivered_at IS NULL{one}"
        )
        return self._recorder.execute([(statement, (now, *([] if id is None else [id])))])[0]

    def knows(self, id: str) -> bool:
        """Whether there is an alert of that id."""
        return bool(self._recorder.select("SELECT 1 FROM alerts WHERE id = ?", (id,)))

    def told(self, *, owner: str | None = None, dead: bool = False) -> list[Told]:
        """The alerts, newest first: all, of one owner, or those with a dead letter."""
        where = ["a.owner = ?"] if owner is not None else []
        if dead:
            where.append("a.id IN (SELECT id FROM alert_deliveries WHERE dead_at IS NOT NULL)")
        rows = self._recorder.select(
            "SELECT a.id, a.ledger, a.partition, a.kind, a.subject, a.pause, a.execution, a.owner, a.deadline,"
            " a.content, a.noticed_at, d.target, d.attempts, d.next_attempt, d.delivered_at, d.dead_at, d.said"
            " FROM alerts AS a LEFT JOIN alert_deliveries AS d ON d.id = a.id"
            f" WHERE {' AND '.join(where) or '1 = 1'} ORDER BY a.noticed_at DESC, a.id, d.target",
            [] if owner is None else [owner],
        )
        found: dict[str, Told] = {}
        deliveries: dict[str, list[Delivery]] = {}
        for row in rows:
            alert = Alert(*row[:10])
            mine = deliveries.setdefault(alert.id, [])
            found.setdefault(alert.id, Told(alert, row[10], mine))
            if row[11] is not None:
                mine.append(_delivery(*row[11:]))
        return list(found.values())

    def tally(self) -> dict[tuple[str, State], int]:
        """How many deliveries are in each state, by target."""
        rows = self._recorder.select(
            "SELECT target, CASE WHEN delivered_at IS NOT NULL THEN 'delivered' WHEN dead_at IS NOT NULL THEN 'dead'"
            " ELSE 'waiting' END AS state, COUNT(*) FROM alert_deliveries GROUP BY 1, 2"
        )
        return {(target, state): count for target, state, count in rows}

    def _changed(self, what: str, parameters: Sequence[Any]) -> bool:
        return self._recorder.execute([(f"UPDATE alert_deliveries SET {what}", parameters)])[0] > 0


def _delivery(
    target: str, attempts: int, next_attempt: int, delivered_at: int | None, dead_at: int | None, said: str | None
) -> Delivery:
    state: State = "delivered" if delivered_at is not None else "waiting" if dead_at is None else "dead"
    return Delivery(target, state, attempts, next_attempt if state == "waiting" else None, delivered_at, said)
