"""Reading a Kafka topic through librdkafka: no group, at offsets that the caller names.

Never a record that isn't committed, never a reset: an offset that the log doesn't have is ``LogChanged``. Partitions
that were read once are followed; what was fetched of them waits in a bounded buffer.

What the binding can't express is read through kafka-python instead: a header name that is no UTF-8. One gap is left:
to librdkafka a header name ends at a zero byte, so that ``a\\0b`` is read as ``a``, and nobody can tell.
"""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Callable, Collection, Iterable, Mapping
from operator import methodcaller
from typing import Any

from ledger.cloudevents import STRUCTURED_HEADERS
from ledger.errors import LedgerError, LogChanged, LogUnavailable, UnusableLog
from ledger.log import Slice
from ledger.logs.confluent_client import Troubles, client_settings, is_lasting, ledger_error, library
from ledger.logs.kafka import Reader
from ledger.logs.kafka_reader import publishers_time
from ledger.record import Record, new_record

_NOWHERE = -1
_MOST_BUFFERED = 4000
_MOST_AT_ONCE = 4000
_QUEUED_KBYTES = 16 * 1024
"""What librdkafka may fetch ahead of us, of all partitions together."""
_FETCH_BYTES = 4 * 1024 * 1024
_FETCH_WAIT_MS = 100
_BACKOFF_MS = 10
"""librdkafka's own pause of a second after its queue was full would be most of the time."""
_POLL_SECONDS = 0.2
"""A signal is noticed between two polls."""
_headers = methodcaller("headers")
"""Called so, and not directly: the binding gives a list with holes when it can't decode a name, and forgets to say so.
The interpreter notices, and raises ``SystemError``, in every way to call but its fastest."""
_ASK_AGAIN_SECONDS = 0.05
_NO_LEADER = ("NOT_LEADER_FOR_PARTITION", "LEADER_NOT_AVAILABLE", "FENCED_LEADER_EPOCH", "UNKNOWN_LEADER_EPOCH")
_LOST = ("_AUTO_OFFSET_RESET", "OFFSET_OUT_OF_RANGE", "_LOG_TRUNCATION")


class _Feed:
    """What was fetched of one partition. ``offset`` is the next to be read, ``end`` the next to be fetched."""

    def __init__(self, partition: int) -> None:
        self.partition = partition
        self.offset = self.end = _NOWHERE
        self.messages: deque[Any] = deque()
        self.is_assigned = False
        self.is_paused = False

    def move_to(self, offset: int) -> None:
        self.offset = self.end = offset
        self.messages.clear()


class ConfluentReader:
    """Reads ``topic``. Not thread-safe. ``settings`` are librdkafka's own; the consumer is made at the first read.

    ``slow_reader`` makes the reader for records that the binding can't express.
    """

    def __init__(
        self,
        servers: str,
        topic: str,
        partitions: int,
        *,
        timeout_seconds: float,
        settings: Mapping[str, Any],
        slow_reader: Callable[[], Reader],
    ) -> None:
        self._servers = servers
        self._topic = topic
        self._timeout_seconds = timeout_seconds
        self._settings = settings
        self._new_slow_reader = slow_reader
        self._slow_reader: Reader | None = None
        self._feeds = [_Feed(number) for number in range(partitions)]
        self._made: Any = None
        self._troubles = Troubles()

    def close(self) -> None:
        """Close the connections."""
        made, self._made = self._made, None
        slow, self._slow_reader = self._slow_reader, None
        if made is not None:
            made.close()
        if slow is not None:
            slow.close()

    def bounds(self, partition: int) -> tuple[int, int]:
        """The first offset kept, and the end of what is committed."""
        return self.all_bounds([partition])[0]

    def all_bounds(self, partitions: Iterable[int]) -> list[tuple[int, int]]:
        """The bounds of several partitions, in two questions."""
        asked = list(partitions)
        first, end = (self._offsets(asked, which) for which in (library().OFFSET_BEGINNING, library().OFFSET_END))
        return list(zip(first, end, strict=True))

    def read(self, partition: int, offset: int, most: int, wait_seconds: float) -> Slice:
        """See the port. An empty slice says that there is nothing more to read: the end was asked for."""
        feed = self._at(partition, offset)
        if not feed.messages:
            self._fill(feed, time.monotonic() + wait_seconds)
        taken = self._taken(feed, min(most, len(feed.messages)))
        feed.offset = taken[-1].offset + 1 if feed.messages else feed.end
        return Slice(taken, feed.offset)

    def ready(self, offsets: Mapping[int, int], wait_seconds: float) -> list[int]:
        """See :class:`ledger.log.Waiting`."""
        wanted = [self._at(partition, offset) for partition, offset in offsets.items()]
        for feed in self._feeds:
            if feed not in wanted:
                self._unfollow(feed)
                feed.move_to(_NOWHERE)
        deadline = time.monotonic() + wait_seconds
        while True:
            found = [feed.partition for feed in wanted if feed.messages or feed.end != feed.offset]
            left = deadline - time.monotonic()
            if found or left <= 0:
                return found
            self._poll(wanted, min(left, _POLL_SECONDS))

    def _at(self, partition: int, offset: int) -> _Feed:
        """The feed of a partition, at an offset: moved there unless it is there already."""
        feed = self._feeds[partition]
        if offset < 0:
            raise self._changed(feed, offset)
        if feed.offset != offset:
            feed.move_to(offset)
            self._fetch_from(feed)
        elif not feed.messages and (feed.is_paused or not feed.is_assigned):
            self._fetch_from(feed)
        return feed

    def _taken(self, feed: _Feed, count: int) -> list[Record]:
        try:
            next_message, append_time = feed.messages.popleft, library().TIMESTAMP_LOG_APPEND_TIME
            return [self._record(next_message(), append_time) for _ in range(count)]
        except BaseException:
            feed.move_to(_NOWHERE)  # what was taken and not given is fetched again
            raise

    def _fill(self, feed: _Feed, deadline: float) -> None:
        """Poll until the feed has a record, or the time is over and it is at the end of the log."""
        give_up = max(deadline, time.monotonic() + self._timeout_seconds)
        while not feed.messages:
            left = deadline - time.monotonic()
            if left <= 0 and self._is_at_end(feed):
                return
            if time.monotonic() > give_up:
                self._unfollow(feed)
                raise self._silent()
            self._poll([feed], min(left, _POLL_SECONDS) if left > 0 else _FETCH_WAIT_MS / 1000)

    def _silent(self) -> LedgerError:
        """Why no record came, where librdkafka said so."""
        if self._troubles.last is not None and is_lasting(self._troubles.last):
            return ledger_error(self._troubles.last, self._topic, self._servers)
        return LogUnavailable(
            f"Kafka at {self._servers} gave no record of {self._topic!r} within {self._timeout_seconds:g} s.",
            "See that all brokers run.",
        )

    def _is_at_end(self, feed: _Feed) -> bool:
        _, end = self.bounds(feed.partition)
        if feed.end > end:
            raise self._lost(feed)
        return feed.end == end

    def _poll(self, wanted: Collection[_Feed], wait_seconds: float) -> None:
        """Take what is there; waits for the first of it only."""
        consumer = self._consumer()
        first = consumer.poll(wait_seconds)
        if first is None:
            return
        wrong: LedgerError | None = None
        for message in (first, *consumer.consume(_MOST_AT_ONCE, 0)):
            error = message.error()
            if error is None:
                found = self._buffer(self._feeds[message.partition()], message, wanted)
            else:
                found = self._told(error, message, wanted)
            wrong = wrong or found
        if wrong is not None:  # only now: the others' records would be lost
            raise wrong

    def _buffer(self, feed: _Feed, message: Any, wanted: Collection[_Feed]) -> LedgerError | None:
        """Keep a record; a partition that is not being read is paused when it has enough of them."""
        if feed.is_paused or feed.end == _NOWHERE:
            return None  # fetched before; read again from ``end`` when it is wanted
        offset = message.offset()
        if offset < feed.end:  # librdkafka went back, as it may where a topic was made again
            return self._drop(feed, wanted)
        feed.messages.append(message)
        feed.end = offset + 1
        if feed not in wanted and len(feed.messages) >= _MOST_BUFFERED:
            self._consumer().pause([self._place(feed)])
            feed.is_paused = True
        return None

    def _told(self, error: Any, message: Any, wanted: Collection[_Feed]) -> LedgerError | None:
        """An error, or the end of a partition: it lies past the gaps that librdkafka has seen."""
        name, partition = error.name(), message.partition()
        feed = self._feeds[partition] if partition is not None and 0 <= partition < len(self._feeds) else None
        if name == "_PARTITION_EOF":
            if feed is not None and not feed.is_paused and feed.end != _NOWHERE:
                feed.end = max(feed.end, message.offset())
        elif name in _LOST and feed is not None:
            # Unlike records and ends, this may still come after a seek: then it tells of where the feed was before.
            if message.offset() == feed.end or name == "_LOG_TRUNCATION":
                return self._drop(feed, wanted)
        elif is_lasting(error) and (feed is None or feed in wanted):
            for one in wanted:
                self._unfollow(one)
            return ledger_error(error, self._topic, self._servers)
        return None

    def _drop(self, feed: _Feed, wanted: Collection[_Feed]) -> LedgerError | None:
        """Stop following a partition; an error only for the caller that asked for it, once what came before is read."""
        if feed in wanted and not feed.messages:
            return self._lost(feed)
        self._unfollow(feed)
        return None

    def _lost(self, feed: _Feed) -> LogChanged:
        error = self._changed(feed, feed.end)
        self._unfollow(feed)
        feed.move_to(_NOWHERE)
        return error

    def _unfollow(self, feed: _Feed) -> None:
        """Fetch no more of it, until it is read again beyond what is buffered."""
        if feed.is_assigned:
            self._consumer().incremental_unassign([self._place(feed)])
        feed.is_assigned = feed.is_paused = False

    def _fetch_from(self, feed: _Feed) -> None:
        """Let librdkafka fetch from ``end`` on."""
        consumer, place = self._consumer(), self._place(feed, feed.end)
        try:
            if feed.is_assigned:
                if feed.is_paused:
                    consumer.resume([place])
                    feed.is_paused = False
                consumer.seek(place)
                return
        except library().KafkaException:  # it is being set up, or has given this partition up
            self._unfollow(feed)
        consumer.incremental_assign([place])
        feed.is_assigned = True

    def _record(self, message: Any, append_time: int) -> Record:
        kind, milliseconds = message.timestamp()
        partition, offset = message.partition(), message.offset()
        if kind != append_time:
            raise publishers_time(partition, offset)
        try:
            headers = tuple(_headers(message) or ())
        except (SystemError, UnicodeError):  # and never asked again: what it gives then has holes
            return self._slowly(partition, offset)
        if headers == STRUCTURED_HEADERS:
            headers = STRUCTURED_HEADERS  # the very same, which is known again at a glance
        return new_record(Record, (partition, offset, milliseconds, message.key(), message.value(), headers))

    def _slowly(self, partition: int, offset: int) -> Record:
        if self._slow_reader is None:
            self._slow_reader = self._new_slow_reader()
        records = self._slow_reader.read(partition, offset, 1, self._timeout_seconds).records
        if not records or records[0].offset != offset:
            raise UnusableLog(
                f"The entry {partition}:{offset} can't be read through confluent-kafka.", "Use kafka:// for this log."
            )
        return records[0]

    def _place(self, feed: _Feed, offset: int = 0) -> Any:
        return library().TopicPartition(self._topic, feed.partition, offset)

    def _changed(self, feed: _Feed, offset: int) -> LogChanged:
        first, end = self.bounds(feed.partition)
        return LogChanged(
            f"{self._topic}/{feed.partition} has no offset {offset}: it goes from {first} to {end}.",
            "The topic was cut, restored or made again: put the right one back, or rebuild the index.",
        )

    def _offsets(self, partitions: list[int], which: int) -> list[int]:
        """Asked again while a leader is being found, which librdkafka leaves to its caller."""
        deadline = time.monotonic() + self._timeout_seconds
        while True:
            places = [library().TopicPartition(self._topic, number, which) for number in partitions]
            wrong = None
            try:
                found = self._consumer().offsets_for_times(places, timeout=self._timeout_seconds)
                wrong = next((one.error for one in found if one.error is not None), None)
            except library().KafkaException as error:
                wrong = error.args[0]
            if wrong is None:
                by_number = {one.partition: one.offset for one in found}
                return [by_number[number] for number in partitions]
            if (not wrong.retriable() and wrong.name() not in _NO_LEADER) or time.monotonic() > deadline:
                raise ledger_error(wrong, self._topic, self._servers)
            time.sleep(_ASK_AGAIN_SECONDS)

    def _consumer(self) -> Any:
        if self._made is None:
            self._made = library().Consumer(
                {
                    **client_settings(self._servers, self._settings, self._troubles),
                    "group.id": "pauseledger",  # it must have one; nothing joins it and nothing is committed
                    "enable.auto.commit": False,
                    "enable.auto.offset.store": False,
                    "auto.offset.reset": "error",
                    "isolation.level": "read_committed",
                    "check.crcs": True,
                    "enable.partition.eof": True,
                    "queued.max.messages.kbytes": _QUEUED_KBYTES,
                    "queued.min.messages": _MOST_AT_ONCE,
                    "max.partition.fetch.bytes": _FETCH_BYTES,
                    "fetch.max.bytes": 4 * _FETCH_BYTES,
                    "fetch.wait.max.ms": _FETCH_WAIT_MS,
                    "fetch.queue.backoff.ms": _BACKOFF_MS,
                    "fetch.error.backoff.ms": _FETCH_WAIT_MS,
                }
            )
        return self._made
