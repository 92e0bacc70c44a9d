"""A ledger whose time stands still unless told, and watchers on it."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

from consumers.alerts.delivery import Target
from consumers.alerts.webhook import Webhook
from consumers.indexer import Indexer
from consumers.settings import Ledger, Settings
from consumers.watcher import Watcher
from ledger.logs.sqlite import SqliteLog
from tests.consumers.alerts.receiver import SECRET
from tests.faults.ledgers import put, url
from tests.faults.lines import DANA, line
from tests.faults.lines import opened as pause_data
from tests.faults.waiting import until

START = datetime(2026, 3, 28, 9, tzinfo=UTC)
GRACE = timedelta(seconds=1)
MILLISECOND = timedelta(milliseconds=1)
EVERY = {0}


class Time:
    """A clock that stands still."""

    def __init__(self) -> None:
        self.now = START

    def __call__(self) -> datetime:
        return self.now

    def milliseconds(self) -> int:
        return int(self.now.timestamp() * 1000)


class Watched:
    """An embedded ledger in a folder, its log's clock and ours, and lines for it."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.path = folder / "ledger.db"
        self.log_time, self.our_time = Time(), Time()
        self.log = SqliteLog(self.path, clock=self.log_time.milliseconds)
        self._count = 0

    def at(self, time: timedelta) -> None:
        """Set both clocks to so long after the start."""
        self.log_time.now = self.our_time.now = START + time

    def say(self, name: str, subject: str = "T-1", **data: Any) -> None:
        """Record an event of run-1 and p1, by Dana."""
        self._count += 1
        content = {"execution": "run-1", "pause": "p1", **data}
        put(self.log, [(subject, line(name, content, id=f"e-{self._count}", subject=subject, actor=DANA))])

    def open_pause(self, subject: str = "T-1", pause: str = "p1", **terms: Any) -> None:
        self.say("pause.opened", subject, **pause_data(pause, **terms))

    @contextmanager
    def watcher(self, *targets: Target | str, grace: timedelta = GRACE) -> Iterator[Watcher]:
        """A watcher of all partitions; targets that are addresses become webhooks."""
        told = [Webhook(one, [SECRET]) if isinstance(one, str) else one for one in targets]
        watcher = Watcher(self.ledger(), told, grace=grace, clock=self.our_time)
        watcher.take(EVERY)
        try:
            yield watcher
        finally:
            watcher.close()

    def ledger(self) -> Ledger:
        log = SqliteLog(self.path, clock=self.log_time.milliseconds)
        index = Settings.read(url(self.path)).open_index()
        return Ledger(log, index, Indexer(log, index))

    def look(self, watcher: Watcher) -> list[tuple[str, str, str]]:
        """Sweep once; the alerts that there are then: kind, subject and deadline, oldest deadline first."""
        watcher.take(EVERY)
        watcher.step()
        assert watcher.swept_at == self.our_time.now
        return kept(watcher)

    def close(self) -> None:
        self.log.close()


def kept(watcher: Watcher) -> list[tuple[str, str, str]]:
    told = [one.alert for one in watcher.store.told()]
    return sorted((one.deadline[11:], one.kind, one.subject) for one in told)


def ids(watcher: Watcher) -> set[str]:
    return {one.alert.id for one in watcher.store.told()}


def run_until(watchers: Sequence[Watcher], holds: Callable[[], object], what: str, seconds: float = 30.0) -> None:
    """Step watchers in turns until a condition holds."""

    def stepped() -> object:
        for watcher in watchers:
            watcher.step()
        return holds()

    until(stepped, what=what, seconds=seconds)


@contextmanager
def watched(folder: Path) -> Iterator[Watched]:
    made = Watched(folder)
    try:
        yield made
    finally:
        with suppress(Exception):
            made.close()
