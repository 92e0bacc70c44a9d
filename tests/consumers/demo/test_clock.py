"""The day's clock: the day mapped onto the run, and back."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest

from consumers.demo.clock import EVENING, NOON, OPENING, DayClock

OPENED = datetime(2031, 5, 6, 7, 8, 9, 123_000, tzinfo=UTC)


@pytest.mark.parametrize(("scale", "noon"), [(1.0, "13.123"), (0.25, "10.123")])
def test_an_hour_is_so_many_seconds(scale: float, noon: str) -> None:
    """12:00 lies four scaled hours after the log's time at 08:00."""
    clock = DayClock(OPENED, scale)
    assert clock.instant(OPENING) == OPENED
    assert clock.instant(NOON).isoformat(timespec="milliseconds") == f"2031-05-06T07:08:{noon}+00:00"


@pytest.mark.parametrize("scale", [1.0, 0.3, 0.07])
def test_instants_are_whole_milliseconds_and_never_early(scale: float) -> None:
    """Every minute of the day maps to a millisecond at or just after it, and reads as the same minute again."""
    clock = DayClock(OPENED, scale)
    minute = OPENING
    while minute <= EVENING:
        instant = clock.instant(minute)
        assert instant.microsecond % 1_000 == 0
        assert timedelta(0) <= clock.day_time(instant) - minute < timedelta(minutes=1)
        minute += timedelta(minutes=1)


def test_an_event_is_mapped_where_it_names_times() -> None:
    """``time``, deadlines and durations are mapped, and nothing else is touched."""
    event = {
        "time": "2026-03-30T09:00:00Z",
        "subject": "2026-03-30T09:00:00Z",
        "data": {"fresh_until": "2026-03-30T12:00:00Z", "reconcile_within": "PT90M", "trigger": "PT4H", "fence": 3},
    }
    assert DayClock(OPENED, 1.0).on_the_run(event) == {
        "time": "2031-05-06T07:08:10.123Z",
        "subject": "2026-03-30T09:00:00Z",
        "data": {
            "fresh_until": "2031-05-06T07:08:13.123Z",
            "reconcile_within": "PT1.5S",
            "trigger": "PT4H",
            "fence": 3,
        },
    }


def test_what_is_no_event_passes_untouched() -> None:
    """A line without time and data is sent as it is."""
    assert DayClock(OPENED, 1.0).on_the_run({"msg": "waiting"}) == {"msg": "waiting"}


def test_people_read_the_days_time() -> None:
    """Instants in a text read as times of the day, those before the opening as 08:00."""
    clock = DayClock(OPENED, 1.0)
    assert clock.told("fresh until 2031-05-06T07:08:16.123Z, set 2031-05-06T07:08:09.100Z.") == (
        "fresh until 15:00, set 08:00."
    )
    assert clock.told_duration("PT1.5S") == "1.5 h"
