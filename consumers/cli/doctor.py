"""``pauseledger doctor``: looks at everything that a ledger rests on, and says for each finding what to do."""

from __future__ import annotations

import sys
import time
from collections.abc import Iterator
from importlib.metadata import PackageNotFoundError, version

import typer

from consumers.cli import doctor_evidence, doctor_fleet, doctor_kafka
from consumers.cli.finding import Finding
from consumers.cli.options import AsJson, IndexUrl, LogUrl, console, print_json
from consumers.cli.words import counted
from consumers.indexer import Indexer
from consumers.personal.opening import key_store
from consumers.settings import Settings
from ledger.errors import LedgerError
from ledger.index import Index
from ledger.log import Log
from ledger.logs.address import KafkaAddress, log_address

_PACKAGES = ("pauseledger", "eventsourcing", "pydantic", "kafka-python", "orjson", "rfc8785", "typer")
_CLOCK_SKEW_SECONDS = 2.0
_CLOCK_ADVICE = "Set this machine's clock and the log's by NTP: deadlines are judged by the log's."


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
    address = log_address(settings.log_url)
    if isinstance(address, KafkaAddress):
        yield from doctor_kafka.connection(address, settings.kafka_security)
    try:
        log = settings.open_log()
    except LedgerError as error:
        yield Finding("log", "problem", error.problem, error.advice)
        return
    try:
        yield Finding("log", "ok", f"{settings.log_url} answers, with {counted(log.partitions, 'partition')}.")
        if isinstance(address, KafkaAddress):
            yield from doctor_kafka.topic(address, settings.kafka_security)
        yield from _clock(log)
        yield from _index(settings, log)
        yield from doctor_fleet.fleet(settings)
        yield from _personal(settings)
        yield from doctor_evidence.evidence(settings, log)
    finally:
        log.close()


def _personal(settings: Settings) -> Iterator[Finding]:
    """The key store of personal data, where one is set."""
    if not settings.personal_keys:
        return
    try:
        store = key_store(settings)
        try:
            yield Finding("personal keys", "ok", f"{store.look()} is there, and opens.")
        finally:
            store.close()
    except LedgerError as error:
        yield Finding("personal keys", "problem", error.problem, error.advice)


def _versions() -> Iterator[Finding]:
    python = ".".join(str(part) for part in sys.version_info[:3])
    packages = ", ".join(f"{name} {version(name)}" for name in _PACKAGES)
    yield Finding("versions", "ok", f"Python {python}, {packages}.")
    try:
        yield Finding("crc32c", "ok", f"crc32c {version('crc32c')}: batches are checked at full speed.")
    except PackageNotFoundError:
        advice = "Install it: pip install crc32c."
        yield Finding("crc32c", "warning", "Without crc32c a Kafka log is read and written five times slower.", advice)


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
        yield from _looked_into(index, log)
    finally:
        index.close()


def _looked_into(index: Index, log: Log) -> Iterator[Finding]:
    yield from _sound(index)
    try:
        indexer = Indexer(log, index)
    except LedgerError as error:
        yield Finding("history", "problem", error.problem, error.advice)
        return
    yield Finding("history", "ok", "The log still holds all that was indexed, unchanged where it was read last.")
    behind = counted(indexer.entries_ahead(), "entry", "entries")
    yield Finding("index", "ok", f"{index.address} is {behind} behind; every command that reads catches up first.")


def _sound(index: Index) -> Iterator[Finding]:
    try:
        damage = index.recorder.damage()
    except LedgerError as error:
        yield Finding("index", "problem", error.problem, error.advice)
        return
    if damage is not None:
        yield Finding(
            "index", "problem", f"{index.address} is damaged: {damage}.", "Remove it and run: pauseledger rebuild."
        )
