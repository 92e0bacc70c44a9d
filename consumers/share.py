"""Which partitions this process works on: its share of a ledger that several processes work on.

A Kafka consumer group only shares the work out. No offset is committed and no record is fetched through it: where a
job stands is in the index, whose compare-and-set makes it harmless that two work on one partition for a while. So a
share stays in force until the group says otherwise, also while the group rebalances or the broker is away.
"""

from __future__ import annotations

import random
import threading
import time
from collections.abc import Collection, Mapping
from functools import partial
from typing import TYPE_CHECKING, Any, Protocol

import structlog

from consumers.settings import Settings
from ledger.errors import LedgerError, LogUnavailable
from ledger.logs.address import KafkaAddress, log_address

if TYPE_CHECKING:
    from ledger.logs.kafka_group import Held, KafkaMember

_POLL_SECONDS = 0.2
_LONGEST_RETRY_SECONDS = 5.0
_LONG_SECONDS = 60.0
"""A membership that lasted so long was no failed try."""
_ABSENT_SECONDS = 90.0
"""How long a job may not ask for its share: it may wait for 30 s out of every minute. Then it hangs."""
_LEAVE_SECONDS = 3.0
_HANGS = "The job did not ask for its share for too long: its partitions went to others."


class Share(Protocol):
    """A part of the log's partitions."""

    def partitions(self) -> frozenset[int] | None:
        """Those to work on now; null while that isn't known yet. Raises a ``LedgerError`` that waiting won't mend."""
        ...

    def wait(self, seconds: float) -> None:
        """Return when the share has changed, or after so long."""
        ...

    @property
    def problem(self) -> str:
        """Why the share may be out of date; empty where it isn't."""
        ...

    def close(self) -> None:
        """Give the partitions back."""
        ...


class WholeShare:
    """All partitions: of the embedded log, which one process reads."""

    problem = ""

    def __init__(self, partitions: Collection[int]) -> None:
        self._partitions = frozenset(partitions)
        self._closed = threading.Event()

    def partitions(self) -> frozenset[int] | None:
        return self._partitions

    def wait(self, seconds: float) -> None:
        self._closed.wait(seconds)

    def close(self) -> None:
        self._closed.set()


class KafkaShare:
    """A member of a consumer group on ``topic``, on a thread of its own: a long batch keeps no rebalance waiting.

    ``settings`` are kafka-python's own connection settings. A job that hangs gives its partitions up: it is a
    member only while it asks for its share.
    """

    def __init__(
        self,
        servers: str,
        topic: str,
        group: str,
        *,
        session_seconds: float = 10.0,
        timeout_seconds: float = 8.0,
        settings: Mapping[str, Any] | None = None,
    ) -> None:
        self.problem = ""
        self._join = partial(_joined, servers, topic, group, session_seconds, timeout_seconds, settings or {})
        self._close_seconds = timeout_seconds + _LEAVE_SECONDS
        self._partitions: frozenset[int] | None = None
        self._refused: LedgerError | None = None
        self._asked = time.monotonic()
        self._changed = threading.Event()
        self._closing = threading.Event()
        self._log = structlog.get_logger().bind(group=group)
        self._thread = threading.Thread(target=self._run, name=f"share-{group}", daemon=True)
        self._thread.start()

    def partitions(self) -> frozenset[int] | None:
        self._asked = time.monotonic()
        self._changed.clear()
        if self._refused is not None:
            raise self._refused
        return self._partitions

    def wait(self, seconds: float) -> None:
        self._changed.wait(seconds)

    def close(self) -> None:
        """Leave the group, so that nobody waits for the session to end."""
        self._closing.set()
        self._thread.join(self._close_seconds)

    def _run(self) -> None:
        """Be a member while the job asks; where that fails, try again, ever more rarely."""
        failures = 0
        while not self._closing.is_set() and self._refused is None:
            if self._job_hangs():
                self._closing.wait(_POLL_SECONDS)
                continue
            began = time.monotonic()
            try:
                self._be_a_member()
            except Exception as error:  # whatever a client does in an outage, this process wants to be a member again
                failures = 1 if time.monotonic() - began > _LONG_SECONDS else failures + 1
                self._failed(error)
                longest = min(_LONGEST_RETRY_SECONDS, 0.1 * 2 ** min(failures, 10))
                self._closing.wait(longest * random.uniform(0.5, 1.0))

    def _failed(self, error: Exception) -> None:
        if isinstance(error, LogUnavailable):
            if not self.problem:
                self._log.warning("out of the consumer group for now", problem=error.problem)
        elif isinstance(error, LedgerError):
            self._refused = error
        else:
            self._log.error("the consumer group's client failed", exc_info=error)
        self.problem = str(error) or type(error).__name__
        self._changed.set()

    def _job_hangs(self) -> bool:
        return time.monotonic() - self._asked >= _ABSENT_SECONDS

    def _be_a_member(self) -> None:
        member = self._join()
        try:
            while not self._closing.is_set():
                if self._job_hangs():
                    self._log.error("the job hangs: its partitions go to others")
                    self.problem = _HANGS
                    return
                self._see(member.poll(_POLL_SECONDS))
        finally:
            member.close()

    def _see(self, held: Held) -> None:
        """While the group shares out anew, what was held is held on to."""
        if held.is_settled and self.problem:
            self.problem = ""
            self._log.info("in the consumer group again")
        if held.partitions != self._partitions and (held.is_settled or held.partitions):
            self._partitions = held.partitions
            self._log.info("share of partitions", partitions=sorted(held.partitions))
            self._changed.set()


def _joined(
    servers: str, topic: str, group: str, session_seconds: float, timeout_seconds: float, settings: Mapping[str, Any]
) -> KafkaMember:
    from ledger.logs.kafka_group import KafkaMember

    return KafkaMember(
        servers, topic, group, session_seconds=session_seconds, timeout_seconds=timeout_seconds, settings=settings
    )


def open_share(settings: Settings, job: str) -> Share:
    """The share of a job's partitions. Does not wait for the broker."""
    address = log_address(settings.log_url)
    if not isinstance(address, KafkaAddress):
        return WholeShare([0])
    return KafkaShare(
        ",".join(address.servers),
        address.topic,
        f"{settings.group}-{job}",
        session_seconds=settings.session_seconds,
        settings=settings.kafka_security.kafka_python(),
    )
