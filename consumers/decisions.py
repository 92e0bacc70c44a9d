"""The job ``decisions``: every verdict onto ``TOPIC.verdicts``, the newest decision of each pause onto
``TOPIC.decisions``. What the records are, and what a follower may rest on, is in ``docs/topics.md``.

1. A transaction holds the output of some entries of one partition, and at its end where it leads. So how far a
   partition was emitted is read from the topic, and no verdict is there twice or left out, whoever died in between.
2. It goes on only where that place is still the ledger's: the same topic, the same record with the same verdict.
3. It follows the index, which anybody may keep up to the log; where nobody does, it does so itself.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Mapping, Set
from contextlib import ExitStack
from typing import Any, TypeVar

from consumers.outlet import TIMEOUT_SECONDS, Line, Outlet, Place, signs
from consumers.settings import Ledger, Settings
from consumers.upkeep import Upkeep
from ledger.errors import Fenced, LedgerError, LogChanged, UnusableLog, WrongUsage
from ledger.logs.address import KafkaAddress, log_address
from ledger.logs.kafka_emitter import Output
from ledger.logs.output_topics import make_output_topics
from projections.announcements import Announcement, Announcements

MOST_ENTRIES = 2_000
MOST_BYTES = 8 * 1024 * 1024

_WAIT_SECONDS = 0.25
_LOOK_AGAIN_SECONDS = 0.01
_LACKING_ROUNDS = 20
"""So often in a row the index may lack what it says it has; a database that crashed in between comes to rest sooner."""
_FENCED_SECONDS = 5.0
"""So long a partition is left to whoever fenced us, if it stays ours."""

Result = TypeVar("Result")


class DecisionsJob:
    """Emits the partitions that it was given. It ends what it opened."""

    def __init__(self, ledger: Ledger, outlet: Outlet) -> None:
        self._ledger = ledger
        self._outlet = outlet
        self._identity = ledger.indexer.identity
        self._announcements = Announcements(ledger.index, self._identity.partitions)
        self._upkeep = Upkeep(ledger)
        self._mine: set[int] = set()
        self._lines: dict[int, Line] = {}
        self._left_until: dict[int, float] = {}

    def take(self, partitions: Set[int]) -> None:
        """See the port. What is new is opened at the next step."""
        for partition in self._lines.keys() - partitions:
            self._drop(partition)
        self._mine = set(partitions)
        self._left_until.clear()

    def step(self) -> int:
        """See the port: the number of entries emitted, or folded where nobody else does."""
        self._open_lines()
        deadline = time.monotonic() + _WAIT_SECONDS
        while True:
            ends = self._indexed()
            done = self._emit(ends)
            if not done:
                done = self._upkeep.folded(ends, {one: line.place.next_offset for one, line in self._lines.items()})
            if done or time.monotonic() > deadline:
                return done
            time.sleep(_LOOK_AGAIN_SECONDS)

    def close(self) -> None:
        """See the port."""
        with ExitStack() as all_of_it:
            all_of_it.callback(self._ledger.close)
            for partition in list(self._lines):
                all_of_it.callback(self._drop, partition)

    def _open_lines(self) -> None:
        for partition in sorted(self._mine - self._lines.keys()):
            if time.monotonic() >= self._left_until.get(partition, 0.0):
                self._lines[partition] = self._outlet.opened(partition)

    def _drop(self, partition: int) -> None:
        self._lines.pop(partition).emitter.close()

    def _indexed(self) -> dict[int, int]:
        """Up to where each partition is indexed; nowhere while the index is being made again."""
        self._announcements.generation()
        recorder = self._ledger.index.recorder
        known = recorder.known_log()
        if known is None:
            return {}
        if tuple(known) != tuple(self._identity):
            was = f"the index is of {known.topic!r} with the id {known.topic_id} now"
            raise LogChanged(f"The log was {self._identity.topic!r} with the id {self._identity.topic_id}; {was}.")
        return {partition: position.next_offset for partition, position in recorder.positions().items()}

    def _emit(self, ends: Mapping[int, int]) -> int:
        """Emit what is indexed and not emitted: a transaction a partition, all of them under way together."""
        errors: list[LedgerError] = []
        try:
            counts = self._each(self._lines, lambda one: self._begin(one, ends.get(one, 0)), errors)
            ended = self._each([one for one, count in counts.items() if count], self._end, errors)
            settled = self._each(ended, self._settle, errors)
        except BaseException:
            for partition in list(self._lines):  # what is under way there is left to be fenced
                self._drop(partition)
            raise
        if errors:
            raise errors[0]
        return sum(counts[one] for one in settled)

    def _each(
        self, partitions: Iterable[int], act: Callable[[int], Result], errors: list[LedgerError]
    ) -> dict[int, Result]:
        """Act on each partition; one that fails is dropped, and opened again later, and the others go on."""
        found: dict[int, Result] = {}
        for partition in list(partitions):
            try:
                found[partition] = act(partition)
            except LedgerError as error:
                self._drop(partition)
                if isinstance(error, Fenced):
                    self._left_until[partition] = time.monotonic() + _FENCED_SECONDS
                errors.append(error)
        return found

    def _begin(self, partition: int, end: int) -> int:
        """Send what there is to tell of a partition's next entries; of how many."""
        line = self._lines[partition]
        if end <= line.place.next_offset:
            return 0
        start = line.place.next_offset
        generation = self._announcements.generation()
        try:
            if not self._is_of_this_past(partition, line, generation):
                return 0
            outputs, last, count = self._gathered(partition, start, end)
        except Fenced:
            self._refuse_lost(line, generation)
            return 0  # it was emptied, or lost its newest batches: they come back, and nothing was sent
        line.lacks = 0
        if last is None:
            if self._announcements.holds_nothing(partition, start, end):
                line.place = line.place._replace(next_offset=end)  # a gap, which holds nothing to tell
            return 0
        line.next = Place(last.record.offset + 1, *signs(last.record, last.verdict))
        line.emitter.send([*outputs, self._outlet.position(line.next)])
        return count

    def _gathered(self, partition: int, start: int, end: int) -> tuple[list[Output], Announcement | None, int]:
        outputs: list[Output] = []
        last, count, size = None, 0, 0
        while start < end and count < MOST_ENTRIES and size < MOST_BYTES:
            told = self._announcements.after(partition, start, end)
            if not told:
                break
            for one in told:
                found = self._outlet.outputs(one)
                size += sum(len(output.value) for output in found)
                outputs += found
            last, count = told[-1], count + len(told)
            start = last.record.offset + 1
        return outputs, last, count

    def _end(self, partition: int) -> None:
        self._lines[partition].emitter.end()

    def _settle(self, partition: int) -> None:
        line = self._lines[partition]
        line.emitter.settle()
        line.place = line.next

    def _refuse_lost(self, line: Line, generation: int) -> None:
        """Raises ``UnusableLog`` where the index lacks entries, time and again, and was not emptied meanwhile."""
        line.lacks = line.lacks + 1 if self._announcements.generation() == generation else 0
        if line.lacks >= _LACKING_ROUNDS:
            raise UnusableLog("The index has lost entries.", "Replay the log: pauseledger rebuild.") from None

    def _is_of_this_past(self, partition: int, line: Line, generation: int) -> bool:
        """What was emitted last must be the ledger's still: asked once in each generation of the index.

        False where it isn't indexed now, as after a crash of the database. Raises ``LogChanged``.
        """
        place = line.place
        if line.generation == generation:
            return True
        if place.entry is not None:
            offset = int(place.entry.partition(":")[2])
            found = self._announcements.line(partition, offset)
            self._announcements.refuse_emptied()
            if found is None and not self._announcements.holds_nothing(partition, offset, offset + 1):
                return False
            found_now = None if found is None else signs(*found)
            if found_now != (place.entry, place.record_sha256, place.verdict, place.code):
                raise LogChanged(
                    f"Entry {place.entry} was emitted as {place.verdict}/{place.code}, and is "
                    f"{'not there' if found is None else f'{found[1].verdict}/{found[1].code}'} now: "
                    "the ledger's past is another.",
                    self._outlet.topics.remove,
                )
        line.generation = generation
        return True


def open_job(settings: Settings) -> DecisionsJob:
    """The job, with its topics there. Raises ``WrongUsage`` for a log without topics."""
    address = log_address(settings.log)
    if not isinstance(address, KafkaAddress):
        raise WrongUsage(
            "The embedded log has no topics to write decisions to.",
            "Set PAUSELEDGER_LOG to kafka://HOST:PORT/TOPIC; beside the embedded log, ask: pauseledger decision.",
        )
    servers, connection = ",".join(address.servers), _connection(settings)
    ledger = settings.open()
    try:
        topics = make_output_topics(
            servers,
            address.topic,
            verdicts_retention_days=settings.verdicts_retention_days,
            timeout_seconds=TIMEOUT_SECONDS,
            settings=connection,
        )
        return DecisionsJob(ledger, Outlet(servers, ledger.indexer.identity, topics, connection))
    except BaseException:
        ledger.close()
        raise


def _connection(settings: Settings) -> Mapping[str, Any]:
    """kafka-python's connection settings, for the producers, the readers and the desk of this job alike."""
    return settings.kafka_security.kafka_python()
