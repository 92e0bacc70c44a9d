"""Instants and durations as the protocol writes them: RFC 3339 in, RFC 3339 UTC out; ISO 8601 durations.

An instant is an aware ``datetime`` in UTC, a duration a ``timedelta``; both have microseconds. Finer digits are cut, so
a deadline is never later than what was written. What lies outside the years 1 to 9999 is moved to their edge. A leap
second (``:60``) is refused: no clock here can tell it from the second after.
"""

from __future__ import annotations

import re
from datetime import UTC, datetime, timedelta
from functools import lru_cache

EARLIEST = datetime.min.replace(tzinfo=UTC)
LATEST = datetime.max.replace(tzinfo=UTC)
EPOCH = datetime(1970, 1, 1, tzinfo=UTC)

_INSTANT = re.compile(
    r"(\d{4}-\d{2}-\d{2})[Tt]((?:[01]\d|2[0-3]):\d{2}:\d{2})(?:\.(\d+))?(?:([Zz])|([+-])(\d{2}):(\d{2}))", re.ASCII
)
_PLAIN_INSTANT = re.compile(r"\d{4}-\d{2}-\d{2}T(?:[01]\d|2[0-3]):\d{2}:\d{2}(?:\.\d{3}(?:\d{3})?)?Z", re.ASCII)
"""What the standard library reads as we do, which is nearly all: known in half the time that the parts take."""
_NUMBER = r"(\d+(?:[.,]\d+)?)"
_DURATION = re.compile(
    rf"P(?=.)(?:{_NUMBER}W)?(?:{_NUMBER}D)?(?:T(?=.)(?:{_NUMBER}H)?(?:{_NUMBER}M)?(?:{_NUMBER}S)?)?", re.ASCII
)
_SECONDS = (604_800, 86_400, 3_600, 60, 1)
_MOST_DIGITS = 30


def parse_instant(text: str) -> datetime:
    """The instant that an RFC 3339 text names, in UTC. Raises ``ValueError``."""
    if _PLAIN_INSTANT.fullmatch(text) is not None:
        return datetime.fromisoformat(text)
    match = _INSTANT.fullmatch(text)
    if match is None:
        raise ValueError("not an RFC 3339 time with an offset, such as 2026-03-28T09:00:00Z")
    date, clock, fraction, zulu, sign, hours, minutes = match.groups()
    if fraction:
        clock = f"{clock}.{fraction[:6]:0<6}"
    local = datetime.fromisoformat(f"{date}T{clock}+00:00")
    if zulu:
        return local
    if int(hours) > 23 or int(minutes) > 59:
        raise ValueError("not an RFC 3339 time: the offset is out of range")
    offset = timedelta(hours=int(hours), minutes=int(minutes))
    return shifted(local, -offset if sign == "+" else offset)


def shifted(instant: datetime, by: timedelta) -> datetime:
    """``instant + by``, at the edge of what can be written where it would lie beyond."""
    try:
        return instant + by
    except OverflowError:
        return LATEST if by > timedelta(0) else EARLIEST


def format_instant(instant: datetime) -> str:
    """RFC 3339 in UTC, cut to milliseconds, with ``Z``."""
    return f"{instant.isoformat(timespec='milliseconds')[:-6]}Z"


@lru_cache(maxsize=1_024)  # a batch has few distinct times
def from_milliseconds(milliseconds: int) -> datetime:
    """The instant that a log's clock names, in milliseconds since 1970; at the edge where it lies beyond."""
    try:
        return EPOCH + timedelta(milliseconds=milliseconds)
    except OverflowError:
        return LATEST if milliseconds > 0 else EARLIEST


@lru_cache(maxsize=1_024)
def to_milliseconds(instant: datetime) -> int:
    """The inverse of :func:`from_milliseconds`; finer digits are cut."""
    return (instant - EPOCH) // timedelta(milliseconds=1)


@lru_cache(maxsize=1_024)  # few distinct durations are ever used
def parse_duration(text: str) -> timedelta:
    """A positive ISO 8601 duration of weeks, days, hours, minutes and seconds. Raises ``ValueError``.

    Only its last part may have a fraction.
    """
    match = _DURATION.fullmatch(text)
    if match is None:
        raise ValueError("not a duration of weeks, days, hours, minutes and seconds, such as PT15M")
    parts = [(number.replace(",", "."), unit) for number, unit in zip(match.groups(), _SECONDS, strict=True) if number]
    if any("." in number for number, _ in parts[:-1]):
        raise ValueError("not an ISO 8601 duration: only the last part may have a fraction")
    if not any(digit in "123456789" for number, _ in parts for digit in number):
        raise ValueError("a duration must be positive")
    try:
        return timedelta(microseconds=sum(_microseconds(number, unit) for number, unit in parts))
    except OverflowError:
        return timedelta.max


def _microseconds(number: str, seconds: int) -> int:
    """So many units of so many seconds each. Integers only: finer digits are cut, and no length of text is too long."""
    whole, _, fraction = number.partition(".")
    whole = whole.lstrip("0")
    if len(whole) > _MOST_DIGITS:
        raise OverflowError
    fraction = fraction[:_MOST_DIGITS]
    unit = seconds * 1_000_000
    cut: int = int(fraction or "0") * unit // 10 ** len(fraction)
    return int(whole or "0") * unit + cut


def format_duration(duration: timedelta) -> str:
    """ISO 8601 in days, hours, minutes and seconds: ``PT15M``, ``P2D``, ``P1DT0.5S``."""
    minutes, seconds = divmod(duration.seconds, 60)
    hours, minutes = divmod(minutes, 60)
    fraction = f".{duration.microseconds:06d}".rstrip("0") if duration.microseconds else ""
    clock = "".join(f"{number}{unit}" for number, unit in ((hours, "H"), (minutes, "M")) if number)
    if seconds or fraction:
        clock += f"{seconds}{fraction}S"
    days = f"{duration.days}D" if duration.days else ""
    return f"P{days}T{clock}" if clock else f"P{days}" if days else "PT0S"
