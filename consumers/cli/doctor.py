"""``pauseledger doctor``: looks at everything that a ledger rests on, and says for each finding what to do."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Iterator, Mapping
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Literal, NamedTuple

import typer

from consumers.cli.options import AsJson, IndexUrl, LogUrl, console, print_json
from consumers.indexer import Indexer
from consumers.settings import Settings
from ledger.errors import LedgerError
from ledger.index import Index
from ledger.log import Log
from ledger.logs.address import KafkaAddress, log_address, open_log

_PACKAGES = ("pauseledger", "eventsourcing", "pydantic", "kafka-python", "orjson", "rfc8785", "typer")
_CLOCK_SKEW_SECONDS = 2.0
_CLOCK_ADVICE = "Set this machine's clock and the log's by NTP: deadlines are judged by the log's."


class Finding(NamedTuple):
    """What was looked at, how it is, and what to do where it isn't well."""

    check: str
    level: Literal["ok", "warning", "problem"]
    finding: str
    advice: str = ""


def doctor(as_json: AsJson = False, log: LogUrl = None, index: IndexUrl = None) -> None:
    """Check log, topic settings, clock, index and versions, and say what to do. Exits with 1 on a problem."""
    found = list(examine(Settings.read(log, index)))
    if as_json:
        print_json([one._asdict() for one in found])
    else:
        from consumers.cli import show

        show.findings(console(), [one._asdict() for one in found])
    if any(one.level == "problem" for one in found):
        raise typer.Exit(1)


def examine(settings: Settings) -> Iterator[Finding]:
    """Every finding about a ledger, in the order in which to mend them."""
    yield from _versions()
    try:
        log = open_log(settings.log_url, timeout_seconds=8.0)
    except LedgerError as error:
        yield Finding("log", "problem", error.problem, error.advice)
        return
    try:
        yield Finding("log", "ok", f"{settings.log_url} answers, with {log.partitions} partitions.")
        address = log_address(settings.log_url)
        if isinstance(address, KafkaAddress):
            yield from _topic(address)
        yield from _clock(log)
        yield from _index(settings, log)
    finally:
        log.close()


def _versions() -> Iterator[Finding]:
    python = ".".join(str(part) for part in sys.version_info[:3])
    packages = ", ".join(f"{name} {version(name)}" for name in _PACKAGES)
    yield Finding("versions", "ok", f"Python {python}, {packages}.")
    try:
        yield Finding("crc32c", "ok", f"crc32c {version('crc32c')}: batches are checked at full speed.")
    except PackageNotFoundError:
        advice = "Install it: pip install crc32c."
        yield Finding("crc32c", "warning", "Without crc32c a Kafka log is read and written five times slower.", advice)


def _topic(address: KafkaAddress) -> Iterator[Finding]:
    from ledger.logs.topic import LEDGER_SETTINGS, describe_topic

    try:
        state = describe_topic(",".join(address.servers), address.topic)
    except LedgerError as error:
        yield Finding("topic", "problem", error.problem, error.advice)
        return
    if not state.settings:
        yield Finding("topic", "warning", "These credentials may not see the topic's settings.", "Ask who may.")
    for name, wanted in LEDGER_SETTINGS.items():
        given = state.settings.get(name)
        if given is None or given == wanted:
            continue
        advice = (
            f"kafka-configs.sh --alter --entity-type topics --entity-name {address.topic} --add-config {name}={wanted}"
        )
        yield Finding("topic", "problem", f"{name} is {given}; a ledger needs {wanted}.", f"Run: {advice}")
    yield from _durability(state.settings, state.replication)


def _durability(settings: Mapping[str, str], replicas: int) -> Iterator[Finding]:
    durable = replicas >= 3 and settings.get("flush.messages") == "1" and settings.get("min.insync.replicas") == "2"
    if durable:
        yield Finding("durability", "ok", f"{replicas} replicas, each record flushed to disk.")
    else:
        finding = f"{replicas} replica(s), not flushed by record: a power cut of all can lose acknowledged entries."
        yield Finding("durability", "warning", finding, "Where that matters, make the topic with --durable.")


def _clock(log: Log) -> Iterator[Finding]:
    """The newest entries' times, which the log gave, against our clock: they can't be ahead of it."""
    newest = 0
    for partition, (first, end) in enumerate(log.all_bounds()):
        if end > first and (records := log.read(partition, end - 1, most=1).records):
            newest = max(newest, records[-1].recorded_at)
    ahead = newest / 1_000 - time.time()
    if ahead > _CLOCK_SKEW_SECONDS:
        yield Finding(
            "clock", "problem", f"The log's newest entry lies {ahead:.1f} s ahead of this clock.", _CLOCK_ADVICE
        )
    else:
        yield Finding("clock", "ok", "No entry of the log is ahead of this machine's clock.")


def _index(settings: Settings, log: Log) -> Iterator[Finding]:
    try:
        index = settings.open_index()
    except LedgerError as error:
        yield Finding("index", "problem", error.problem, error.advice)
        return
    try:
        yield from _looked_into(index, log, settings.index_path)
    finally:
        index.close()


def _looked_into(index: Index, log: Log, path: Path) -> Iterator[Finding]:
    yield from _sound(lambda: str(index.recorder.select("PRAGMA quick_check(1)")[0][0]), path)
    try:
        indexer = Indexer(log, index)
    except LedgerError as error:
        yield Finding("history", "problem", error.problem, error.advice)
        return
    yield Finding("history", "ok", "The log still holds all that was indexed, unchanged where it was read last.")
    behind = indexer.entries_ahead()
    yield Finding("index", "ok", f"{path} is {behind:,} entries behind; every command that reads catches up first.")


def _sound(check: Callable[[], str], path: Path) -> Iterator[Finding]:
    try:
        result = check()
    except LedgerError as error:
        yield Finding("index", "problem", error.problem, error.advice)
        return
    if result != "ok":
        yield Finding("index", "problem", f"{path} is damaged: {result}.", "Remove it and run: pauseledger rebuild.")
