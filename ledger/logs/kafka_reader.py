"""Reading a Kafka topic: one consumer without a group, at offsets that the caller names.

Never a record that isn't committed, never a reset: an offset that the log doesn't have is ``LogChanged``. Partitions
that were read once are followed: their records are fetched together and wait in a bounded buffer, so that neither
reading on nor going round the partitions seeks.
"""

from __future__ import annotations

import time
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from kafka import KafkaConsumer, TopicPartition
from kafka import errors as kafka_errors

from ledger.cloudevents import STRUCTURED_HEADERS
from ledger.errors import LogChanged, LogUnavailable, UnusableLog
from ledger.log import Slice
from ledger.logs.kafka_client import Settings, connected, explained
from ledger.logs.kafka_names import read_any_header_name
from ledger.record import Record, new_record

_LOG_APPEND_TIME = 1
_NOWHERE = -1
_MOST_BUFFERED = 4000
_ALL = 1_000_000
"""Every poll takes all that was fetched, some ``_FETCH_BYTES`` a partition: where kafka-python has to keep a part, and
the partition is paused, it may never give that part out again."""
_FETCH_BYTES = 4 * 1024 * 1024
_RETRY_MS = 10
"""How long kafka-python sleeps where it finds nothing in flight, as after a pause."""
_FETCH_WAIT_MS = 100
"""How long a broker may hold an empty answer: as long may a partition that is newly read have to wait."""


class _Feed:
    """What was fetched of one partition: ``records[at:]`` are unread; ``offset`` is the next to be read."""

    def __init__(self, partition: TopicPartition) -> None:
        self.partition = partition
        self.offset = _NOWHERE
        self.records: list[Any] = []
        self.at = 0

    @property
    def unread(self) -> int:
        return len(self.records) - self.at

    def move_to(self, offset: int) -> None:
        self.offset, self.records, self.at = offset, [], 0

    def add(self, polled: Sequence[Any]) -> None:
        self.records = self.records[self.at :] + list(polled) if self.unread else list(polled)
        self.at = 0

    def take(self, most: int) -> list[Any]:
        taken = self.records[self.at : self.at + most]
        self.at += len(taken)
        return taken


class KafkaReader:
    """Reads ``topic``. Not thread-safe. The consumer is made at the first read."""

    def __init__(
        self, servers: str, topic: str, partitions: int, *, timeout_seconds: float, settings: Settings
    ) -> None:
        self._servers = servers
        self._topic = topic
        self._timeout_seconds = timeout_seconds
        self._settings = settings
        self._feeds = [_Feed(TopicPartition(topic, number)) for number in range(partitions)]
        self._made: KafkaConsumer | None = None

    def close(self) -> None:
        """Close the consumer."""
        if self._made is not None:
            self._made.close(autocommit=False, timeout_ms=0)
            self._made = None

    def bounds(self, partition: int) -> tuple[int, int]:
        """The first offset kept, and the end of what is committed."""
        return self.all_bounds([partition])[0]

    def all_bounds(self, partitions: Iterable[int]) -> list[tuple[int, int]]:
        """The bounds of several partitions."""
        asked = [self._feeds[partition].partition for partition in partitions]
        timeout_ms = int(self._timeout_seconds * 1000)
        with explained(self._topic, self._servers):
            first = self._consumer().beginning_offsets(asked, timeout_ms=timeout_ms)
            end = self._consumer().end_offsets(asked, timeout_ms=timeout_ms)
        return [(first[one], end[one]) for one in asked]

    def read(self, partition: int, offset: int, most: int, wait_seconds: float) -> Slice:
        """See the port. An empty slice says that there is nothing more to read: the end was asked for."""
        with explained(self._topic, self._servers):
            feed = self._at(partition, offset)
            if not feed.unread:
                self._fill(feed, time.monotonic() + wait_seconds)
            taken = feed.take(most)
            feed.offset = taken[-1].offset + 1 if feed.unread else self._position(feed)
            return Slice(_records(partition, taken), feed.offset)

    def ready(self, offsets: Mapping[int, int], wait_seconds: float) -> list[int]:
        """See the port. Polls at least once where nothing is buffered, and returns with the first that came."""
        with explained(self._topic, self._servers):
            wanted = [self._at(partition, offset) for partition, offset in offsets.items()]
            self._follow_only(wanted)
            if not any(feed.unread for feed in wanted):
                self._poll(wanted, wait_seconds)
            return [feed.partition.partition for feed in wanted if feed.unread or self._position(feed) != feed.offset]

    def _follow_only(self, wanted: Sequence[_Feed]) -> None:
        """Fetch nothing of the other partitions any longer: they are somebody else's."""
        paused = self._consumer().paused()
        for feed in self._feeds:
            if feed not in wanted and feed.partition not in paused:
                self._consumer().pause(feed.partition)
                feed.move_to(_NOWHERE)

    def _at(self, partition: int, offset: int) -> _Feed:
        """The feed of a partition, at an offset: moved there unless it is there already."""
        feed = self._feeds[partition]
        consumer = self._consumer()
        if offset < 0:
            raise self._changed(feed, offset)
        if feed.offset != offset:
            consumer.seek(feed.partition, offset)
            feed.move_to(offset)
        if not feed.unread:
            consumer.resume(feed.partition)
        return feed

    def _fill(self, feed: _Feed, deadline: float) -> None:
        """Poll until the feed has a record, or the time is over and it is at the end of the log."""
        give_up = max(deadline, time.monotonic() + self._timeout_seconds)
        while not feed.unread:
            left = deadline - time.monotonic()
            if left <= 0 and self._is_at_end(feed):
                return
            if time.monotonic() > give_up:
                raise LogUnavailable(
                    f"Kafka at {self._servers} gave no record of {self._topic!r} within {self._timeout_seconds:g} s.",
                    "See that all brokers run.",
                )
            self._poll([feed], left if left > 0 else _FETCH_WAIT_MS / 1000)

    def _is_at_end(self, feed: _Feed) -> bool:
        position = self._position(feed)
        _, end = self.bounds(feed.partition.partition)
        if position > end:
            raise self._changed(feed, position)
        return position == end

    def _position(self, feed: _Feed) -> int:
        """Where the consumer would fetch next: past gaps and control records that it has seen."""
        position = self._consumer().position(feed.partition, timeout_ms=int(self._timeout_seconds * 1000))
        return feed.offset if position is None else int(position)

    def _poll(self, wanted: Sequence[_Feed], wait_seconds: float) -> None:
        try:
            polled = self._consumer().poll(int(wait_seconds * 1000), max_records=_ALL)
        except kafka_errors.OffsetOutOfRangeError as error:
            self._drop(wanted, error)
        except kafka_errors.LogTruncationError as error:
            cut = next((feed for feed in wanted if feed.partition in _named_by(error)), wanted[0])
            offset, cut.offset = cut.offset, _NOWHERE
            raise self._changed(cut, offset) from error
        else:
            for partition, records in polled.items():
                self._buffer(self._feeds[partition.partition], records, wanted)

    def _buffer(self, feed: _Feed, records: Sequence[Any], wanted: Sequence[_Feed]) -> None:
        """Keep records; a partition that is not being read is paused when it has enough of them.

        Never the one that is: kafka-python sleeps when nothing is in flight, and after a pause nothing is.
        """
        feed.add(records)
        if feed not in wanted and feed.unread >= _MOST_BUFFERED:
            self._consumer().pause(feed.partition)

    def _drop(self, wanted: Sequence[_Feed], error: kafka_errors.OffsetOutOfRangeError) -> None:
        """Stop following the partitions at fault; an error for the caller only where it asked for one of them."""
        lost = _named_by(error)
        for feed in self._feeds:
            if feed.partition in lost and feed not in wanted:
                self._consumer().pause(feed.partition)
                feed.move_to(_NOWHERE)
        for feed in wanted:
            if feed.partition in lost or not lost:
                offset, feed.offset = feed.offset, _NOWHERE
                raise self._changed(feed, offset) from error

    def _changed(self, feed: _Feed, offset: int) -> LogChanged:
        first, end = self.bounds(feed.partition.partition)
        return LogChanged(
            f"{self._topic}/{feed.partition.partition} has no offset {offset}: it goes from {first} to {end}.",
            "The topic was cut, restored or made again: put the right one back, or rebuild the index.",
        )

    def _consumer(self) -> KafkaConsumer:
        if self._made is None:
            self._made = self._new_consumer()
            self._made.assign([feed.partition for feed in self._feeds])
            for feed in self._feeds:
                self._made.seek(feed.partition, 0)  # it must be somewhere; read() says where
                self._made.pause(feed.partition)
        return self._made

    def _new_consumer(self) -> KafkaConsumer:
        read_any_header_name()
        return connected(
            KafkaConsumer,
            self._servers,
            self._timeout_seconds,
            group_id=None,
            enable_auto_commit=False,
            auto_offset_reset="none",
            isolation_level="read_committed",
            allow_auto_create_topics=False,
            check_crcs=True,
            max_partition_fetch_bytes=_FETCH_BYTES,
            fetch_max_bytes=4 * _FETCH_BYTES,
            fetch_max_wait_ms=_FETCH_WAIT_MS,
            retry_backoff_ms=_RETRY_MS,
            metrics_enabled=False,
            **self._settings,
        )


def _named_by(error: Exception) -> set[TopicPartition]:
    """The partitions that an error of kafka-python is about, where it says so."""
    return set(error.args[0]) if error.args and isinstance(error.args[0], dict) else set()


def _records(partition: int, polled: Sequence[Any]) -> list[Record]:
    records = []
    for found in polled:
        if found.timestamp_type != _LOG_APPEND_TIME:
            raise publishers_time(partition, found.offset)
        headers = tuple(found.headers)
        if headers == STRUCTURED_HEADERS:
            headers = STRUCTURED_HEADERS  # the very same, which is known again at a glance
        parts = (partition, found.offset, found.timestamp, found.key, found.value, headers)
        records.append(new_record(Record, parts))
    return records


def publishers_time(partition: int, offset: int) -> UnusableLog:
    """The error for an entry whose time its publisher could choose."""
    return UnusableLog(
        f"The entry {partition}:{offset} has its publisher's time, not the broker's.",
        "Its topic had message.timestamp.type=CreateTime: begin a new one.",
    )
