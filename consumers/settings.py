"""Where the ledger is: the addresses of log and index, from the environment or given, and how both are opened."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple, Self

from consumers.indexer import Indexer
from ledger.errors import UnusableLog, WrongUsage
from ledger.index import Index
from ledger.log import Log
from ledger.logs.address import DEFAULT_URL, index_url_for, log_address, open_log
from projections.deadlines import Deadlines
from projections.decisions import Decisions
from projections.owners import Owners
from projections.trail import Trail


@dataclass(frozen=True)
class Ledger:
    """An opened ledger: its log, its index, and the indexer that keeps the one up to the other."""

    log: Log
    index: Index
    indexer: Indexer

    def close(self) -> None:
        self.index.close()
        self.log.close()


class Settings(NamedTuple):
    """The addresses, checked."""

    log_url: str
    index_path: Path

    @classmethod
    def read(cls, log_url: str | None = None, index_url: str | None = None) -> Self:
        """From what was given, else ``PAUSELEDGER_LOG`` and ``PAUSELEDGER_INDEX``, else the defaults."""
        log_url = log_url or os.environ.get("PAUSELEDGER_LOG") or DEFAULT_URL
        log_address(log_url)
        index_url = index_url or os.environ.get("PAUSELEDGER_INDEX") or index_url_for(log_url)
        return cls(log_url, _index_path(index_url))

    def open(self, *, create: bool = False, start_over: bool = False, timeout_seconds: float = 8.0) -> Ledger:
        """Open log and index; ``create`` makes the embedded log's file where there is none, ``start_over`` empties the
        index once the log is known to be there.
        """
        log = open_log(self.log_url, create=create, timeout_seconds=timeout_seconds)
        try:
            index = self.open_index()
            try:
                if start_over:
                    index.start_over()
                return Ledger(log, index, Indexer(log, index))
            except BaseException:
                index.close()
                raise
        except BaseException:
            log.close()
            raise

    def open_index(self) -> Index:
        """Open the index, which is made where there is none."""
        path = self.index_path
        if path.is_dir():
            raise UnusableLog(f"{path} is a folder, not an index file.", "Name a file in it: sqlite:///FOLDER/FILE.")
        if not path.parent.is_dir():
            raise UnusableLog(f"There is no folder {path.parent}.", "Make it first, or name another file.")
        return Index(path, [Trail(), Decisions(), Deadlines(), Owners()])


def _index_path(url: str) -> Path:
    if url.startswith("postgresql:"):
        raise WrongUsage("An index in PostgreSQL is not in this version.", "Use sqlite:///FILE for PAUSELEDGER_INDEX.")
    try:
        address = log_address(url)
    except WrongUsage:
        address = None
    if not isinstance(address, Path):
        raise WrongUsage(f"{url!r} is no address of an index.", "Use sqlite:///FILE for PAUSELEDGER_INDEX.")
    return address
