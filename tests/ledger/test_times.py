"""Instants, durations and deadlines: what is read, what is refused, and the exact instant at which things change."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ledger.checks import freshness, ownership
from ledger.times import (
    EARLIEST,
    LATEST,
    format_duration,
    format_instant,
    from_milliseconds,
    parse_duration,
    parse_instant,
    shifted,
)
from tests.ledger.story import NINE, Story, granted

MICROSECOND = timedelta(microseconds=1)


@pytest.mark.parametrize(
    ("text", "instant"),
    [
        ("2026-03-28T09:00:00Z", NINE),
        ("2026-03-28t09:00:00z", NINE),
        ("2026-03-28T10:30:00+01:30", NINE),
        ("2026-03-27T23:00:00-10:00", NINE),
        ("2026-03-28T09:00:00-00:00", NINE),
        ("2026-03-28T09:00:00.5Z", NINE + timedelta(seconds=0.5)),
        ("2026-03-28T09:00:00.123456999Z", NINE + timedelta(microseconds=123456)),
        ("2024-02-29T23:59:59.999999Z", datetime(2024, 2, 29, 23, 59, 59, 999999, tzinfo=UTC)),
        ("2000-02-29T00:00:00Z", datetime(2000, 2, 29, tzinfo=UTC)),
        ("2024-02-29T23:30:00-01:00", datetime(2024, 3, 1, 0, 30, tzinfo=UTC)),
        ("0001-01-01T00:00:00+14:00", EARLIEST),
        ("9999-12-31T23:59:59-14:00", LATEST),
    ],
)
def test_an_instant_is_read_in_utc(text: str, instant: datetime) -> None:
    """RFC 3339 with any offset, fractions cut to microseconds, the edge of the years kept."""
    assert parse_instant(text) == instant
    assert parse_instant(text).utcoffset() == timedelta(0)


@pytest.mark.parametrize(
    "text",
    [
        "",
        "2026-03-28",
        "2026-03-28T09:00:00",
        "2026-03-28 09:00:00Z",
        "2026-03-28T09:00Z",
        "2026-03-28T09:00:00+0100",
        "2026-03-28T09:00:00+24:00",
        "2026-03-28T09:00:00+01:60",
        "2026-03-28T09:00:00.Z",
        "2026-03-28T09:00:00,5Z",
        "2026-03-28T24:00:00Z",
        "2016-12-31T23:59:60Z",
        "2026-02-29T09:00:00Z",
        "2100-02-29T09:00:00Z",
        "2026-13-01T09:00:00Z",
        "0000-01-01T00:00:00Z",
        "+12026-03-28T09:00:00Z",
        "2026-03-28T09:00:00Z ",
        "2026-03-28T09:00:00Z\n",
        "٢٠٢٦-03-28T09:00:00Z",
        "2026-W13-6T09:00:00Z",
    ],
)
def test_what_is_no_instant_is_refused(text: str) -> None:
    """No offset, no seconds, a leap second, a day that is not there: nothing is guessed."""
    with pytest.raises(ValueError):
        parse_instant(text)


@pytest.mark.parametrize(
    ("text", "duration"),
    [
        ("PT15M", timedelta(minutes=15)),
        ("PT0.5S", timedelta(seconds=0.5)),
        ("PT0,5S", timedelta(seconds=0.5)),
        ("P1W", timedelta(weeks=1)),
        ("P1DT2H3M4S", timedelta(days=1, hours=2, minutes=3, seconds=4)),
        ("PT36H", timedelta(hours=36)),
        ("P0.5D", timedelta(hours=12)),
        ("PT0.0000015S", MICROSECOND),
        ("P999999999D", timedelta(days=999999999)),
        ("P" + "9" * 60 + "W", timedelta.max),
    ],
)
def test_a_duration_is_read(text: str, duration: timedelta) -> None:
    """Weeks to seconds, a fraction in the last part; one that is too huge is the hugest."""
    assert parse_duration(text) == duration


@pytest.mark.parametrize(
    "text",
    [
        "",
        "P",
        "PT",
        "P1Y",
        "P1M",
        "P1DT",
        "pt15m",
        "PT15m",
        "15M",
        "-PT5M",
        "PT-5M",
        "+PT5M",
        "PT0S",
        "P0D",
        "PT1.5H30M",
        "PT5M ",
        "PT 5M",
        "PT.5S",
        "PT5.S",
        "P1H",
        "PT1D",
        "PT5M3H",
        "P1W2W",
        "PT٥M",
        "P1Y2D",
        "PT1e3S",
    ],
)
def test_what_is_no_duration_is_refused(text: str) -> None:
    """Years, months, signs, lower case, nothing, no time at all: refused."""
    with pytest.raises(ValueError):
        parse_duration(text)


@given(st.timedeltas(min_value=MICROSECOND, max_value=timedelta(days=99_999)))
def test_a_duration_survives_being_written(duration: timedelta) -> None:
    """What is printed is read as the same duration."""
    assert parse_duration(format_duration(duration)) == duration


@given(st.datetimes(timezones=st.just(UTC)))
def test_an_instant_is_cut_to_milliseconds(instant: datetime) -> None:
    """What is printed is at most a millisecond earlier, and never later."""
    assert timedelta(0) <= instant - parse_instant(format_instant(instant)) < timedelta(milliseconds=1)


def test_beyond_the_years_lies_their_edge() -> None:
    """No clock and no deadline can lead out of the years 1 to 9999."""
    assert shifted(LATEST, MICROSECOND) == LATEST
    assert shifted(EARLIEST, -MICROSECOND) == EARLIEST
    assert shifted(NINE, timedelta.max) == LATEST
    assert from_milliseconds(2**64 - 1) == LATEST
    assert from_milliseconds(-(2**62)) == EARLIEST
    assert from_milliseconds(0) == datetime(1970, 1, 1, tzinfo=UTC)


@pytest.mark.parametrize("step", [timedelta(milliseconds=1), MICROSECOND])
def test_freshness_ends_at_its_very_instant(step: timedelta) -> None:
    """Fresh until just before the deadline, expired at it and after it."""
    story = Story()
    story.open(fresh_until="2026-03-28T09:10:00Z")
    pause, deadline = story.item.pauses["p-1"], NINE + timedelta(minutes=10)
    assert [freshness(pause, deadline + n * step) for n in (-1, 0, 1)] == ["fresh", "expired", "expired"]


@pytest.mark.parametrize("step", [timedelta(milliseconds=1), MICROSECOND])
def test_ownership_lapses_at_its_very_instant(step: timedelta) -> None:
    """Held until just before the heartbeat timeout has passed, lapsed at it and after it."""
    story = Story()
    story.open(heartbeat_timeout="PT1M")
    item, deadline = story.item, NINE + timedelta(minutes=1)
    results = [ownership(item, item.pauses["p-1"], deadline + n * step) for n in (-1, 0, 1)]
    assert results == ["held", "lapsed", "lapsed"]


@pytest.mark.parametrize(("early", "code"), [(1, "ok"), (0, "no-longer-clear"), (-1, "no-longer-clear")])
def test_an_attempt_at_the_deadline_is_too_late(early: int, code: str) -> None:
    """One millisecond before the deadline an attempt is accepted; at it, and after it, refused."""
    story, fence = granted()
    story.wait(minutes=15, milliseconds=-early)
    assert story.attempt(fence).code == code


@pytest.mark.parametrize(("early", "code"), [(1, "ok"), (0, "lapsed"), (-1, "lapsed")])
def test_a_heartbeat_at_the_lapse_is_too_late(early: int, code: str) -> None:
    """One millisecond before the lapse a heartbeat counts; at it, and after it, nobody comes back."""
    story = Story()
    story.open(heartbeat_timeout="PT1M")
    story.wait(minutes=1, milliseconds=-early)
    assert story.beat().code == code


@pytest.mark.parametrize(
    ("until", "code"),
    [("09:00:00.001Z", "ok"), ("09:00:00Z", "still-stale"), ("08:59:59.999Z", "still-stale")],
)
def test_a_recheck_must_leave_time(until: str, code: str) -> None:
    """A new deadline lies after the entry's instant, or the recheck is refused."""
    story = Story()
    story.open()
    assert story.recheck(fresh_for=None, fresh_until=f"2026-03-28T{until}").code == code
    assert story.review("approve", fresh_until=f"2026-03-28T{until}").code == code


@pytest.mark.parametrize(
    ("time", "minutes"),
    [("2026-03-29T09:00:00Z", 15), ("2026-03-28T08:50:00Z", 5), ("2026-03-28T10:50:00+02:00", 5), (None, 15)],
)
def test_a_publishers_clock_only_makes_staler(time: str | None, minutes: int) -> None:
    """A clock a day ahead gives no more time than the broker's; one behind gives less."""
    story = Story()
    story.open(attributes={"time": time})
    assert story.item.pauses["p-1"].fresh_until == NINE + timedelta(minutes=minutes)


def test_a_publisher_a_day_behind_opens_what_is_stale() -> None:
    """A plan made a day ago for a quarter of an hour is stale when it arrives."""
    story = Story()
    story.open(attributes={"time": "2026-03-27T09:00:00Z"})
    assert story.decision()["decision"] == "review"


def test_a_late_heartbeat_counts_from_when_it_beat() -> None:
    """A heartbeat counts from its own time where that is earlier, and never takes back a later one."""
    story = Story()
    story.open(heartbeat_timeout="PT10M")
    story.wait(minutes=5)
    beat = {"execution": "run-1", "pause": "p-1"}
    story.tell("heartbeat.recorded", "user:ann", {"time": "2026-03-28T09:03:00Z"}, **beat)
    assert story.packet()["heartbeat_at"] == "2026-03-28T09:03:00.000Z"
    story.tell("heartbeat.recorded", "user:ann", {"time": "2026-03-28T09:01:00Z"}, **beat)
    assert story.packet()["heartbeat_at"] == "2026-03-28T09:03:00.000Z"
    story.tell("heartbeat.recorded", "user:ann", {"time": "2026-03-29T09:00:00Z"}, **beat)
    assert story.packet()["heartbeat_at"] == "2026-03-28T09:05:00.000Z"


def test_a_brokers_clock_that_steps_back_moves_no_instant() -> None:
    """The instant never goes back: what had expired stays expired for the next entry."""
    story, fence = granted()
    story.wait(hours=1)
    story.tell("note.added", text="an hour later")
    story.wait(hours=-1)
    assert story.attempt(fence).code == "no-longer-clear"
    assert story.item.instant == NINE + timedelta(hours=1)


def test_a_malformed_entry_moves_no_instant() -> None:
    """A record that is no event says nothing, not even what time it is."""
    story, fence = granted()
    story.wait(hours=1)
    assert story.put(b"{").verdict == "malformed"
    story.wait(hours=-1)
    assert story.attempt(fence).accepted


def test_deadlines_at_the_edge_of_time_are_kept() -> None:
    """A plan that is fresh for ever is fresh until the last instant that can be written."""
    story = Story()
    story.open(fresh_for="P999999999W", heartbeat_timeout="P999999999W", reconcile_within="P999999999W")
    assert story.decision()["valid_until"] == "9999-12-31T23:59:59.999Z"
    story.request()
    assert story.decision()["debt"]["due"] == "9999-12-31T23:59:59.999Z"
