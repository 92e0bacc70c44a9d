"""What is known now: :mod:`~projections.decisions` (which branch each pause takes), :mod:`~projections.trail` (every
entry
with its verdict). Tables beside the entries of the index, written in the same transaction.
"""

__all__ = ()
