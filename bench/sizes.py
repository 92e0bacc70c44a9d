"""How much each figure measures: as `make bench` runs it, and small, to see that it runs at all."""

from __future__ import annotations

from typing import NamedTuple


class Sizes(NamedTuple):
    """Counts of entries, unless said otherwise."""

    rounds: int
    fold: int
    kafka: int
    publish: int
    saved: int
    one_by_one: int
    long_life: int
    small_ledger: int
    large_ledger: int
    decisions: int
    decision_commands: int
    memory_small: int
    memory_large: int
    http_reads: int
    few_rounds: int
    following_seconds: float
    langgraph: int
    """Runs, each with one interrupt."""
    evidence: int
    leaves: int


FULL = Sizes(
    rounds=5,
    fold=30_000,
    kafka=200_000,
    publish=20_000,
    saved=2_000,
    one_by_one=1_000,
    long_life=10_000,
    small_ledger=1_000,
    large_ledger=1_000_000,
    decisions=200,
    decision_commands=5,
    memory_small=100_000,
    memory_large=1_000_000,
    http_reads=5_000,
    few_rounds=3,
    following_seconds=20.0,
    langgraph=200,
    evidence=1_000_000,
    leaves=200_000,
)
SMALL = Sizes(
    rounds=1,
    fold=300,
    kafka=600,
    publish=200,
    saved=20,
    one_by_one=10,
    long_life=300,
    small_ledger=100,
    large_ledger=600,
    decisions=5,
    decision_commands=1,
    memory_small=200,
    memory_large=800,
    http_reads=40,
    few_rounds=1,
    following_seconds=2.0,
    langgraph=20,
    evidence=300,
    leaves=600,
)
