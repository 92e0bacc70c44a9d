"""The job ``callbacks``: answers Step Functions tasks and durable functions' callbacks as the ledger decides.

What it knows is the ledger and the store of tokens, and nothing else that counts: it may be killed anywhere. What is
due for each service, and what it proves, is in :mod:`consumers.task_calls` and :mod:`consumers.durable_calls`.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Set
from contextlib import ExitStack
from datetime import UTC, datetime
from typing import Any, Literal, NamedTuple, Protocol

import structlog

from consumers.gates import open_gate
from consumers.operations import metrics
from consumers.settings import Ledger, Settings
from ledger.decision import Decision, decide, judge
from ledger.json_text import write_json
from ledger.packet import Pause
from ledger.partitions import partition_of
from ledger.runtimes.extras import needs
from ledger.runtimes.gate import Grant
from ledger.runtimes.shut import Shut
from ledger.runtimes.task_tokens import Damaged, Kept, TokenFolder, TokenStore
from projections.decisions import as_of_now

with needs("callbacks"):
    import boto3
    from botocore.exceptions import BotoCoreError, ClientError

_ROUND_SECONDS = 0.25
_NAP_SECONDS = 0.05
_AGAIN_SECONDS = 5.0
"""After a call that failed, or that the gate kept back, its task is left alone so long."""
_FAILED = (BotoCoreError, ClientError)

Output = Literal["grant", "arguments"]


class Due(NamedTuple):
    """A call that is due: its name, and how it is made."""

    name: str
    make: Callable[[], None]


class Calls(Protocol):
    """The calls of one service."""

    def due(self, kept: Kept, pause: Pause, decision: Decision, beaten: int | None) -> Due | None:
        """The call that is due for a token; null where none is. ``beaten`` is the heartbeat that was forwarded last."""
        ...

    def is_over(self, error: Exception) -> bool:
        """Whether an error says that nobody waits behind this token any more."""
        ...

    def told_over(self, kept: Kept, pause: Pause, name: str) -> None:
        """What follows from it, when the call of this name was answered so."""
        ...


class CallbacksJob:
    """Answers what waits in the partitions that it was given. See :class:`consumers.jobs.Job`.

    ``calls`` has by the runtime's name how it is answered.
    """

    def __init__(self, ledger: Ledger, tokens: TokenStore, calls: Mapping[str, Calls]) -> None:
        self._ledger = ledger
        self._tokens = tokens
        self._calls = calls
        self._mine: frozenset[int] = frozenset()
        self._next_round = 0.0
        self._left_until: dict[str, float] = {}
        self._beaten: dict[str, int] = {}
        """The heartbeat that was forwarded last; one that is forwarded again by another process harms nobody."""
        self._damaged: set[str] = set()
        self._log = structlog.get_logger().bind(job="callbacks")
        self.finish = ExitStack()

    def take(self, partitions: Set[int]) -> None:
        self._mine = frozenset(partitions)
        self._next_round = 0.0

    def step(self) -> int:
        """A round over the tokens that are kept, four times a second; how many calls were made."""
        if time.monotonic() < self._next_round or not self._mine:
            time.sleep(_NAP_SECONDS)
            return 0
        self._next_round = time.monotonic() + _ROUND_SECONDS
        indexer = self._ledger.indexer
        mine = [
            one for one in self._kept() if partition_of(one.paused.subject, indexer.identity.partitions) in self._mine
        ]
        for partition in {partition_of(one.paused.subject, indexer.identity.partitions) for one in mine}:
            indexer.catch_up_partition(partition)
        return sum(self._answered(one) for one in mine if self._left_until.get(one.hash, 0.0) < time.monotonic())

    def _kept(self) -> list[Kept]:
        """What the store has. What is damaged is told of once, and keeps no other from being answered."""
        found, hashes = [], list(self._tokens.hashes())
        for known in (self._left_until, self._beaten):
            for gone in known.keys() - set(hashes):
                del known[gone]
        for hash in hashes:
            try:
                one = self._tokens.find(hash)
            except Damaged as error:
                if hash not in self._damaged:
                    self._log.error("a token can't be read", problem=str(error))
                self._damaged.add(hash)
                continue
            if one is not None:
                found.append(one)
        return found

    def _answered(self, kept: Kept) -> int:
        """Make the call that is due for a token, if one is."""
        item = self._ledger.index.work_item(kept.paused.subject)
        pause = None if item is None else item.pauses.get(kept.paused.pause)
        if item is None or pause is None:  # its worker has not told of it yet, or is about to tell it again
            return 0
        calls = self._calls.get(str((pause.terms.runtime or {}).get("name")))
        if calls is None:
            return 0
        decision = decide(item, pause, as_of_now(item, datetime.now(UTC)))
        due = calls.due(kept, pause, decision, self._beaten.get(kept.hash))
        if due is None:
            return 0
        try:
            due.make()
            self._told(kept, due.name, "done")
        except Shut as error:
            self._told(kept, due.name, f"shut: {error.code}")
            self._left_until[kept.hash] = time.monotonic() + _AGAIN_SECONDS
        except _FAILED as error:
            self._missed(calls, kept, pause, due.name, error)
        else:
            if due.name == "heartbeat":
                self._beaten[kept.hash] = pause.heartbeat_set
        return 1

    def _missed(self, calls: Calls, kept: Kept, pause: Pause, name: str, error: Exception) -> None:
        """A call failed: it is made again later, unless nobody waits any more."""
        code = error.response["Error"]["Code"] if isinstance(error, ClientError) else type(error).__name__
        self._told(kept, name, code)  # never the message: it may quote the token
        self._left_until[kept.hash] = time.monotonic() + _AGAIN_SECONDS
        if calls.is_over(error):
            calls.told_over(kept, pause, name)

    def _told(self, kept: Kept, name: str, result: str) -> None:
        if name != "forget":
            metrics.CALLBACKS.labels(name, result).inc()
        level = self._log.info if result == "done" else self._log.warning
        level(name, result=result, subject=kept.paused.subject, pause=kept.paused.pause, task=kept.hash)

    def close(self) -> None:
        self.finish.close()


def beat_due(pause: Pause, decision: Decision, beaten: int | None) -> bool:
    """Whether there is a heartbeat to forward: a new one, of an owner who still holds the pause."""
    return pause.heartbeat_set not in (pause.opened, beaten) and decision.judgement.ownership == "held"


def is_clear(decision: Decision) -> bool:
    """Whether an attempt would be accepted: the ledger's own question, with this grant's unknown outcome left out."""
    return judge(decision.item, decision.pause, decision.as_of, own="not_happened").decision == "resume"


def output_of(grant: Grant, output: Output) -> str:
    """What the runtime gets as a result, JSON: the granted action's arguments; ``grant`` has the fence beside them."""
    action = grant.paused.action or {}
    arguments = action.get("arguments")
    if output == "arguments":
        return write_json(arguments).decode()
    told = {"arguments": arguments, "fence": grant.fence, "idempotency_key": action.get("idempotency_key")}
    return write_json({"pause": grant.paused.pause, **told}).decode()


def open_job(settings: Settings) -> CallbacksJob:
    """Open ledger, gate and tokens; where AWS is, boto3's own environment says."""
    from consumers.durable_calls import DurableCalls
    from consumers.task_calls import TaskCalls

    with ExitStack() as stack:
        ledger = settings.open()
        stack.callback(ledger.close)
        gate = stack.enter_context(
            open_gate(
                settings.log,
                index_url=settings.index_url,
                outbox=settings.callbacks_outbox,
                source=settings.callbacks_source,
                actor="service:callbacks",
            )
        )

        def new_client(service: str) -> Any:
            client = boto3.client(service)
            stack.callback(client.close)
            return client

        tokens, output = TokenFolder(settings.callbacks_tokens), settings.callbacks_output
        calls: dict[str, Calls] = {
            "step_functions": TaskCalls(gate, tokens, lambda: new_client("stepfunctions"), output),
            "lambda_durable": DurableCalls(gate, tokens, new_client("lambda"), output),
        }
        job = CallbacksJob(ledger, tokens, calls)
        job.finish = stack.pop_all()
        return job
