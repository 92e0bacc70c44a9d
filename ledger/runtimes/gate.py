"""The gate: the one law that every adapter shares. What may act on a paused action, and what is told of it.

1. Facts (a pause, a heartbeat, an observation) have ids made of the runtime's own: told again they count once, and
   where the log can't be reached the publisher's outbox keeps them. Requests have a new id each.
2. Nothing acts but inside :meth:`Gate.guard`, after the log has accepted an attempt with the fence of a grant. No
   answer in time, or any other answer, and the gate stays shut.
3. What was seen is published: ``happened`` when the effect returned, ``not_happened`` only for errors that the caller
   declares as proof of it, else ``indeterminate``. A crash says nothing, and reads ``reconcile``.
"""

from __future__ import annotations

import hashlib
import json
import logging
import uuid
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from datetime import UTC, datetime, timedelta
from typing import Any, NamedTuple, Protocol

from ledger.errors import LedgerError, NotFound, WrongUsage
from ledger.events import SideEffect
from ledger.json_text import write_json
from ledger.runtimes.advice import Asked
from ledger.runtimes.guard import Guard
from ledger.runtimes.pauses import Paused
from ledger.runtimes.shut import Shut, shut
from ledger.sending import Answer, Publishable, Unknown
from ledger.times import format_duration, format_instant, parse_instant
from ledger.verdict import Verdict

_LOG = logging.getLogger("pauseledger.gate")

KNOWN_BEFORE = ("pause-exists", "id-reused")
"""A pause that was opened before: what was said of it first stands, its deadlines above all."""


def is_open(answer: Answer) -> bool:
    """Whether a pause is on the ledger, by the answer to its telling: now, or since it was told before."""
    if isinstance(answer, Unknown):
        return False
    return answer.accepted or answer.counting()["code"] in KNOWN_BEFORE


class Publishing(Protocol):
    """What a gate publishes with: :class:`ledger.publisher.Publisher`, or anything that answers like it."""

    def publish(self, event: Publishable, *, deadline_seconds: float | None = None) -> Answer: ...


class Reading(Protocol):
    """What a gate looks at the ledger with, as it is now. Raises ``NotFound`` for a pause that is not there."""

    def packet(self, subject: str, pause: str) -> dict[str, Any]: ...

    def decision(self, subject: str, pause: str) -> dict[str, Any]: ...

    def work_item(self, subject: str) -> dict[str, Any]: ...


class Who(NamedTuple):
    """Who does it: a principal (``user:…``, ``role:…``, ``service:…``) and the roles that it holds."""

    actor: str | None = None
    roles: Sequence[str] = ()


class Grant(NamedTuple):
    """An accepted request to resume: whoever attempts first with its fence may act, once."""

    paused: Paused
    fence: int


class Gate:
    """The gate of one runtime. Thread-safe.

    ``source`` names the publisher on the ledger (a CloudEvents source: unique to the deployment); ``who`` is whose
    doing everything is unless another is named; each publishing waits at most ``deadline_seconds`` for its verdict.
    """

    def __init__(
        self,
        publisher: Publishing,
        reader: Reading,
        *,
        source: str,
        who: Who | None = None,
        deadline_seconds: float = 10.0,
    ) -> None:
        self.source = source
        self.who = who or Who()
        self.deadline_seconds = deadline_seconds
        self._publisher = publisher
        self._reader = reader

    # -- facts --------------------------------------------------------------------------------------

    def pause(self, paused: Paused, *, who: Who | None = None, time: datetime | None = None, **terms: Any) -> Answer:
        """Tell of a pause. ``terms`` are members of ``pause.opened``: ``owner``, ``fresh_for``, ``requires_review`` …

        ``time`` is when it was paused, this moment unless given: ``fresh_for`` counts from then, or from the instant at
        which the log had it, whichever is earlier. So neither an outbox nor a clock that is ahead makes a plan fresh
        for longer; one that is behind makes it stale earlier. (What the outbox holds is overtaken by a process that
        tells of the same pause anew: it gives ``time`` where its runtime knows it.)

        Told again, also with other terms, the first time stands. Raises ``WrongUsage`` for terms that can't be meant,
        ``Shut`` where the ledger refuses it (the work item is another execution's, say): then nothing of it will be
        granted. Told again later it may open, and is as old as it was when it was refused.
        """
        answer = self.tell_pause(paused, who=who, time=time, **terms)
        if isinstance(answer, Verdict) and not is_open(answer):
            raise self.shut(answer, paused, who=who)
        return answer

    def tell_pause(
        self, paused: Paused, *, who: Who | None = None, time: datetime | None = None, **terms: Any
    ) -> Answer:
        """As :meth:`pause`; but a refusal is logged and returned: for adapters, whose run goes on to its interrupt.

        :func:`is_open` reads the answer.
        """
        data = {"pause": paused.pause, "pending_action": paused.action, **terms}
        name, when = f"{paused.pause}/opened", time or _now()
        answer = self.tell("pause.opened", paused, data, id=name, who=who, time=when)
        if isinstance(answer, Verdict) and self._was_refused_before(answer, paused):
            when = when if answer.first is None else min(when, parse_instant(answer.first["recorded_at"]))
            answer = self.tell("pause.opened", paused, data, id=f"{name}/{answer.entry}", who=who, time=when)
        if isinstance(answer, Verdict) and not is_open(answer):
            _LOG.warning("The pause %s of %s is refused: %s", paused.pause, paused.subject, answer.counting()["reason"])
        return answer

    def _was_refused_before(self, answer: Verdict, paused: Paused) -> bool:
        """Whether an earlier telling was refused, and only its id used up: told under another, it may open now."""
        if answer.verdict == "duplicate":
            return not is_open(answer) and answer.counting()["code"] != "execution-retired"  # that one is for ever
        if answer.code != "id-reused":
            return False
        try:
            self.packet(paused)
        except LedgerError:  # not there; where nobody can say, it is told anew all the same: where it stands it stays
            return True
        return False

    def heartbeat(self, paused: Paused, *, id: str | None = None, who: Who | None = None) -> Answer:
        """Say that the owner is alive. ``id`` is the runtime's own of this beat, where it has one."""
        beat = id or uuid.uuid4().hex
        data = {"pause": paused.pause}
        name = f"{paused.pause}/beat/{beat}"  # a beat that the outbox sends later must not count as of then
        return self.tell("heartbeat.recorded", paused, data, id=name, who=who, time=_now())

    def observe(
        self,
        paused: Paused,
        status: SideEffect,
        *,
        settles: str | None = None,
        action_digest: str | None = None,
        evidence: Any = None,
        who: Who | None = None,
    ) -> Answer:
        """Tell what was seen of the side effect. ``settles`` is ``side_effect_by`` as read before looking.

        The same told again by the same actor counts once; with other evidence, or by another, it is told anew.

        ``action_digest`` is of what was looked for, the pause's own action unless given.
        """
        data = {
            "pause": paused.pause,
            "status": status,
            "settles": settles,
            "action_digest": action_digest or paused.action_digest,
            "evidence": evidence,
        }
        by = who or self.who
        seen = _digest([by.actor, list(by.roles), _json(data)])  # one that was refused is not in the way
        name = f"{paused.pause}/observed/{settles or uuid.uuid4().hex}/{status}/{seen}"
        return self.tell("side_effect.observed", paused, data, id=name, who=who)

    def inputs_changed(self, paused: Paused, *, id: str, reason: str | None = None) -> Answer:
        """Tell that what the plan rests on has changed: the pause expires, and what was approved is void."""
        data = {"pause": paused.pause, "reason": reason}
        return self.tell("inputs.changed", paused, data, id=f"{paused.pause}/inputs/{id}")

    # -- requests -----------------------------------------------------------------------------------

    def recheck(
        self,
        paused: Paused,
        *,
        fresh_for: timedelta | None = None,
        fresh_until: datetime | None = None,
        evidence: Any = None,
        who: Who | None = None,
    ) -> Verdict:
        """Say that the plan was looked at again and is fresh so long. Raises ``Shut`` unless it is accepted.

        ``fresh_for`` counts as of :meth:`pause`: from this moment, or from when the log had it if that is earlier.
        """
        data = {"pause": paused.pause, **_deadline(fresh_for, fresh_until), "evidence": evidence}
        return self.ask("inputs.rechecked", paused, data, who=who)

    def review(
        self,
        paused: Paused,
        outcome: str,
        *,
        edited: Mapping[str, Any] | None = None,
        fresh_for: timedelta | None = None,
        fresh_until: datetime | None = None,
        who: Who | None = None,
    ) -> Paused:
        """Decide a review: ``approve``, ``edit`` (with the ``edited`` action) or ``reject``; the pause as it is then.

        ``fresh_for`` counts as of :meth:`recheck`.
        Raises ``Shut`` unless it is accepted: the reviewer has no authority, say, or the plan is stale.
        """
        data = {
            "pause": paused.pause,
            "outcome": outcome,
            "action_digest": paused.action_digest,
            "pending_action": edited,
            **_deadline(fresh_for, fresh_until),
        }
        self.ask("review.decided", paused, data, who=who)
        return paused if edited is None else paused._replace(action=edited)

    def request_resume(self, paused: Paused, *, who: Who | None = None) -> Grant:
        """Ask to act, and wait for the verdict. Raises ``Shut``, with the decision and its reason, unless granted."""
        data = {"pause": paused.pause, "action_digest": paused.action_digest}
        verdict = self.ask("resume.requested", paused, data, who=who)
        return Grant(paused, verdict.counting()["fence"])

    def close(self, paused: Paused, outcome: str, *, who: Who | None = None) -> Verdict:
        """Close a pause: ``executed``, ``settled`` or ``abandoned``. Raises ``Shut`` unless it is accepted."""
        return self.ask("pause.closed", paused, {"pause": paused.pause, "outcome": outcome}, who=who)

    def finish(self, paused: Paused, *, outcome: str | None = None) -> Verdict:
        """Say that the execution has ended; its open pauses close. Raises ``Shut`` unless it is accepted."""
        return self.ask("execution.finished", paused, {"outcome": outcome})

    def guard(self, grant: Grant, *, proof: tuple[type[BaseException], ...] = (), close: bool = True) -> Guard:
        """What the effect itself is done in: ``with gate.guard(grant) as permit:``, or as a decorator, or async.

        ``proof`` are the errors that prove that nothing happened and nothing will. Unless ``close`` is false the pause
        is closed as ``executed`` when the effect has returned.
        """
        return Guard(self, grant, proof=proof, close=close)

    # -- looking ------------------------------------------------------------------------------------

    def packet(self, paused: Paused) -> dict[str, Any]:
        """The pause's packet now (protocol, section 4). Raises ``NotFound``."""
        return self._reader.packet(paused.subject, paused.pause)

    def decision(self, paused: Paused) -> dict[str, Any]:
        """The pause's decision now (protocol, section 6). Raises ``NotFound``."""
        return self._reader.decision(paused.subject, paused.pause)

    def work_item(self, subject: str) -> dict[str, Any]:
        """Who works on a work item, and its pauses. Raises ``NotFound``."""
        return self._reader.work_item(subject)

    def outstanding(self, paused: Paused) -> Grant | None:
        """The grant that nobody has attempted with yet, whoever asked for it; null where there is none."""
        packet = self.packet(paused)
        if packet["state"] != "open" or packet["grant"] != "granted":
            return None
        return Grant(paused._replace(action=packet["pending_action"]), packet["fence"])

    def reconcile(self, paused: Paused, look: Callable[[dict[str, Any]], SideEffect], *, who: Who | None = None) -> str:
        """Look at the world, and tell what was seen: the way out of ``reconcile``.

        ``look`` is given the packet and says what became of its action; ``not_happened`` promises that it will not
        happen any more either: while somebody may still be doing it, it leads to a second effect, and the ledger asks
        nobody's authority for it. What came onto the ledger meanwhile is not overruled.
        """
        packet = self.packet(paused)
        paused = paused._replace(action=packet["pending_action"])
        status = look(packet)
        answer = self.observe(paused, status, settles=packet["side_effect_by"], who=who)
        if not answer.accepted:
            raise self.shut(answer, paused, who=who)
        return status

    # -- the wire -----------------------------------------------------------------------------------

    def tell(
        self,
        name: str,
        paused: Paused,
        data: Mapping[str, Any],
        *,
        id: str,
        who: Who | None = None,
        time: datetime | None = None,
    ) -> Answer:
        """Publish a fact about the pause's execution. Raises ``WrongUsage`` where it is malformed."""
        answer = self._publish(name, paused, data, _fitting(id), who, time)
        if answer.verdict == "malformed":
            raise WrongUsage(f"The ledger can't take this {name}: {answer.reason}", "Mend what the adapter was given.")
        if isinstance(answer, Unknown):
            _LOG.warning("%s of %s has no verdict yet: %s", name, paused.subject, answer.reason)
        return answer

    def ask(self, name: str, paused: Paused, data: Mapping[str, Any], *, who: Who | None = None) -> Verdict:
        """Publish a request about the pause's execution, made this moment. Raises ``Shut`` unless it is accepted."""
        answer = self._publish(name, paused, data, uuid.uuid4().hex, who, _now())
        if isinstance(answer, Unknown) or not answer.accepted:
            raise self.shut(answer, paused, data, who=who)
        return answer  # where it is a duplicate it is of our own resend: nobody else knows the id

    def _publish(
        self,
        name: str,
        paused: Paused,
        data: Mapping[str, Any],
        id: str,
        who: Who | None,
        time: datetime | None,
    ) -> Answer:
        who = who or self.who
        event = {
            "specversion": "1.0",
            "id": id,
            "source": self.source,
            "type": f"pauseledger.{name}",
            "subject": paused.subject,
            "time": None if time is None else format_instant(time),
            "actor": who.actor,
            "actorroles": ",".join(who.roles) or None,
            "datacontenttype": "application/json",
            "data": {"execution": paused.execution, **_json(data)},
        }
        present = {key: value for key, value in event.items() if value is not None}
        return self._publisher.publish(present, deadline_seconds=self.deadline_seconds)

    def shut(
        self, answer: Answer, paused: Paused, data: Mapping[str, Any] | None = None, *, who: Who | None = None
    ) -> Shut:
        """The error for an answer that is no permission, with the pause's decision now and what to do about it."""
        decision, packet = None, None
        if not isinstance(answer, Unknown):  # who can't be reached need not be asked a second time
            with suppress(NotFound, LedgerError):
                decision, packet = self.decision(paused), self.packet(paused)
        by = who or self.who
        return shut(answer, decision, Asked(by, by == self.who, answer.type or "", data or {}, packet))


def _now() -> datetime:
    return datetime.now(UTC)


def _deadline(fresh_for: timedelta | None, fresh_until: datetime | None) -> dict[str, Any]:
    return {"fresh_for": fresh_for, "fresh_until": fresh_until}


def _json(data: Mapping[str, Any]) -> dict[str, Any]:
    """The members that are there; durations and instants as the protocol writes them."""
    return {name: _written(value) for name, value in data.items() if value is not None}


def _written(value: Any) -> Any:
    if isinstance(value, timedelta):
        return format_duration(value)
    if isinstance(value, datetime):
        return value.isoformat()
    if isinstance(value, tuple):
        return list(value)
    return dict(value) if isinstance(value, Mapping) else value


def _digest(value: Any) -> str:
    """Of a value as JSON, whatever the order of its members; empty for what is none, which nothing takes anyhow."""
    try:
        text = json.dumps(json.loads(write_json(value)), sort_keys=True)
    except (TypeError, ValueError, RecursionError):
        return ""
    return hashlib.sha256(text.encode()).hexdigest()[:16]


def _fitting(id: str) -> str:
    """An id of at most 256 characters; a long one keeps its end, and is told apart by a digest."""
    if len(id) <= 256:
        return id
    return f"{uuid.uuid5(uuid.NAMESPACE_URL, id).hex}{id[-200:]}"
