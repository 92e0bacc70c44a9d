"""The day's clock: an hour of the demo day passes as a second of the log's own time.

The log stamps what it records with its real time, and the protocol judges every deadline by that. So the event files
are written in the day's time (08:00 to 17:00 on 30 March 2026, UTC), and whatever names a time is mapped onto the
run's time just before it is sent:

- 08:00 is the time that the log gave to the last of the opening notes: its clock counts, not this machine's.
- A time of day becomes that instant + its distance from 08:00, scaled: one hour is ``seconds_per_hour`` seconds.
- A duration is scaled likewise: with one second an hour, ``PT4H`` becomes ``PT4S``.

Mapped are the attribute ``time`` and, in ``data``, the members of :data:`TIMES` and :data:`DURATIONS`; nothing else.
What is printed is mapped back, so that people read the day's time.
"""

from __future__ import annotations

import re
import time
from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from typing import Any

from ledger.times import format_duration, format_instant, parse_duration, parse_instant

TIMES = ("fresh_until",)
DURATIONS = ("fresh_for", "heartbeat_timeout", "reconcile_within")

OPENING = datetime(2026, 3, 30, 8, tzinfo=UTC)
NOON = OPENING.replace(hour=12)
EVENING = OPENING.replace(hour=17)

_HOUR = timedelta(hours=1)
_MILLISECOND = timedelta(milliseconds=1)
_INSTANTS = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z")


class DayClock:
    """Maps the day onto the run, and back. ``opened`` is the log's time at 08:00, read a moment before this is made.

    Our clock is used only to wait: it runs behind the log's by the time that the first answer took, so an event is
    never recorded before its hour, only a little after.
    """

    def __init__(self, opened: datetime, seconds_per_hour: float) -> None:
        self._opened = opened
        self._began = time.monotonic()
        self._hour = timedelta(seconds=seconds_per_hour)

    def instant(self, day_time: datetime) -> datetime:
        """The log's time at a time of the day; whole milliseconds, as ``--at`` takes them."""
        late = (day_time - OPENING) * (self._hour / _HOUR) % _MILLISECOND
        exact = self._opened + (day_time - OPENING) * (self._hour / _HOUR)
        return exact if not late else exact - late + _MILLISECOND

    def day_time(self, instant: datetime) -> datetime:
        """The time of the day at an instant of the log."""
        return OPENING + (instant - self._opened) * (_HOUR / self._hour)

    def wait_until(self, day_time: datetime) -> None:
        """Return when it is that time of the day."""
        due = self._began + (self.instant(day_time) - self._opened).total_seconds()
        time.sleep(max(0.0, due - time.monotonic()))

    def on_the_run(self, event: Mapping[str, Any]) -> dict[str, Any]:
        """An event of the files with its times and durations mapped onto the run."""
        mapped = dict(event)
        if "time" in event:
            mapped["time"] = self._moved(event["time"])
        if isinstance(event.get("data"), Mapping):
            mapped["data"] = {name: self._member(name, value) for name, value in event["data"].items()}
        return mapped

    def _member(self, name: str, value: Any) -> Any:
        if name in TIMES:
            return self._moved(value)
        return format_duration(parse_duration(value) * (self._hour / _HOUR)) if name in DURATIONS else value

    def _moved(self, text: str) -> str:
        return format_instant(self.instant(parse_instant(text)))

    def told(self, text: str) -> str:
        """A text with the run's instants in it, as people read it: ``15:00`` for what the log calls 01:20:06.123Z.

        What was recorded at the opening, a little before the clock began, reads as 08:00.
        """
        return _INSTANTS.sub(lambda found: f"{max(OPENING, self.day_time(parse_instant(found[0]))):%H:%M}", text)

    def told_duration(self, text: str) -> str:
        """A duration of the run in the day's measure: ``4 h``."""
        hours = parse_duration(text) / self._hour
        return f"{round(hours, 2):g} h"
