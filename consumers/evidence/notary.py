"""Signing: tiles first, then the journal, then the published checkpoint, then the topic of checkpoints.

So whoever sees a checkpoint finds its tiles, and nothing that was seen can be unknown to us after a crash. Killed in
between, the next one publishes what the journal has. No write is trusted to have failed because it said so.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import ExitStack, suppress
from pathlib import Path
from types import TracebackType
from typing import Protocol, Self

from consumers.evidence.journal import Journal, Signed
from consumers.evidence.keys import JOURNAL, open_keys
from consumers.evidence.tile_store import TileStore, open_tiles
from consumers.evidence.trees import Progress, Tree, published_by, refuse_unknown
from consumers.evidence.witnesses import lines_of_strangers, lines_that_hold
from consumers.settings import Settings
from ledger.errors import Fenced, UnusableLog, WrongUsage
from ledger.evidence.leaves import index_of
from ledger.evidence.merkle import consistency_proof
from ledger.evidence.notes import Checkpoint, Note, Signature
from ledger.evidence.signatures import signed_by
from ledger.evidence.tiles import CHECKPOINT_PATH, subtrees_of
from ledger.log import Identity, Log
from ledger.logs.address import KafkaAddress, log_address

_TRIES = 20
_MOST_STRANGERS = 64
"""So many lines that say nothing to us are kept beside a published checkpoint, for those to whom they do."""

OpenStore = Callable[[str], TileStore]
"""Opens the files of the tree of an origin."""


class Announcer(Protocol):
    """Puts checkpoints onto the topic of checkpoints."""

    def announce(self, partition: int, origin: str, note: bytes) -> None:
        """Recorded when it returns. Raises ``LogUnavailable``."""
        ...

    def newest(self, partition: int, origin: str) -> bytes | None:
        """The note announced last; null where there is none."""
        ...

    def close(self) -> None: ...


class Notary:
    """Signs the trees of a log. Not thread-safe. After an error a partition is opened anew, from what was kept."""

    def __init__(
        self,
        log: Log,
        folder: Path,
        journal: Journal,
        open_store: OpenStore,
        announcer: Announcer | None = None,
    ) -> None:
        self.log = log
        self.keys = open_keys(folder)
        self.identity: Identity = log.identity()
        self.journal = journal
        self._open_store = open_store
        self._announcer = announcer
        self._trees: dict[int, Tree] = {}

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """Close all that was opened."""
        with ExitStack() as closing:
            closing.callback(self.log.close)
            closing.callback(self.journal.close)
            if self._announcer is not None:
                closing.callback(self._announcer.close)

    def store_of(self, partition: int) -> TileStore:
        """Where the tiles of a partition lie."""
        return self._open_store(self.origin_of(partition))

    def origin_of(self, partition: int) -> str:
        """The origin of a partition's checkpoints."""
        if not 0 <= partition < self.identity.partitions:
            raise WrongUsage(f"The log has no partition {partition}: it has {self.identity.partitions}, from 0 on.")
        return f"{self.keys.name}/{self.identity.topic}/{partition}"

    def tree(self, partition: int) -> Tree:
        """A partition's tree, opened where it isn't, and what was signed of it published."""
        if partition not in self._trees:
            tree = self.look(partition)
            if tree.signed is not None:
                tree.signed = self._told(partition, tree.store, tree.signed)
            self._trees[partition] = tree
        return self._trees[partition]

    def look(self, partition: int) -> Tree:
        """A partition's tree as it was signed; nothing is written.

        Raises ``LogChanged`` or ``UnusableLog`` unless log, journal, tiles and what was published agree.
        """
        tree = Tree(self.log, self.keys, self.identity, partition, self.store_of(partition), self.journal)
        for _, checkpoint, where in self.seen(partition):
            refuse_unknown(self.journal, checkpoint, where)
        return tree

    def seen(self, partition: int) -> list[tuple[Note, Checkpoint, str]]:
        """What strangers may have seen: the published checkpoint, and the one announced last; where each is.

        Raises ``UnusableLog`` where the published one is not ours. Anybody may write onto a topic: what is not ours
        there says nothing.
        """
        origin, store = self.origin_of(partition), self.store_of(partition)
        found = []
        published = store.read(CHECKPOINT_PATH)
        if published is not None:
            found.append((*published_by(self.keys, origin, published, store.where), store.where))
        announced = None if self._announcer is None else self._announcer.newest(partition, origin)
        if announced is not None:
            with suppress(UnusableLog):
                where = f"{self.identity.topic}.checkpoints"
                found.append((*published_by(self.keys, origin, announced, where), where))
        return found

    def look_again(self, partition: int) -> None:
        """While nothing comes: the log must be the one that was signed, and what stands is signed by the key of now."""
        try:
            tree = self.tree(partition)
            tree.check_log()
            self.keys = open_keys(self.keys.folder)  # they may have been rotated
            if tree.signed is not None and not signed_by(tree.signed.note, self.keys.verifier):
                tree.signed = self._told(partition, tree.store, tree.signed)
        except BaseException:
            self.forget(partition)
            raise

    def forget(self, partition: int) -> None:
        """Open the partition's tree anew next time."""
        self._trees.pop(partition, None)

    def checkpoint(self, partition: int, progress: Progress | None = None) -> Signed:
        """Bring a tree up to the log's end and sign it. Where nothing is new that is the checkpoint signed last.

        Where another notary is faster, and has signed all that the log held when this began, that one is given.
        """
        self.origin_of(partition)
        wanted = index_of(self.log.bounds(partition)[1])
        for turn in range(_TRIES):
            try:
                tree = self.tree(partition)
                if turn and tree.signed is not None and tree.signed.checkpoint.size >= wanted:
                    return tree.signed  # by the other notary, and published
                tree.catch_up(progress)
                return self._sign(tree)
            except BaseException as error:
                self.forget(partition)
                if not isinstance(error, Fenced) or turn == _TRIES - 1:
                    raise  # else another notary was faster: go on from what it has signed
        raise AssertionError

    def sign(self, partition: int) -> Signed:
        """Sign what was read of a partition, if it is more than was signed, and publish it."""
        try:
            return self._sign(self.tree(partition))
        except BaseException:
            self.forget(partition)
            raise

    def _sign(self, tree: Tree) -> Signed:
        tree.check_log()
        self.keys = open_keys(self.keys.folder)  # they may have been rotated
        before = tree.signed
        if before is None or tree.unsigned:
            checkpoint = tree.stage()
            proof = []
            if before is not None:
                subtrees = subtrees_of(checkpoint.size, tree.store.read)
                proof = consistency_proof(before.checkpoint.size, checkpoint.size, subtrees)
            note = Note(checkpoint.text, (self.keys.signer.sign(checkpoint.text),))
            signed = Signed(checkpoint, note, tree.no_record)
            self.journal.record(tree.genesis, signed, before, proof)
            tree.go_on_from(signed)
        assert tree.signed is not None
        tree.signed = self._told(tree.partition, tree.store, tree.signed)
        return tree.signed

    def _told(self, partition: int, store: TileStore, signed: Signed) -> Signed:
        """Publish a checkpoint of the journal, signed by the key of now; the note as it is then."""
        if not signed_by(signed.note, self.keys.verifier):  # the keys were rotated
            added = self.keys.signer.sign(signed.note.text)
            signed = self.journal.add_signatures(signed.checkpoint, [added], first=True)
        signed = self.publish(store, signed)
        newest = self.journal.newest(signed.checkpoint.origin)
        is_newest = newest is not None and newest.checkpoint == signed.checkpoint
        if self._announcer is not None and is_newest and not signed.announced:
            self._announcer.announce(partition, signed.checkpoint.origin, str(signed.note).encode())
            self.journal.tell_announced(signed)
            signed = signed._replace(announced=True)
        return signed

    def add_signatures(self, partition: int, checkpoint: Checkpoint, added: Sequence[Signature]) -> Signed:
        """Keep what others have signed beside us, and publish it where it is of the newest checkpoint."""
        signed = self.journal.add_signatures(checkpoint, added)
        newest = self.journal.newest(checkpoint.origin)
        if newest is not None and newest.checkpoint == checkpoint:
            self.forget(partition)
            signed = self._told(partition, self.store_of(partition), signed)
        return signed

    def publish(self, store: TileStore, signed: Signed) -> Signed:
        """Publish a checkpoint of the journal, unless a newer one is; what others have signed beside it is kept."""
        for turn in range(_TRIES):
            found = store.read(CHECKPOINT_PATH)
            strangers: list[Signature] = []
            if found is not None:
                note, checkpoint = published_by(self.keys, signed.checkpoint.origin, found, store.where)
                refuse_unknown(self.journal, checkpoint, store.where)
                if checkpoint.size > signed.checkpoint.size:
                    return signed  # another notary's, which the journal has
                if checkpoint == signed.checkpoint:
                    signed = self.journal.add_signatures(checkpoint, lines_that_hold(self.keys, note))
                    strangers = lines_of_strangers(self.keys, note)[:_MOST_STRANGERS]
            beside = signed.note._replace(signatures=(*signed.note.signatures, *strangers))
            data = str(beside).encode()
            try:
                if data != found:
                    store.publish(data, found)
                return signed
            except Fenced:
                if turn == _TRIES - 1:
                    raise
        raise AssertionError


def open_notary(settings: Settings, *, announces: bool = True) -> Notary:
    """What signs the log of these settings; not onto the topic of checkpoints where it only reads.

    Raises ``WrongUsage`` where there are no keys.
    """
    keys = open_keys(settings.keys)
    with ExitStack() as opened:
        log = settings.open_log()
        opened.callback(log.close)
        journal = Journal(keys.folder / JOURNAL)
        opened.callback(journal.close)
        announcer = _announcer(settings) if announces else None
        if announcer is not None:
            opened.callback(announcer.close)
        notary = Notary(log, keys.folder, journal, lambda origin: open_tiles(settings.tiles_place, origin), announcer)
        opened.pop_all()
        return notary


def _announcer(settings: Settings) -> Announcer | None:
    address = log_address(settings.log)
    if not isinstance(address, KafkaAddress):
        return None
    from consumers.evidence.announcing import KafkaAnnouncer

    return KafkaAnnouncer(",".join(address.servers), address.topic, settings.kafka_security.kafka_python())


def latest(settings: Settings, partition: int) -> bytes | None:
    """The newest signed checkpoint of a partition as published, or null. Raises ``UnusableLog`` where it isn't ours."""
    keys = open_keys(settings.keys)
    address = log_address(settings.log)
    topic = address.topic if isinstance(address, KafkaAddress) else "log"
    origin = f"{keys.name}/{topic}/{partition}"
    store = open_tiles(settings.tiles_place, origin)
    found = store.read(CHECKPOINT_PATH)
    if found is not None:
        published_by(keys, origin, found, store.where)
    return found
