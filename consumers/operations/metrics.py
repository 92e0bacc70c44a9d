"""What Prometheus scrapes. A job counts here what it did; what is the same for all jobs is counted by the fleet.

Labels have few values, whatever publishers write: a type that the ledger doesn't know is ``unknown``.
"""

from __future__ import annotations

from collections import Counter as Tally
from collections.abc import Sequence

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram

from ledger.events import EVENT_TYPES
from ledger.verdict import Verdict

REGISTRY = CollectorRegistry()
_PREFIX = "pauseledger."
_SECONDS = (0.002, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 10.0, 30.0)
_ENTRIES = (1, 4, 16, 64, 256, 1_024, 4_096, 16_384)

LAG_ENTRIES = Gauge(
    "pauseledger_lag_entries", "Offsets of the log that are not in the index.", ["partition"], registry=REGISTRY
)
LAG_SECONDS = Gauge(
    "pauseledger_lag_seconds",
    "How long ago the first entry was recorded that is not in the index; 0 where there is none.",
    ["partition"],
    registry=REGISTRY,
)
MEASURED = Gauge(
    "pauseledger_measured_timestamp_seconds", "When lag, decisions and debts were measured last.", registry=REGISTRY
)
DECISIONS = Gauge(
    "pauseledger_decisions",
    "Pauses by the branch they take as of their work item's last entry.",
    ["decision"],
    registry=REGISTRY,
)
DEBTS = Gauge(
    "pauseledger_debts",
    "Outcomes that nobody knows: open ones, and of those the overdue.",
    ["state"],
    registry=REGISTRY,
)
EXPIRED_UNDECIDED = Gauge(
    "pauseledger_expired_undecided", "Pauses that have expired and were never decided.", registry=REGISTRY
)
VERDICTS = Counter(
    "pauseledger_verdicts", "Entries folded into the index here.", ["verdict", "code", "type"], registry=REGISTRY
)
BATCH_SECONDS = Histogram(
    "pauseledger_batch_seconds",
    "From the read of a batch until it was handed over to be committed.",
    ["job"],
    buckets=_SECONDS,
    registry=REGISTRY,
)
BATCH_ENTRIES = Histogram(
    "pauseledger_batch_entries", "Entries in a batch.", ["job"], buckets=_ENTRIES, registry=REGISTRY
)
FENCED = Counter(
    "pauseledger_fenced_batches",
    "Batches that were dropped because another process had moved the position.",
    ["job"],
    registry=REGISTRY,
)
ALERTS = Counter("pauseledger_alerts", "Alerts that a watcher here was the first to keep.", ["kind"], registry=REGISTRY)
CALLBACKS = Counter(
    "pauseledger_callbacks", "Calls of Step Functions, and what became of them.", ["call", "result"], registry=REGISTRY
)
CHECKPOINT_LEAVES = Gauge(
    "pauseledger_checkpoint_leaves",
    "The size of the newest checkpoint that was signed here: entries, and the genesis.",
    ["partition"],
    registry=REGISTRY,
)
CHECKPOINT_SECONDS = Gauge(
    "pauseledger_checkpoint_timestamp_seconds",
    "When it was signed: its age is time() less this.",
    ["partition"],
    registry=REGISTRY,
)
NO_RECORD_LEAVES = Gauge(
    "pauseledger_checkpoint_no_record_leaves",
    "How many of its leaves stand for offsets that hold no readable record.",
    ["partition"],
    registry=REGISTRY,
)
ERRORS = Counter(
    "pauseledger_errors", "Failures that were waited out, and those that halted.", ["job", "error"], registry=REGISTRY
)
WAITING = Gauge(
    "pauseledger_waiting", "1 while a job waits for a log or an index that is away.", ["job"], registry=REGISTRY
)
PARTITIONS = Gauge("pauseledger_partitions", "Partitions that a job here works on.", ["job"], registry=REGISTRY)


def count_verdicts(verdicts: Sequence[Verdict]) -> None:
    """Count a batch that is in the index."""
    told = Tally((one.verdict, one.code, one.type) for one in verdicts)
    for (verdict, code, kind), count in told.items():
        VERDICTS.labels(verdict, code, short_type(kind)).inc(count)


def short_type(kind: str | None) -> str:
    """A type without the prefix that all have; ``unknown`` for what is none of this ledger."""
    return kind.removeprefix(_PREFIX) if kind in EVENT_TYPES else "unknown"
