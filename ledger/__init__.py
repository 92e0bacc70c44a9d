"""The ledger: what a pause is, what an entry is worth, and where both are kept.

Pure, no I/O: :mod:`~ledger.events`, :mod:`~ledger.cloudevents`, :mod:`~ledger.packet`, :mod:`~ledger.checks`,
:mod:`~ledger.branch_table`, :mod:`~ledger.decision`, :mod:`~ledger.refusals`, :mod:`~ledger.changes`,
:mod:`~ledger.fold`, :mod:`~ledger.verdict`. The edges: :mod:`~ledger.log` (the port) and ``ledger.logs`` (a file per
backend), :mod:`~ledger.publisher` with its :mod:`~ledger.outbox`, :mod:`~ledger.index` with ``ledger.recorders``.

To publish from Python: :func:`consumers.publishing.open_publisher`.
"""

__all__ = ()
