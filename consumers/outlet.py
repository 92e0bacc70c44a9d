"""Where a ledger's output goes: the two topics beside it, what is written there, and how far that got.

The last record of each transaction is a position, under a key of its own: the newest one outlives compaction, and is
read by whoever goes on.
"""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import closing
from typing import Any, NamedTuple

import orjson

from ledger.errors import LogChanged, UnusableLog
from ledger.index import record_digest
from ledger.json_text import write_json
from ledger.log import Identity
from ledger.logs.kafka_emitter import Emitter, Output, last_committed
from ledger.logs.kafka_reader import KafkaReader
from ledger.logs.output_topics import OutputTopics
from ledger.record import Headers, Record
from ledger.verdict import Verdict
from projections.announcements import Announcement

POSITION_KEY = b'["position"]'
"""The key of the record that says how far a partition was emitted; no pause's, for those have two members."""
TOPIC_ID_HEADER = "pauseledger-topic-id"
LONGEST_KEY = 256
"""Characters of a subject; a longer one is none, and is not used as a key."""
TIMEOUT_SECONDS = 10.0


class Place(NamedTuple):
    """How far a partition was emitted: up to ``next_offset``, the last entry with this record and this verdict."""

    next_offset: int = 0
    entry: str | None = None
    record_sha256: str | None = None
    verdict: str | None = None
    code: str | None = None

    def as_json(self) -> bytes:
        return orjson.dumps({"position": self._asdict()})


class Line:
    """One partition that is emitted here: its emitter, and where it stands."""

    def __init__(self, emitter: Emitter, place: Place) -> None:
        self.emitter = emitter
        self.place = place
        self.next = place
        """Where it stands once the transaction under way is settled."""
        self.generation: int | None = None
        """The index's generation in which the place was found to be the ledger's still."""
        self.lacks = 0
        """How often in a row the index lacked an entry that it had said it has."""


class Outlet:
    """Where a ledger's output goes: its two topics, and how they are reached."""

    def __init__(self, servers: str, identity: Identity, topics: OutputTopics, connection: Mapping[str, Any]) -> None:
        self.topics = topics
        self._identity = identity
        self._servers = servers
        self._connection = connection
        self._headers: Headers = (
            ("content-type", b"application/json"),
            (TOPIC_ID_HEADER, identity.topic_id.encode()),
        )

    def opened(self, partition: int) -> Line:
        """Fence whoever emits a partition, and read how far it got."""
        emitter = Emitter(
            self._servers,
            f"pauseledger-{self._identity.topic}-{partition}",
            partition,
            timeout_seconds=TIMEOUT_SECONDS,
            settings=self._connection,
        )
        try:
            return Line(emitter, self._place(partition))
        except BaseException:
            emitter.close()
            raise

    def _place(self, partition: int) -> Place:
        with closing(self._reader(self.topics.decisions)) as reader:
            found = last_committed(reader, partition, POSITION_KEY)
        if found is None:
            with closing(self._reader(self.topics.verdicts)) as reader:
                if last_committed(reader, partition) is not None:
                    problem = (
                        f"{self.topics.verdicts}/{partition} holds verdicts, and {self.topics.decisions} no position."
                    )
                    raise UnusableLog(problem, self.topics.remove)
            return Place()
        was = dict(found.headers).get(TOPIC_ID_HEADER) or b""
        if was != self._identity.topic_id.encode():
            raise LogChanged(
                f"{self.topics.decisions} was made from another topic {self._identity.topic!r}: its id was "
                f"{was.decode(errors='replace')}, and is {self._identity.topic_id} now.",
                self.topics.remove,
            )
        return _place_from(found.value, self.topics)

    def _reader(self, topic: str) -> KafkaReader:
        return KafkaReader(
            self._servers,
            topic,
            self._identity.partitions,
            timeout_seconds=TIMEOUT_SECONDS,
            settings=self._connection,
        )

    def outputs(self, told: Announcement) -> list[Output]:
        """The records of one entry."""
        topics, verdict = self.topics, told.verdict
        subject = verdict.subject
        key = subject.encode() if subject is not None and len(subject) <= LONGEST_KEY else None
        found = [Output(topics.verdicts, key, write_json(verdict.as_dict()), self._headers)]
        for decision in told.decisions:
            pause = write_json([decision["subject"], decision["pause"]])
            found.append(Output(topics.decisions, pause, write_json(decision), self._headers))
        return found

    def position(self, place: Place) -> Output:
        """The record that ends a transaction."""
        return Output(self.topics.decisions, POSITION_KEY, place.as_json(), self._headers)


def _place_from(value: bytes | None, topics: OutputTopics) -> Place:
    try:
        return Place(**orjson.loads(value or b"")["position"])
    except (ValueError, TypeError, KeyError):
        raise UnusableLog(f"{topics.decisions} holds a position that can't be read.", topics.remove) from None


def signs(record: Record, verdict: Verdict) -> tuple[str, str, str, str]:
    """By what an entry that was emitted is known again."""
    return record.entry, record_digest(record).hex(), verdict.verdict, verdict.code
