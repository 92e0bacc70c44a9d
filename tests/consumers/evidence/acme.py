"""A ledger called acme with a notary, on the embedded log, and what a stranger finds of its tree."""

from __future__ import annotations

import sqlite3
from collections.abc import Callable
from contextlib import closing
from pathlib import Path

from consumers.evidence.journal import Journal, Signed
from consumers.evidence.keys import JOURNAL, new_keys, open_keys
from consumers.evidence.notary import Announcer, Notary
from consumers.evidence.tile_store import TileStore, open_tiles
from ledger.cloudevents import STRUCTURED_HEADERS
from ledger.evidence.leaves import NO_RECORD, leaf_of
from ledger.evidence.merkle import leaf_hash, root_of
from ledger.evidence.notes import Checkpoint
from ledger.evidence.signatures import signed_checkpoint
from ledger.evidence.tiles import Edge, subtrees_of
from ledger.log import Draft
from ledger.logs.sqlite import SqliteLog

ORIGIN = "acme/log/0"


class Acme:
    """The ledger in a folder: ``log.db``, ``keys`` and ``tiles``."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.log_path = folder / "log.db"
        self.keys = folder / "keys"
        self.tiles = folder / "tiles"
        if not self.keys.exists():
            new_keys(self.keys, "acme")
            self.append(0)

    def append(self, count: int, *, text: str = "") -> None:
        """Put so many records on the log, of three work items."""
        with closing(SqliteLog(self.log_path)) as log:
            _, end = log.bounds(0)
            log.append(
                [
                    Draft(0, b"T-%d" % (n % 3), b"{%d%s}" % (n, text.encode()), STRUCTURED_HEADERS)
                    for n in range(end, end + count)
                ]
            )

    def notary(
        self,
        *,
        store: Callable[[TileStore], TileStore] = lambda store: store,
        announcer: Announcer | None = None,
        journal: Journal | None = None,
    ) -> Notary:
        """A notary; ``store`` may put something before its tiles."""
        return Notary(
            SqliteLog(self.log_path, create=False),
            self.keys,
            journal or Journal(self.keys / JOURNAL),
            lambda origin: store(open_tiles(str(self.tiles), origin)),
            announcer,
        )

    def checkpoint(self) -> Signed:
        """What `pauseledger checkpoint` does."""
        with self.notary() as notary:
            return notary.checkpoint(0)

    @property
    def store(self) -> TileStore:
        return open_tiles(str(self.tiles), ORIGIN)

    def published(self) -> Checkpoint | None:
        """The published checkpoint, whose signature must hold."""
        data = self.store.read("checkpoint")
        return None if data is None else signed_checkpoint(data, open_keys(self.keys).verifier)

    def signed(self) -> list[Signed]:
        """All that the journal has."""
        with closing(Journal(self.keys / JOURNAL)) as journal:
            return journal.after(ORIGIN, 0, 10_000)

    def leaf_hashes(self) -> list[bytes]:
        """The hashes of all leaves, made from the log without any of the notary's code."""
        with closing(SqliteLog(self.log_path)) as log:
            _, end = log.bounds(0)
            keys, records = open_keys(self.keys), {one.offset: one for one in log.read(0, 0, most=100_000).records}
            from consumers.evidence.trees import genesis_of

            genesis = genesis_of(keys, log.identity(), 0).leaf()
        leaves = [leaf_of(keys.tag_key, records[n]) if n in records else NO_RECORD for n in range(end)]
        return [leaf_hash(one) for one in (genesis, *leaves)]

    def look_at_all(self) -> None:
        """What must hold after anything: signed roots are those of the log, and the tiles lead to what is published."""
        hashes = self.leaf_hashes()
        signed = {one.checkpoint.size: one.checkpoint for one in self.signed()}
        for size, checkpoint in signed.items():
            assert checkpoint.root == root_of(hashes[:size])
        published = self.published()
        if published is not None:
            assert signed[published.size] == published
            assert Edge.read(published.size, self.store.read).root() == published.root
            leaf = subtrees_of(published.size, self.store.read)
            assert [leaf(0, n) for n in range(published.size)] == hashes[: published.size]

    def change_log(self, statement: str, *values: object) -> None:
        """What an intruder with the log's file does."""
        with closing(sqlite3.connect(self.log_path)) as connection, connection:
            connection.execute(statement, values)
