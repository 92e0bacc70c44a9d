"""What is true, as the world model keeps it: an oracle that listens to what was accepted and never asks the fold.

It holds plain facts (who was named canonical, when a plan runs out, which grant is still good) and says of an accepted
attempt why it should never have been. It shares no code with the checks: a rule that is wrong there is not wrong here.
"""

from __future__ import annotations

from typing import Any, NamedTuple


class Broken(Exception):
    """A property of the world that did not hold: its letter, and what happened."""

    def __init__(self, letter: str, what: str) -> None:
        super().__init__(f"({letter}) {what}")
        self.letter = letter
        self.what = what


class Plan(NamedTuple):
    """What is true of one pause. ``unknown``: since which entry its outcome is owed; ``grant``: a fence still good."""

    execution: str
    opened: int
    action: str | None
    authority: tuple[str, ...]
    deadline: int | None
    timeout: int | None
    lapse: int | None
    needs_review: bool = False
    approved: str | None = None
    blank: bool = False
    unknown: int | None = None
    owner_stayed: bool = True
    ended: bool = False
    waived: bool = False
    grant: int | None = None
    known: bool = False
    outside: bool = False

    def since(self, offset: int) -> int:
        """Since when the outcome is owed, if it has come to be owed at ``offset``."""
        if self.unknown is not None:
            return self.unknown
        return self.opened if self.blank else offset


class Truth(NamedTuple):
    """What is true of the work item: its plans by pause, who owns which execution, and which one is canonical."""

    plans: dict[str, Plan]
    owners: dict[str, str | None]
    canonical: str | None = None
    retired: frozenset[str] = frozenset()
    rivals: frozenset[str] = frozenset()
    moved: int | None = None

    def with_plan(self, pause: str, **changes: Any) -> Truth:
        return self._replace(plans=self.plans | {pause: self.plans[pause]._replace(**changes)})

    def with_plans_of(self, execution: str | None, **changes: Any) -> Truth:
        """All plans of an execution, or of all, changed alike."""
        plans = {
            name: plan._replace(**changes) if execution in (None, plan.execution) else plan
            for name, plan in self.plans.items()
        }
        return self._replace(plans=plans)

    def in_force(self, pause: str) -> bool:
        """Whether the branch of a pause is the one canonical branch, in the same hands as when it paused."""
        plan = self.plans[pause]
        return self.canonical == plan.execution and self.moved is None and not self.rivals and plan.owner_stayed


class Told(NamedTuple):
    """An entry that was accepted: what it says, at which tick and offset."""

    name: str
    data: dict[str, Any]
    now: int
    offset: int


def claimed(truth: Truth, told: Told) -> Truth:
    """A claim counts where it names the branch it replaces, has not been retired, and knows of the last move."""
    execution, owner = told.data["execution"], told.data["owner"]
    if execution in truth.retired:
        return truth
    if truth.canonical == execution:
        return _owned(truth, execution, owner)
    named = set(told.data.get("replaces") or ())
    if truth.canonical is not None and truth.canonical not in named:
        return truth
    gone = {truth.canonical} | (named & truth.rivals) if truth.canonical else named & truth.rivals
    for one in gone:
        truth = truth.with_plans_of(one, ended=True)
    aware = told.data.get("acknowledges") == truth.moved
    return truth._replace(
        canonical=execution,
        retired=truth.retired | gone,
        rivals=truth.rivals - named - {execution},
        owners=truth.owners | {execution: owner},
        moved=None if aware else truth.moved,
    )


def _owned(truth: Truth, execution: str, owner: str) -> Truth:
    before = truth.owners.get(execution)
    if before is not None and before != owner:
        truth = truth.with_plans_of(execution, owner_stayed=False)
    truth = truth._replace(owners=truth.owners | {execution: owner})
    for name, plan in truth.plans.items():
        if before is None and plan.execution == execution and not plan.authority:
            truth = truth.with_plan(name, authority=(owner,))
    return truth


def owner_changed(truth: Truth, told: Told) -> Truth:
    return _owned(truth, told.data["execution"], told.data["to"])


def finished(truth: Truth, told: Told) -> Truth:
    """A rival that finishes may have acted: what the others knew is out of date."""
    execution = told.data["execution"]
    truth = truth.with_plans_of(execution, ended=True)
    if truth.canonical == execution:
        return truth._replace(canonical=None, retired=truth.retired | {execution})
    truth = truth._replace(retired=truth.retired | {execution}, rivals=truth.rivals - {execution})
    return inputs_changed(truth, told)


def inputs_changed(truth: Truth, told: Told) -> Truth:
    for name, plan in truth.plans.items():
        if told.data.get("pause") in (None, name) and not plan.ended:
            deadline = None if plan.deadline is None else min(plan.deadline, told.now)
            truth = truth.with_plan(name, deadline=deadline, approved=None, grant=None)
    return truth


def opened(truth: Truth, told: Told) -> Truth:
    data, execution = told.data, told.data["execution"]
    if truth.canonical is None and execution not in truth.retired:
        truth = truth._replace(canonical=execution, rivals=truth.rivals - {execution})
    if data.get("owner") is not None:
        truth = _owned(truth, execution, data["owner"])
    owner, given = truth.owners.get(execution), data.get("side_effect")
    timeout = data.get("heartbeat_timeout")
    plan = Plan(
        execution=execution,
        opened=told.offset,
        action=data.get("action"),
        authority=data.get("resume_authority") or ((owner,) if owner else ()),
        deadline=None if "fresh_for" not in data else told.now + data["fresh_for"],
        timeout=timeout,
        lapse=None if timeout is None else told.now + timeout,
        needs_review=data.get("requires_review", False),
        blank=given is None,
        unknown=told.offset if given == "indeterminate" else None,
    )
    return truth._replace(plans=truth.plans | {data["pause"]: plan})


def _looked_at(truth: Truth, told: Told, **changes: Any) -> Truth:
    """A person or a check looked at the plan now: the owner is there, and the deadline may be new."""
    pause, plan = told.data["pause"], truth.plans[told.data["pause"]]
    lapse = None if plan.timeout is None else told.now + plan.timeout
    deadline = told.now + told.data["fresh_for"] if "fresh_for" in told.data else plan.deadline
    return truth.with_plan(pause, lapse=lapse, deadline=deadline, **changes)


def rechecked(truth: Truth, told: Told) -> Truth:
    return _looked_at(truth, told)


def beaten(truth: Truth, told: Told) -> Truth:
    """A heartbeat in time keeps the owner; one that comes too late brings nobody back."""
    plan = truth.plans[told.data["pause"]]
    if plan.timeout is None or plan.lapse is None or told.now >= plan.lapse:
        return truth
    return truth.with_plan(told.data["pause"], lapse=told.now + plan.timeout)


def reviewed(truth: Truth, told: Told) -> Truth:
    match told.data["outcome"]:
        case "reject":
            return truth.with_plan(told.data["pause"], ended=True)
        case "edit":
            return _looked_at(truth, told, action=told.data["action"], approved=told.data["action"])
        case _:
            return _looked_at(truth, told, approved=told.data["seen"])


def requested(truth: Truth, told: Told) -> Truth:
    plan = truth.plans[told.data["pause"]]
    if told.data["actor"] not in plan.authority:
        raise Broken("f", f"{told.data['actor']} has no authority over {told.data['pause']}, and got a grant")
    return truth.with_plan(told.data["pause"], grant=told.offset, unknown=plan.since(told.offset), known=False)


def attempted(truth: Truth, told: Told) -> Truth:
    pause, plan = told.data["pause"], truth.plans[told.data["pause"]]
    if "fence" not in told.data:
        unknown = None if plan.known else plan.since(told.offset)
        return truth.with_plan(pause, outside=not plan.known, unknown=unknown, grant=None, waived=False)
    wrong = why_not(truth, told)
    if wrong:
        raise Broken("b", f"an attempt on {pause} was accepted although {wrong[0]}")
    return truth.with_plan(pause, grant=None, unknown=plan.since(told.offset))


def why_not(truth: Truth, told: Told) -> list[str]:
    """Why an attempt must not be accepted now: each reason is a fact, none a check of the fold."""
    name, plan = told.data["pause"], truth.plans[told.data["pause"]]
    others = [other for pause, other in truth.plans.items() if pause != name and not other.waived]
    facts = {
        "the pause had ended": plan.ended,
        "its deadline had passed": plan.deadline is None or told.now >= plan.deadline,
        "its owner had lapsed": plan.lapse is not None and told.now >= plan.lapse,
        "its branch was not the canonical one": truth.canonical != plan.execution,
        "the work item had moved": truth.moved is not None,
        "a rival was at work": bool(truth.rivals),
        "its owner had changed": not plan.owner_stayed,
        "its grant was void": plan.grant != told.data["fence"],
        "another action was granted": told.data["action"] != plan.action,
        "nobody had approved that action": plan.needs_review and plan.approved != plan.action,
        "an earlier outcome was unknown": any(
            other.unknown is not None and (other.ended or other.unknown < plan.opened) for other in others
        ),
        "the action was done outside the ledger": any(
            other.outside and other.action == plan.action for other in truth.plans.values()
        ),
    }
    return [fact for fact, holds in facts.items() if holds]


def observed(truth: Truth, told: Told) -> Truth:
    pause, plan, status = told.data["pause"], truth.plans[told.data["pause"]], told.data["status"]
    if status == "indeterminate":
        if plan.known:
            raise Broken("d", f"it was known that {pause} had happened, and a late observer made it unknown")
        return truth.with_plan(pause, unknown=plan.since(told.offset), waived=False)
    happened = status == "happened"
    return truth.with_plan(pause, unknown=None, blank=False, grant=None, known=happened, outside=False, waived=False)


def waived(truth: Truth, told: Told) -> Truth:
    return truth.with_plan(told.data["pause"], waived=True, ended=True)


def closed(truth: Truth, told: Told) -> Truth:
    return truth.with_plan(told.data["pause"], ended=True)


def moved(truth: Truth, told: Told) -> Truth:
    return truth._replace(moved=told.offset)


def branch_started(truth: Truth, told: Told) -> Truth:
    execution = told.data["execution"]
    if execution == truth.canonical or execution in truth.retired:
        return truth
    return truth._replace(rivals=truth.rivals | {execution})


LISTENERS = {
    "execution.claimed": claimed,
    "execution.finished": finished,
    "owner.changed": owner_changed,
    "pause.opened": opened,
    "heartbeat.recorded": beaten,
    "work.moved": moved,
    "branch.started": branch_started,
    "inputs.changed": inputs_changed,
    "inputs.rechecked": rechecked,
    "review.decided": reviewed,
    "resume.requested": requested,
    "side_effect.attempted": attempted,
    "side_effect.observed": observed,
    "debt.waived": waived,
    "pause.closed": closed,
}


def told(truth: Truth, entry: Told) -> Truth:
    """The truth after an accepted entry. Raises :class:`Broken` where it should not have been accepted."""
    return LISTENERS[entry.name](truth, entry)
