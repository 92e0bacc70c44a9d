"""Everything that runs: :mod:`~consumers.indexer`, :mod:`~consumers.publishing` (the publisher, put together), the
command line (``consumers.cli``), the demo (``consumers.demo``), and :mod:`~consumers.settings`, where the ledger is.
"""

__all__ = ()
