"""``TOPIC.alerts``: every alert as a CloudEvent in structured mode, on the partition its work item has on the ledger.

It is not the ledger: it may lose what is older than its retention, and nothing on it is ever an entry.
"""

from __future__ import annotations

import time
from concurrent.futures import Future
from contextlib import closing, suppress

from consumers.alerts.delivery import Outcome
from consumers.alerts.store import Due
from ledger.cloudevents import STRUCTURED_HEADERS
from ledger.errors import LedgerError, UnusableLog, WrongUsage
from ledger.log import Draft, Receipt
from ledger.logs.address import KafkaAddress
from ledger.logs.kafka_security import PLAINTEXT, KafkaSecurity
from ledger.logs.kafka_writer import KafkaWriter
from ledger.logs.topic import DEFAULT_MAX_MESSAGE_BYTES, TopicDesk, describe_topic

SUFFIX = ".alerts"
SETTINGS = {"cleanup.policy": "delete"}
SEND_SECONDS = 10.0
LONGEST_WAIT_SECONDS = 60.0
_ASK_AGAIN_SECONDS = 60.0
_LONGEST_NAME = 249


class AlertTopic:
    """The topic, made where it is missing. Raises ``UnusableLog`` where it can't be used, ``LogUnavailable``."""

    def __init__(
        self,
        ledger: KafkaAddress,
        partitions: int,
        *,
        timeout_seconds: float = 8.0,
        security: KafkaSecurity = PLAINTEXT,
    ) -> None:
        topic = ledger.topic + SUFFIX
        if len(topic) > _LONGEST_NAME:
            raise UnusableLog(f"{topic!r} is too long for the name of a topic.", "The ledger's has 242 at most.")
        servers, settings = ",".join(ledger.servers), security.kafka_python()
        self.name = f"topic:{topic}"
        with closing(TopicDesk(servers, topic, timeout_seconds=timeout_seconds, settings=settings)) as desk:
            found = _made(desk, ledger, partitions, security)
            most_bytes = int(desk.settings().get("max.message.bytes", DEFAULT_MAX_MESSAGE_BYTES))
        if found != partitions:
            what = f"The topic {topic!r} has {found} partitions, and the ledger has {partitions}."
            raise UnusableLog(what, "Delete it: the watcher makes it anew.")
        self._writer = KafkaWriter(
            servers, topic, timeout_seconds=timeout_seconds, settings=settings, most_bytes=most_bytes
        )
        self._sent: dict[str, tuple[float, Future[Receipt]]] = {}

    def send(self, due: Due) -> Outcome:
        """Send it, unless it is on its way already: then only wait for that."""
        try:
            receipt = self._on_its_way(due).result(SEND_SECONDS)
        except TimeoutError:
            return Outcome(False, "not acknowledged yet")
        except WrongUsage as error:
            return Outcome(False, error.problem, hopeless=True)
        except LedgerError as error:
            self._sent.pop(due.id, None)
            return Outcome(False, error.problem)
        self._sent.pop(due.id, None)
        return Outcome(True, f"recorded at {receipt.partition}:{receipt.offset}")

    def _on_its_way(self, due: Due) -> Future[Receipt]:
        """A future that stays open may be that of a record which nobody knows the fate of: it is sent again then."""
        since, future = self._sent.get(due.id, (0.0, None))
        if future is None or time.monotonic() - since > _ASK_AGAIN_SECONDS:
            draft = Draft(due.partition, due.subject.encode(), due.content.encode(), STRUCTURED_HEADERS)
            (future,) = self._writer.append([draft])
            self._sent[due.id] = (time.monotonic(), future)
        return future

    def wait_seconds(self, attempts: int) -> float | None:
        """Up to a minute, and for ever: while the brokers are away there is nobody to give up on."""
        return min(2.0 ** min(attempts, 6), LONGEST_WAIT_SECONDS)  # the power of a thousand tries is no float

    def close(self) -> None:
        self._writer.close()


def _made(desk: TopicDesk, ledger: KafkaAddress, partitions: int, security: KafkaSecurity) -> int:
    """How many partitions the topic has, which is made where it can't be seen."""
    if desk.is_known():
        with suppress(UnusableLog):
            return len(desk.metadata()[1])
    replicas = describe_topic(",".join(ledger.servers), ledger.topic, security=security).replication
    try:
        desk.create(partitions, replicas, SETTINGS)
    except WrongUsage as error:  # another watcher may have been first
        refused = error
        try:
            return len(desk.metadata()[1])
        except UnusableLog:
            raise refused from None
    return len(desk.metadata()[1])
