"""Lives of work items, as an agent's runtime would publish them: the same seed gives the same entries.

A few hundred work items are alive at a time; each is claimed, pauses, is looked after, resumed and closed, and makes
room for the next. A life is a generator: it yields an event and is told the offset that the event has on its fresh
log, so that fences and settles are right without anybody reading the log. About one entry in twenty is refused, one
in a hundred is a resend, one in two hundred is malformed.
"""

from __future__ import annotations

import random
from collections.abc import Generator, Iterator
from datetime import UTC, datetime, timedelta
from itertools import islice
from typing import Any, NamedTuple

import orjson

from ledger.actions import action_digest
from ledger.cloudevents import STRUCTURED_HEADERS
from ledger.log import Draft
from ledger.partitions import partition_of
from ledger.record import Record
from ledger.times import format_instant

ACTIVE_ITEMS = 500
ENTRIES_AN_ITEM = 20
_STEP = timedelta(milliseconds=20)

_ROUTES = ("billing", "onboarding", "refunds", "provisioning", "renewals")
_TARGETS = ("crm", "ledger", "payments", "tickets", "directory")

Step = tuple[str, dict[str, Any], str]
"""The name of an event's type, its data, and its actor."""

Life = Generator[Step, int, None]
"""Yields the steps of one work item, and is sent the offset of each."""


class Cast(NamedTuple):
    """Who plays in one life."""

    execution: str
    owner: str
    approver: str
    route: str


def _action(chance: random.Random, name: str) -> dict[str, Any]:
    target = chance.choice(_TARGETS)
    arguments = {"amount": chance.randrange(1, 100_000), "currency": "EUR", "customer": f"c-{chance.randrange(10**6)}"}
    return {
        "kind": "write",
        "name": f"{target}.update",
        "target": f"https://{target}.example/v2/records",
        "arguments": arguments,
        "idempotency_key": name,
    }


def _opened(cast: Cast, pause: str, action: dict[str, Any], review: bool) -> Step:
    data = {
        "execution": cast.execution,
        "pause": pause,
        "trigger": "approval",
        "recheck": "read the record again",
        "pending_action": action,
        "resume_authority": [cast.approver, cast.owner],
        "requires_review": review,
        "fresh_for": "P30D",
        "heartbeat_timeout": "P1D",
        "side_effect": "not_happened",
    }
    return "pause.opened", data, cast.owner


def _looked_after(chance: random.Random, cast: Cast, pause: str, beats: int) -> Iterator[Step]:
    """Heartbeats, and now and then a note or one from somebody who may not."""
    here = {"execution": cast.execution, "pause": pause}
    for _ in range(beats):
        drawn = chance.random()
        if drawn < 0.1:
            text = "Waiting for the approval of finance; the customer was told that it takes until tomorrow."
            yield "note.added", {**here, "text": text}, cast.approver
        elif drawn < 0.13:
            yield "heartbeat.recorded", here, "user:visitor"
        else:
            yield "heartbeat.recorded", here, cast.owner


def _one_pause(chance: random.Random, cast: Cast, number: int, partition: int) -> Life:
    """One pause from its opening to its close."""
    pause = f"{cast.execution}/interrupt-{number}"
    action = _action(chance, pause)
    digest = action_digest(action)
    review = chance.random() < 0.7
    here = {"execution": cast.execution, "pause": pause}
    asked = {**here, "action_digest": digest}
    yield _opened(cast, pause, action, review)
    yield from _looked_after(chance, cast, pause, chance.randrange(1, 6))
    if chance.random() < 0.4:
        yield "inputs.rechecked", {**here, "fresh_for": "P30D", "evidence": {"etag": pause[-8:]}}, cast.approver
    if review:
        if chance.random() < 0.2:
            yield "resume.requested", asked, cast.approver  # refused: nobody has reviewed it yet
        yield "review.decided", {**asked, "outcome": "approve"}, cast.approver
    if chance.random() < 0.06:
        yield "review.decided", {**asked, "outcome": "reject"}, cast.approver
        return
    yield from _looked_after(chance, cast, pause, chance.randrange(0, 3))
    fence = yield "resume.requested", asked, cast.approver
    if chance.random() < 0.1:
        yield "resume.requested", asked, cast.owner  # refused: a race was lost
    attempt = yield "side_effect.attempted", {**here, "fence": fence}, cast.owner
    if chance.random() < 0.05:
        yield "side_effect.attempted", {**here, "fence": fence}, "service:worker-2"  # refused: the fence is used
    settles = {"settles": f"{partition}:{attempt}", "action_digest": digest}
    evidence = {"status": 200, "etag": f"{attempt:08x}"}
    yield "side_effect.observed", {**here, "status": "happened", **settles, "evidence": evidence}, cast.owner
    yield "pause.closed", {**here, "outcome": "executed"}, cast.owner


def life(chance: random.Random, subject: str, partition: int) -> Life:
    """A work item from its claim to the end of its execution: about twenty entries."""
    owner = f"user:owner-{chance.randrange(200)}"
    cast = Cast(f"run-{subject}", owner, f"role:approver-{chance.randrange(20)}", chance.choice(_ROUTES))
    yield "execution.claimed", {"execution": cast.execution, "owner": owner, "route": cast.route}, owner
    if chance.random() < 0.1:
        yield "execution.claimed", {"execution": f"{cast.execution}-b", "owner": owner}, owner  # refused
    for number in range(chance.choice((1, 2, 2))):
        yield from _one_pause(chance, cast, number, partition)
    if chance.random() < 0.1:
        yield "inputs.changed", {"execution": cast.execution, "reason": "the price list is new"}, "service:watcher"
    yield "execution.finished", {"execution": cast.execution, "outcome": "done"}, owner


def long_life(subject: str, partition: int) -> Life:
    """A work item that never ends, and opens a pause only every two hundred entries or so."""
    chance = random.Random(subject)
    cast = Cast(f"run-{subject}", "user:owner", "role:approver", "billing")
    yield "execution.claimed", {"execution": cast.execution, "owner": cast.owner}, cast.owner
    number = 0
    while True:
        yield from _one_pause(chance, cast, number, partition)
        pause = f"{cast.execution}/waiting-{number}"
        yield _opened(cast, pause, _action(chance, pause), True)
        yield from _looked_after(chance, cast, pause, 200)
        yield "pause.closed", {"execution": cast.execution, "pause": pause, "outcome": "abandoned"}, cast.owner
        number += 1


class _Item:
    """A work item that is alive, and the line it published last."""

    def __init__(self, subject: str, partition: int, steps: Life) -> None:
        self.subject = subject
        self.partition = partition
        self.steps = steps
        self.step: Step | None = next(steps)
        self.last: bytes = b""

    def go_on(self, offset: int) -> None:
        try:
            self.step = self.steps.send(offset)
        except StopIteration:
            self.step = None


class Workload:
    """Entries without end for a fresh log of so many partitions. ``start`` is the publishers' clock at the first."""

    def __init__(
        self,
        partitions: int = 1,
        *,
        seed: int = 1,
        start: datetime | None = None,
        active: int = ACTIVE_ITEMS,
    ) -> None:
        self.partitions = partitions
        self.subjects: list[str] = []
        self._chance = random.Random(seed)
        self._clock = (start or datetime(2026, 3, 28, 9, tzinfo=UTC)).replace(microsecond=0)
        self._ends = [0] * partitions
        self._number = 0
        self._active = [self._born() for _ in range(active)]

    def _born(self) -> _Item:
        subject = f"TICKET-{len(self.subjects):07d}"
        self.subjects.append(subject)
        partition = partition_of(subject, self.partitions)
        return _Item(subject, partition, life(random.Random(self._chance.random()), subject, partition))

    def drafts(self, count: int) -> Iterator[Draft]:
        """The next so many entries, in the order in which a log must take them."""
        return islice(self._endless(), count)

    def _endless(self) -> Iterator[Draft]:
        while True:
            at = self._chance.randrange(len(self._active))
            item = self._active[at]
            drawn = self._chance.random()
            if drawn < 0.005:
                yield self._placed(item, self._broken(item), goes_on=False)
            elif drawn < 0.015 and item.last:
                yield self._placed(item, item.last, goes_on=False)
            else:
                yield self._placed(item, self._line(item), goes_on=True)
            if item.step is None:
                self._active[at] = self._born()

    def _placed(self, item: _Item, value: bytes, *, goes_on: bool) -> Draft:
        partition = item.partition
        offset = self._ends[partition]
        self._ends[partition] += 1
        if goes_on:
            item.last = value
            item.go_on(offset)
        return Draft(partition, item.subject.encode(), value, STRUCTURED_HEADERS)

    def _line(self, item: _Item) -> bytes:
        assert item.step is not None
        name, data, actor = item.step
        self._number += 1
        return _written(item.subject, self._number, self._clock + self._number * _STEP, name, data, actor)

    def _broken(self, item: _Item) -> bytes:
        """A note whose text is missing."""
        self._number += 1
        return _written(item.subject, self._number, self._clock, "note.added", {}, "service:import")


def _written(subject: str, number: int, time: datetime, name: str, data: dict[str, Any], actor: str) -> bytes:
    return orjson.dumps(
        {
            "specversion": "1.0",
            "id": f"{number:08d}-5f0c9d3e7a41",
            "source": "https://agents.example/runtime/eu-1",
            "type": f"pauseledger.{name}",
            "subject": subject,
            "time": format_instant(time),
            "datacontenttype": "application/json",
            "actor": actor,
            "data": data,
        }
    )


def one_long_life(subject: str, entries: int, start: datetime) -> Iterator[Draft]:
    """The first so many entries of a single work item, alone on an embedded log."""
    item = _Item(subject, 0, long_life(subject, 0))
    for number in range(entries):
        assert item.step is not None
        name, data, actor = item.step
        value = _written(subject, number, start + number * _STEP, name, data, actor)
        item.go_on(number)
        yield Draft(0, subject.encode(), value, STRUCTURED_HEADERS)


def records(workload: Workload, count: int) -> list[Record]:
    """The next so many entries, as a log that takes 16 every 20 ms would give them: a batch has one time."""
    ends = [0] * workload.partitions
    found: list[Record] = []
    milliseconds = 1_774_688_400_000
    for draft in workload.drafts(count):
        milliseconds += 20 * (len(found) % 16 == 0)
        offset = ends[draft.partition]
        ends[draft.partition] += 1
        found.append(Record(draft.partition, offset, milliseconds, draft.key, draft.value, draft.headers))
    return found


def chunks(drafts: Iterator[Draft], size: int) -> Iterator[list[Draft]]:
    """The drafts in lists of ``size``, so that a million of them need no memory."""
    return iter(lambda: list(islice(drafts, size)), [])
