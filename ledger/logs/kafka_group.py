"""Membership in a Kafka consumer group, for nothing but its share of a topic's partitions.

No record is fetched and no offset is committed: every partition is stopped and given a position at the moment it is
assigned. kafka-python calls that listener on a thread of its own, so it does nothing that waits.
"""

from __future__ import annotations

import time
from collections.abc import Collection, Iterable, Mapping
from contextlib import suppress
from typing import Any, NamedTuple

from kafka import ConsumerRebalanceListener, KafkaAdminClient, KafkaConsumer
from kafka import errors as kafka_errors
from kafka.coordinator.assignors.cooperative_sticky import CooperativeStickyAssignor
from kafka.structs import MemberState

from ledger.errors import UnusableLog
from ledger.logs.kafka_client import Settings, connected, explained

LONGEST_PAUSE_SECONDS = 60.0
"""How long between two polls at most; a rebalance waits as long for a member that doesn't answer but is alive."""
_HEARTBEATS_A_SESSION = 4
_LONGEST_HEARTBEAT_MS = 3_000
_LEAVE_MS = 3_000
_ASK_AGAIN_SECONDS = 0.2


class Held(NamedTuple):
    """What a member holds. While it isn't ``settled`` the group is sharing out anew, or is away."""

    is_settled: bool
    partitions: frozenset[int]


class KafkaMember:
    """One member of ``group`` on ``topic``. Not thread-safe. Raises ``LogUnavailable`` when no broker answers."""

    def __init__(
        self,
        servers: str,
        topic: str,
        group: str,
        *,
        session_seconds: float,
        timeout_seconds: float,
        settings: Settings,
    ) -> None:
        self._servers, self._topic, self._group = servers, topic, group
        session_ms = int(session_seconds * 1000)
        self._consumer = connected(
            KafkaConsumer,
            servers,
            timeout_seconds,
            group_id=group,
            enable_auto_commit=False,
            auto_offset_reset="none",
            allow_auto_create_topics=False,
            partition_assignment_strategy=[CooperativeStickyAssignor],
            session_timeout_ms=session_ms,
            heartbeat_interval_ms=min(_LONGEST_HEARTBEAT_MS, session_ms // _HEARTBEATS_A_SESSION),
            max_poll_interval_ms=max(int(LONGEST_PAUSE_SECONDS * 1000), session_ms),
            metrics_enabled=False,
            **settings,
        )
        with explained(topic, servers):
            self._consumer.partitions_for_topic(topic)  # a leader that has not heard of it yet shares out nothing
            self._consumer.subscribe([topic], listener=_Stopped(self._consumer))

    def poll(self, wait_seconds: float) -> Held:
        """Do what the group asks for, for up to so long; what is held now. To be called again and again.

        Raises ``LogUnavailable``, or ``UnusableLog`` where these credentials may not.
        """
        with explained(self._topic, self._servers):
            try:
                self._consumer.poll(timeout_ms=int(wait_seconds * 1000))
            except kafka_errors.GroupAuthorizationFailedError as error:
                advice = f"Grant them READ on the group {self._group}."
                raise UnusableLog(f"These credentials may not join the group {self._group}.", advice) from error
            is_settled = self._consumer.group_metadata().state == MemberState.STABLE
            return Held(is_settled, frozenset(one.partition for one in self._consumer.assignment()))

    def close(self) -> None:
        """Leave the group; that is a courtesy, which a broker that is away doesn't get: the session ends by itself."""
        with suppress(Exception):
            self._consumer.close(autocommit=False, timeout_ms=_LEAVE_MS)


class _Stopped(ConsumerRebalanceListener):  # type: ignore[misc]
    """Stops each partition that is assigned, at a position: then none is ever asked for, and nothing is fetched."""

    def __init__(self, consumer: Any) -> None:
        self._consumer = consumer

    def on_partitions_revoked(self, revoked: Collection[Any]) -> None:
        """Nothing is kept of it."""

    def on_partitions_assigned(self, assigned: Collection[Any]) -> None:
        for partition in assigned:
            self._consumer.pause(partition)
            self._consumer.seek(partition, 0)


def members_of(
    servers: str, groups: Iterable[str], *, timeout_seconds: float = 8.0, settings: Settings | None = None
) -> Mapping[str, int]:
    """How many members each of these groups has. Raises ``LogUnavailable``."""
    deadline = time.monotonic() + timeout_seconds
    with explained("", servers):
        admin = connected(KafkaAdminClient, servers, timeout_seconds, **(settings or {}))
        try:
            found = _described(admin, list(groups), deadline)
            return {name: len(group.get("members") or ()) for name, group in found.items()}
        finally:
            admin.close()


def _described(admin: Any, groups: list[str], deadline: float) -> dict[str, Any]:
    """What the groups' coordinators say: which a new cluster has only after it was asked for one."""
    while True:
        try:
            return dict(admin.describe_groups(groups))
        except (kafka_errors.CoordinatorNotAvailableError, kafka_errors.CoordinatorLoadInProgressError):
            if time.monotonic() > deadline:
                raise
            time.sleep(_ASK_AGAIN_SECONDS)
