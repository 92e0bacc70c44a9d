"""What LangGraph's interrupts and their answers mean: which action waits, on which terms, and what was decided of it.

LangGraph knows neither owner nor deadline: they are members of the interrupt's value, else of these settings.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple

from ledger.errors import WrongUsage
from ledger.runtimes.gate import Who
from ledger.runtimes.shut import Shut

TERMS = (
    "owner",
    "route",
    "recheck",
    "trigger",
    "contract",
    "no_resume_condition",
    "fresh_for",
    "fresh_until",
    "reconcile_within",
    "heartbeat_timeout",
    "heartbeat_by",
    "requires_review",
    "resume_authority",
    "side_effect",
)
"""Members of an interrupt's value that are members of its pause."""
_DEADLINES = ("fresh_for", "fresh_until")
_UNLESS_TOLD: dict[str, Any] = {"requires_review": True, "side_effect": "not_happened"}
_OUTCOMES = {"approve": "approve", "edit": "edit", "reject": "reject", "respond": "reject"}
_WORDS = {True: "approve", "approve": "approve", False: "reject", "reject": "reject"}


class Decided(NamedTuple):
    """What a person decided of one action; ``edited`` is the action that is to be done instead, with ``edit``."""

    outcome: str
    edited: Mapping[str, Any] | None = None


def action_of(action: Mapping[str, Any]) -> dict[str, Any]:
    """An action as the ledger has it: of kind ``tool`` unless it says otherwise."""
    return {"kind": "tool", **action}


def tool_action(name: str, arguments: Any) -> dict[str, Any]:
    """The action of a tool call. The call's id is no part of it: a model that asks again means the same effect."""
    return {"kind": "tool", "name": name, "arguments": arguments}


def actions_of(value: Any) -> list[dict[str, Any]]:
    """The actions that wait for an interrupt's answer, in order; none where the value names none.

    Read are ``{"action": {"name": …, "arguments": …}}``, ``{"actions": […]}``, and both of langchain's
    HumanInTheLoopMiddleware: ``{"action_requests": […]}`` and ``{"type": "tool_approval", …}``.
    """
    match value:
        case {"action": Mapping() as action}:
            return [action_of(action)]
        case {"actions": [*actions]}:
            return [action_of(action) for action in actions]
        case {"action_requests": [*requests]}:
            return [tool_action(request["name"], request["args"]) for request in requests]
        case {"type": "tool_approval", "name": name, "args": arguments}:
            return [tool_action(name, arguments)]
    return []


def decisions_of(answer: Any, actions: Sequence[Mapping[str, Any]]) -> list[Decided]:
    """What an answer decides of each action, in order.

    Read are ``True``, ``False``, ``"approve"``, ``"reject"`` and langchain's ``{"type": "approve" | "edit" | "reject" |
    "respond"}``, for several actions in ``{"decisions": […]}``. Raises ``WrongUsage`` for any other: an answer that
    nobody understands is no approval.
    """
    several = isinstance(answer, Mapping) and "decisions" in answer
    given = answer["decisions"] if several else [answer]
    if len(given) != len(actions):
        raise WrongUsage(f"{len(given)} decisions for {len(actions)} actions.", "Give one for each, in their order.")
    return [_decided(one, action) for one, action in zip(given, actions, strict=True)]


def _decided(answer: Any, action: Mapping[str, Any]) -> Decided:
    match answer:
        case bool() | str() if answer in _WORDS:
            return Decided(_WORDS[answer])
        case {"type": "edit", "edited_action": {"name": name, "args": arguments}}:
            return Decided("edit", {**action, "name": name, "arguments": arguments})
        case {"type": str() as word} if word in _OUTCOMES and word != "edit":
            return Decided(_OUTCOMES[word])
    raise WrongUsage(
        "Nobody can tell whether this answer approves the action.",
        'Answer {"type": "approve"}, "edit" with "edited_action", or "reject"; or give Settings.decisions.',
    )


def see_that_middleware_reads(value: Any, answer: Any) -> None:
    """Raises ``WrongUsage`` for an answer that langchain's HumanInTheLoopMiddleware would fail on, after the grant."""
    match value:
        case {"action_requests": [*_], "review_configs": [*configs]}:
            decisions = answer.get("decisions") if isinstance(answer, Mapping) else None
            if not isinstance(decisions, Sequence) or isinstance(decisions, str):
                raise WrongUsage(
                    "HumanInTheLoopMiddleware reads no such answer.",
                    'Answer {"decisions": [{"type": "approve"}, …]}, one for each of its action_requests.',
                )
            allowed = [one.get("allowed_decisions") for one in configs]
            for decision, words in zip(decisions, allowed if len(allowed) == len(decisions) else (), strict=False):
                _see_that_it_is_typed(decision, words)
        case {"type": "tool_approval"}:
            _see_that_it_is_typed(answer, None)


def _see_that_it_is_typed(decision: Any, allowed: Any) -> None:
    word = decision.get("type") if isinstance(decision, Mapping) else None
    if word is None or (allowed and word not in allowed):
        words = " or ".join(f'"{one}"' for one in allowed or ("approve", "edit", "reject", "respond"))
        raise WrongUsage(
            f"HumanInTheLoopMiddleware does not take {word or decision!r} for this call.", f'Give {{"type": {words}}}.'
        )


class Settings(NamedTuple):
    """What is not in the graph. All of it may be left out."""

    subject: Callable[[Mapping[str, Any]], str] | None = None
    """From the graph's state to the work item; the thread's id unless given. It must not change while a run lasts."""
    terms: Mapping[str, Any] = {}
    """Members of ``pause.opened`` for all pauses: ``owner``, ``route``, ``fresh_for``, ``recheck`` …"""
    by_action: Mapping[str, Mapping[str, Any]] = {}
    """The same by the action's name, above ``terms``; the interrupt's value is above both."""
    actions: Callable[[Any], Sequence[Mapping[str, Any]]] = actions_of
    """From an interrupt's value to the actions that wait for its answer."""
    decisions: Callable[[Any, Sequence[Mapping[str, Any]]], Sequence[Decided]] = decisions_of
    """From an answer, and the actions, to what was decided of each."""
    answers_name_actor: bool = False
    """Whether ``actor`` and ``roles`` of an answer are believed where the config names nobody. Only for a program that
    writes them itself, of somebody whom it has authenticated: whoever brings an answer can write any name into it."""

    def terms_of(self, value: Any, action: Mapping[str, Any] | None) -> dict[str, Any]:
        """The terms of a pause. A deadline of a higher place replaces that of a lower one, whichever of the two."""
        name = "" if action is None else str(action.get("name"))
        own = {term: value[term] for term in TERMS if term in value} if isinstance(value, Mapping) else {}
        terms = dict(_UNLESS_TOLD)
        for place in (self.terms, self.by_action.get(name, {}), own):
            if any(one in place for one in _DEADLINES):
                terms = {term: given for term, given in terms.items() if term not in _DEADLINES}
            terms.update(place)
        return terms


def who_of(configurable: Mapping[str, Any], otherwise: Who) -> Who:
    """Whose doing a call is: the config's ``pauseledger_actor`` and ``pauseledger_roles``, else the gate's own."""
    if configurable.get("pauseledger_actor"):
        return Who(configurable["pauseledger_actor"], _roles(configurable.get("pauseledger_roles")))
    return otherwise


def who_answers(configurable: Mapping[str, Any], answer: Any, otherwise: Who, *, believed: bool) -> Who:
    """Who answers: as :func:`who_of`; the answer's ``actor`` and ``roles`` only where believed, and none is configured.

    Raises ``Shut`` where the answer names another than the one who counts.
    """
    who = who_of(configurable, otherwise)
    named = answer.get("actor") if isinstance(answer, Mapping) else None
    if not named or named == who.actor:
        return who
    if configurable.get("pauseledger_actor"):
        raise Shut("refused", f"The answer says that it is {named}'s, and the config that it is {who.actor}'s.")
    if not believed:
        reason = f"The answer says that it is {named}'s, and nobody vouches for that: say who answers in the config's "
        raise Shut("refused", reason + "pauseledger_actor, or set Settings.answers_name_actor.")
    return Who(named, _roles(answer.get("roles")))


def _roles(given: Any) -> Sequence[str]:
    if isinstance(given, str):
        return [one.strip() for one in given.split(",")]
    return list(given or ())
