"""The tools: what each does at the gate, what it needs of a credential, and what a model is told of it.

All do what :mod:`ledger.runtimes.gate` does; an answer is a JSON object. The effect itself is the agent's: it happens
between ``attempt`` and ``observe``, and only if ``attempt`` was accepted.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

from consumers.api.access import EVENT_SCOPES
from consumers.mcp import arguments as given
from ledger.actions import action_digest
from ledger.runtimes.gate import Gate, is_open
from ledger.runtimes.guard import seconds_left, steady
from ledger.runtimes.pauses import Paused
from ledger.runtimes.shut import Shut
from ledger.sending import Answer, Unknown

Told = dict[str, Any]

INSTRUCTIONS = """\
The ledger decides whether a paused action may go on. Nothing but an accepted attempt is permission to act.
1. Before an action with a side effect: open_pause, and keep what it answers. Beat with heartbeat where you must.
2. Ask decision when you are about to go on: review, reconcile, settle and terminate each say what to do instead.
3. request_resume gives a fence. attempt with that fence: only if it says may_act is true, do the action, once, before
   act_within_seconds have passed. After any error, or no answer: do not act.
4. observe what became of it: happened, not_happened (it has not, and will not), else indeterminate. close_pause.
Who you are is known here already; there is no argument for it."""


class Tool(NamedTuple):
    """One tool. ``event`` is the type that it publishes; null where it only reads."""

    description: str
    arguments: type[given.Arguments]
    event: str | None
    work: Callable[[Gate, Any], Told]

    @property
    def scope(self) -> str:
        """The scope that a credential needs for it."""
        return "read" if self.event is None else EVENT_SCOPES[self.event]


def _paused(where: given.InPause) -> Paused:
    return Paused(where.work_item, where.execution, where.pause)


def _fact(answer: Answer, **more: Any) -> Told:
    """What is told of a fact. Raises ``Shut`` where the ledger refused it; one that is on its way counts as told."""
    if isinstance(answer, Unknown):
        then = "It is kept and sent again." if answer.kept else "Send it again."
        return {"verdict": "unknown", "reason": answer.reason, "advice": f"{then} Until then nothing may act.", **more}
    told = answer.counting()
    if told["verdict"] != "accepted":
        raise Shut("refused", told["reason"], answer=answer)
    return {"verdict": "accepted", "entry": f"{told['partition']}:{told['offset']}", **more}


def open_pause(gate: Gate, args: given.OpenPause) -> Told:
    terms = args.model_dump(exclude_none=True, exclude={"work_item", "execution", "interrupt", "checkpoint", "action"})
    paused = Paused.of(
        runtime="mcp",
        subject=args.work_item,
        execution=args.execution,
        checkpoint=args.checkpoint,
        interrupt=args.interrupt,
        action=args.action,
    )
    where = {"work_item": paused.subject, "execution": paused.execution, "pause": paused.pause}
    if paused.action_digest is not None:
        where["action_digest"] = paused.action_digest
    answer = gate.pause(paused, **terms)
    if is_open(answer) and not answer.accepted:
        return {"verdict": "known", "reason": "It was opened before: what was said of it first stands.", **where}
    return _fact(answer, **where)


def heartbeat(gate: Gate, args: given.Beat) -> Told:
    return _fact(gate.heartbeat(_paused(args)))


def observe(gate: Gate, args: given.Observe) -> Told:
    return _fact(
        gate.observe(
            _paused(args),
            args.status,
            settles=args.settles,
            action_digest=args.action_digest,
            evidence=args.evidence,
        )
    )


def decision(gate: Gate, args: given.Decide) -> Told:
    packet = gate.packet(_paused(args))
    shown = ("state", "outcome", "owner", "pending_action", "side_effect", "side_effect_by", "grant", "fence")
    return {"decision": gate.decision(_paused(args)), "packet": {name: packet.get(name) for name in shown}}


def recheck(gate: Gate, args: given.Recheck) -> Told:
    data = {"pause": args.pause, "fresh_for": args.fresh_for, "evidence": args.evidence}
    return _fact(gate.ask("inputs.rechecked", _paused(args), data))


def review(gate: Gate, args: given.Review) -> Told:
    data = {
        "pause": args.pause,
        "outcome": args.outcome,
        "action_digest": args.action_digest,
        "pending_action": args.action,
        "fresh_for": args.fresh_for,
    }
    digest = args.action_digest if args.action is None else action_digest(args.action)
    return _fact(gate.ask("review.decided", _paused(args), data), action_digest=digest)


def request_resume(gate: Gate, args: given.RequestResume) -> Told:
    data = {"pause": args.pause, "action_digest": args.action_digest}  # of what the caller means, not of what is there
    verdict = gate.ask("resume.requested", _paused(args), data)
    return _fact(verdict, fence=verdict.counting()["fence"], next="attempt with this fence, and act only if it may.")


def attempt(gate: Gate, args: given.Attempt) -> Told:
    paused, sent = _paused(args), steady()
    verdict = gate.ask("side_effect.attempted", paused, {"pause": args.pause, "fence": args.fence})
    told = verdict.counting()
    entry = f"{told['partition']}:{told['offset']}"
    left = seconds_left(told, steady() - sent)
    left = None if left is None else round(left, 3)
    if left is not None and left <= 0:
        reason = "The permission to act ran out before it came: do not act."
        gate.observe(paused, "not_happened", settles=entry, evidence=reason)
        raise Shut("review", reason, answer=verdict)
    answer = _fact(verdict, may_act=True, fence=args.fence, settles=entry, valid_until=told.get("valid_until"))
    return answer | {"act_within_seconds": left, "next": "Act once, now; then observe with settles."}


def close_pause(gate: Gate, args: given.Close) -> Told:
    return _fact(gate.close(_paused(args), args.outcome))


TOOLS: dict[str, Tool] = {
    "open_pause": Tool(
        "Say that you are about to do something and wait. The same names make the same pause. Gives no permission.",
        given.OpenPause,
        "pauseledger.pause.opened",
        open_pause,
    ),
    "heartbeat": Tool(
        "Say that the owner is alive. After heartbeat_timeout of silence nobody is granted a resume.",
        given.Beat,
        "pauseledger.heartbeat.recorded",
        heartbeat,
    ),
    "decision": Tool(
        "What may be done with a pause now: resume, review, reconcile, settle, terminate or closed, with the reason."
        " It is no permission. Read side_effect_by here before you look at the world.",
        given.Decide,
        None,
        decision,
    ),
    "recheck": Tool(
        "Say that the plan was looked at again, and is fresh for so long. Only after you have really looked.",
        given.Recheck,
        "pauseledger.inputs.rechecked",
        recheck,
    ),
    "review": Tool(
        "Record what the reviewer decided of exactly the action with this digest. Never decide it for a person.",
        given.Review,
        "pauseledger.review.decided",
        review,
    ),
    "request_resume": Tool(
        "Ask to go on with exactly the action of this digest. Accepted, it gives a fence; it is no permission yet.",
        given.RequestResume,
        "pauseledger.resume.requested",
        request_resume,
    ),
    "attempt": Tool(
        "Ask to act now, with the fence. may_act true is the only permission there is: once, and within"
        " act_within_seconds. After an error or no answer do not act, and do not try again with this fence.",
        given.Attempt,
        "pauseledger.side_effect.attempted",
        attempt,
    ),
    "observe": Tool(
        "Say what became of the action. not_happened promises that it will not happen any more either; where you"
        " can't tell, say indeterminate. Give settles.",
        given.Observe,
        "pauseledger.side_effect.observed",
        observe,
    ),
    "close_pause": Tool(
        "Close a pause: executed after it happened, settled where it had happened before, abandoned where it will not.",
        given.Close,
        "pauseledger.pause.closed",
        close_pause,
    ),
}
