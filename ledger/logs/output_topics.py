"""The topics beside a ledger's: every verdict, the newest decision of every pause, and the notary's checkpoints.

They have the ledger's partition count and as many replicas. Verdicts go after a while, for the ledger gives them again;
decisions and checkpoints are compacted. They are made where they are absent, and refused where they would lose what
they must keep.
"""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import closing
from typing import NamedTuple

from ledger.errors import UnusableLog, WrongUsage
from ledger.logs.kafka_client import Settings
from ledger.logs.kafka_emitter import MOST_OUTPUT_BYTES
from ledger.logs.topic import TopicDesk, TopicState

_DAY_MS = 24 * 60 * 60 * 1000
_ALL: Mapping[str, str] = {
    "message.timestamp.type": "LogAppendTime",
    "unclean.leader.election.enable": "false",
    "compression.type": "uncompressed",
    "max.message.bytes": str(MOST_OUTPUT_BYTES),
}
_REMOVE = "Remove the topics {} and {} and start again: they are made anew, from the first entry on."


class OutputTopics(NamedTuple):
    """Their names."""

    verdicts: str
    decisions: str

    @property
    def remove(self) -> str:
        """The advice for whoever must begin them again."""
        return _REMOVE.format(*self)


def output_topics(ledger: str) -> OutputTopics:
    """The names of the topics beside a ledger's topic."""
    return OutputTopics(f"{ledger}.verdicts", f"{ledger}.decisions")


def make_output_topics(
    servers: str,
    ledger: str,
    *,
    verdicts_retention_days: float,
    timeout_seconds: float,
    settings: Settings,
) -> OutputTopics:
    """See that both are there and as they must be; make what is absent.

    Raises ``UnusableLog`` for a wrong partition count, policy or clock, and where they can't be made.
    """
    topics = output_topics(ledger)
    retention = str(int(verdicts_retention_days * _DAY_MS))
    wanted = {
        topics.verdicts: {**_ALL, "cleanup.policy": "delete", "retention.ms": retention},
        topics.decisions: {**_ALL, "cleanup.policy": "compact"},
    }
    _make_all(servers, ledger, wanted, timeout_seconds, settings)
    return topics


def make_checkpoints_topic(servers: str, ledger: str, *, timeout_seconds: float, settings: Settings) -> str:
    """The same for the topic of checkpoints, ``LEDGER.checkpoints``; gives its name."""
    topic = f"{ledger}.checkpoints"
    _make_all(servers, ledger, {topic: {**_ALL, "cleanup.policy": "compact"}}, timeout_seconds, settings)
    return topic


def _make_all(
    servers: str,
    ledger: str,
    wanted: Mapping[str, Mapping[str, str]],
    timeout_seconds: float,
    settings: Settings,
) -> None:
    with closing(TopicDesk(servers, ledger, timeout_seconds=timeout_seconds, settings=settings)) as desk:
        beside = desk.state()
    for topic, chosen in wanted.items():
        with closing(TopicDesk(servers, topic, timeout_seconds=timeout_seconds, settings=settings)) as desk:
            _make(desk, beside, chosen)
            partitions, found = len(desk.metadata()[1]), desk.settings()
        _refuse_unfit(topic, partitions, beside.partitions, found, chosen["cleanup.policy"])


def _make(desk: TopicDesk, beside: TopicState, chosen: Mapping[str, str]) -> None:
    if desk.is_known():
        return
    in_sync = beside.settings.get("min.insync.replicas")
    also = {} if in_sync is None else {"min.insync.replicas": in_sync}
    try:
        desk.create(beside.partitions, beside.replication, {**chosen, **also})
    except WrongUsage:
        desk.metadata()  # another emitter made it at the same moment; else this says that it isn't there


def _refuse_unfit(topic: str, partitions: int, wanted: int, settings: Mapping[str, str], policy: str) -> None:
    advice = "Remove it: the job makes it as it must be."
    if partitions != wanted:
        raise UnusableLog(f"The topic {topic!r} has {partitions} partitions, and its ledger has {wanted}.", advice)
    if (found := settings.get("cleanup.policy", policy)) != policy:
        raise UnusableLog(f"The topic {topic!r} has cleanup.policy={found}, not {policy}.", advice)
    if (clock := settings.get("message.timestamp.type", "LogAppendTime")) != "LogAppendTime":
        raise UnusableLog(f"The topic {topic!r} has message.timestamp.type={clock}, not LogAppendTime.", advice)
