"""What an adapter says when the package of its runtime isn't there."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager


@contextmanager
def needs(extra: str) -> Iterator[None]:
    """Import a runtime in here: where it is missing, the error says which extra of ours brings it."""
    try:
        yield
    except ModuleNotFoundError as error:
        if (error.name or "").startswith(("ledger", "projections", "consumers")):
            raise  # a fault of ours
        advice = f"{error.name} is not installed: pip install 'pauseledger[{extra}]'"
        raise ImportError(advice, name=error.name) from error
