"""What can go wrong that the caller must fix. Refusals are not here: those are verdicts, never exceptions.

Each error says what happened and what to do next, and knows its exit code and HTTP status.
"""

from __future__ import annotations


class LedgerError(Exception):
    """The root of the tree. ``advice`` is one sentence that says what to do."""

    exit_code = 1
    http_status = 500

    def __init__(self, problem: str, advice: str = "") -> None:
        super().__init__(problem)
        self.problem = problem
        self.advice = advice

    def __str__(self) -> str:
        return f"{self.problem} {self.advice}".strip()


class WrongUsage(LedgerError):
    """A flag, an address or a time that can't be meant as it was given."""

    exit_code = 2
    http_status = 400


class NotFound(LedgerError):
    """A work item, a pause or an entry that the ledger does not hold."""

    http_status = 404


class LogUnavailable(LedgerError):
    """The log, or the index, can't be reached or written now. Nothing was lost; it may work again later."""

    http_status = 503


class DiskFailed(LedgerError):
    """The disk can't take it: full, or broken. What was not acknowledged may or may not be there: send it again."""

    http_status = 507


class UnusableLog(LedgerError):
    """It can be reached, and is no ledger: not ours, damaged, of a newer version, or set up so that it would lie."""


class LogChanged(LedgerError):
    """The log is not the one that was read before: made again, cut, restored or given more partitions. Readers halt."""


class Fenced(LedgerError):
    """Another indexer moved the position in the meantime: what was prepared is dropped, and read again."""
