"""What ``pauseledger doctor`` looks at of evidence, where there is a notary's key; it writes nothing."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime

from consumers.cli.finding import Finding
from consumers.cli.words import counted
from consumers.settings import Settings
from ledger.errors import LedgerError
from ledger.log import Log
from ledger.times import format_instant, from_milliseconds, to_milliseconds

_CHECK = "evidence"


def evidence(settings: Settings, log: Log) -> Iterator[Finding]:
    """The keys, and of each partition whether the log is what was signed and the tiles lead there."""
    from consumers.evidence.keys import JOURNAL, NOTARY_KEY, open_keys

    if not (settings.keys / NOTARY_KEY).exists():
        yield Finding(_CHECK, "ok", "No notary's key: nothing is signed.")
        return
    try:
        keys = open_keys(settings.keys)
    except LedgerError as error:
        yield Finding(_CHECK, "problem", error.problem, error.advice)
        return
    yield Finding(_CHECK, "ok", f"The notary's key in {keys.folder} is {keys.verifier}.")
    if not (keys.folder / JOURNAL).exists():
        yield Finding(_CHECK, "warning", "Nothing was signed yet.", "Run: pauseledger run notary.")
        return
    yield from _trees(settings, log)


def _trees(settings: Settings, log: Log) -> Iterator[Finding]:
    from consumers.evidence.notary import open_notary

    with open_notary(settings, announces=False) as notary:
        for partition, (_, end) in enumerate(log.all_bounds()):
            try:
                tree = notary.look(partition)
            except LedgerError as error:
                yield Finding(_CHECK, "problem", error.problem, error.advice)
                continue
            signed = 0 if tree.signed is None else tree.signed.checkpoint.size - 1
            at = f"Partition {partition} is signed up to {signed:,} of {counted(end, 'offset')}"
            agreed = f"log, journal, tiles in {notary.store_of(partition).where} and what is published agree"
            yield Finding(_CHECK, "ok", f"{at}{_age(log, partition, signed)}; {agreed}.")


def _age(log: Log, partition: int, signed: int) -> str:
    """Up to when it is signed: the time of the last entry under the checkpoint, which the log gave."""
    records = log.read(partition, signed - 1, most=1).records if signed else []
    if not records:
        return ""
    at = records[0].recorded_at
    seconds = max(to_milliseconds(datetime.now(UTC)) - at, 0) // 1_000
    return f", to an entry of {format_instant(from_milliseconds(at))}, {seconds:,} s ago"
