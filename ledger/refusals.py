"""When an event is refused: for each type its codes, in the order in which they are asked (protocol, section 7).

The table is data: a rule is a code and a question about the scene. A question answers yes or no; one that answers with
a text says yes, and the text goes into the sentence. The interpreter is three lines, at the end.
"""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime
from typing import Any

from ledger.decision import Judgement, judge, reason
from ledger.events import LedgerEvent
from ledger.packet import Pause, WorkItem
from ledger.times import shifted


class Scene:
    """What a rule may look at: the work item before the entry, the event, and the entry's instant and offset.

    Judgements are made when a rule first asks for them, and once.
    """

    __slots__ = (
        "_clear",
        "_judged",
        "data",
        "event",
        "execution",
        "found",
        "instant",
        "item",
        "kind",
        "offset",
        "pause",
    )

    pause: Pause | None
    """The pause that the event names; null where there is none of that name."""
    found: Pause
    """The same, where the rules have made sure that there is one."""

    def __init__(self, item: WorkItem, event: LedgerEvent, instant: datetime, offset: int) -> None:
        said = event.__dict__  # a model is slow to give its attributes one by one, and to say what it has not
        data: Any = said["data"]
        given = data.__dict__
        name: str | None = given["execution"]
        self.item = item
        self.event = event
        self.kind: str = said["type"]
        self.data = data
        self.instant = instant
        self.offset = offset
        self.execution = None if name is None else item.executions.get(name)
        pause = item.pauses.get(given.get("pause"))
        if pause is not None and pause.terms.execution != name and self.kind != "pauseledger.inputs.changed":
            pause = None  # another execution's; only a change of inputs speaks of any
        self.pause = self.found = pause  # type: ignore[assignment]
        self._judged: Judgement | None = None
        self._clear: Judgement | None = None

    @property
    def judged(self) -> Judgement:
        """The decision at this instant."""
        if self._judged is None:
            self._judged = judge(self.item, self.found, self.instant)
        return self._judged

    @property
    def clear_otherwise(self) -> Judgement:
        """The decision at this instant, were the packet's own side effect ``not_happened``."""
        if self._clear is None:
            self._clear = judge(self.item, self.found, self.instant, own="not_happened")
        return self._clear


Question = Callable[[Scene], bool | str]


Rule = tuple[str, Question]
"""A code, and the question on which it is given. A bare pair: it is asked for every entry."""


def speaks_for(event: LedgerEvent, *principals: str | None) -> bool:
    """Whether one of these speaks: as the actor, or as one of the roles that it holds."""
    actor, roles = event.actor, event.actorroles
    if actor is not None and actor in principals:
        return True
    return roles is not None and any(name and name in principals for name in map(_bare, roles.split(",")))


def _bare(role: str) -> str:
    return role.strip(" ")


def deadline(scene: Scene) -> datetime | None:
    """The freshness deadline that the event gives: ``fresh_until``, else ``fresh_for`` after its time; null without."""
    data, time = scene.data, scene.event.time
    if data.fresh_until is not None or data.fresh_for is None:
        return data.fresh_until  # type: ignore[no-any-return]
    return shifted(scene.instant if time is None else min(time, scene.instant), data.fresh_for)


def is_authorised(scene: Scene) -> bool:
    return speaks_for(scene.event, *scene.found.resume_authority)


def _is_canonical(scene: Scene) -> bool:
    return scene.item.canonical is not None and scene.item.canonical == scene.data.execution


def _retired(scene: Scene) -> bool:
    return scene.execution is not None and scene.execution.retired


def _not_canonical(scene: Scene) -> bool:
    return not _is_canonical(scene)


def _claims_again_with_more(scene: Scene) -> bool:
    data = scene.data
    return _is_canonical(scene) and (data.replaces is not None or data.acknowledges is not None)


def _claims_for_another_owner(scene: Scene) -> bool:
    owner = scene.item.owner_of(scene.data.execution)
    return _is_canonical(scene) and owner is not None and owner != scene.data.owner


def replaced_by(data: Any) -> tuple[str, ...]:
    """The executions that a claim names in ``replaces``."""
    if data.replaces is None:
        return ()
    return (data.replaces,) if isinstance(data.replaces, str) else data.replaces


def _claimed_already(scene: Scene) -> bool:
    canonical = scene.item.canonical
    return canonical is not None and not _is_canonical(scene) and canonical not in replaced_by(scene.data)


def _move_not_acknowledged(scene: Scene) -> bool:
    moved = scene.item.moved
    if moved is None or _is_canonical(scene):
        return False
    return bool(scene.data.acknowledges != scene.item.entry(moved))


def _neither_canonical_nor_rival(scene: Scene) -> bool:
    return not _is_canonical(scene) and scene.data.execution not in scene.item.rivals


def _from_is_not_the_owner(scene: Scene) -> bool:
    return bool(scene.item.owner_of(scene.data.execution) != scene.data.from_)


def _another_is_canonical(scene: Scene) -> bool:
    return scene.item.canonical is not None and not _is_canonical(scene)


def _moved_and_unclaimed(scene: Scene) -> bool:
    return scene.item.canonical is None and scene.item.moved is not None


def _opened_before(scene: Scene) -> bool:
    return scene.data.pause in scene.item.pauses


def _opened_for_another_owner(scene: Scene) -> bool:
    owner, given = scene.item.owner_of(scene.data.execution), scene.data.owner
    return given is not None and owner is not None and owner != given


def _no_such_pause(scene: Scene) -> bool:
    return scene.pause is None


def _names_no_pause(scene: Scene) -> bool:
    return scene.data.pause is not None and scene.pause is None


def _closed(scene: Scene) -> bool:
    return scene.pause is not None and not scene.pause.is_open


def _with_fence_and_closed(scene: Scene) -> bool:
    return scene.data.fence is not None and not scene.found.is_open


def _stranger(scene: Scene) -> bool:
    pause = scene.found
    return not speaks_for(scene.event, pause.owner, pause.terms.heartbeat_by)


def _lapsed(scene: Scene) -> bool:
    lapses_at = scene.found.lapses_at
    return lapses_at is not None and scene.instant >= lapses_at


def _unauthorised(scene: Scene) -> bool:
    return not is_authorised(scene)


def _unauthorised_and_not_owner(scene: Scene) -> bool:
    owner = scene.item.owner_of(scene.item.canonical)
    return not is_authorised(scene) and not speaks_for(scene.event, owner)


def _other_action(scene: Scene) -> bool:
    return bool(scene.data.action_digest != scene.found.action_digest)


def _names_another_action(scene: Scene) -> bool:
    return scene.data.action_digest is not None and _other_action(scene)


def _edits_what_may_have_happened(scene: Scene) -> bool:
    return scene.data.outcome == "edit" and scene.found.side_effect != "not_happened"


def _stays_stale(scene: Scene) -> bool:
    until = deadline(scene) or scene.found.fresh_until
    return until is None or scene.instant >= until


def _approved_but_stale(scene: Scene) -> bool:
    return scene.data.outcome != "reject" and _stays_stale(scene)


def _decision_is(branch: str) -> Question:
    def question(scene: Scene) -> bool | str:
        judgement = scene.judged
        return judgement.decision == branch and reason(scene.item, scene.found, judgement)

    return question


def _fence_is_stale(scene: Scene) -> bool:
    fence, pause = scene.data.fence, scene.found
    return fence is not None and (pause.grant != "granted" or pause.fence != fence)


def _not_clear_any_more(scene: Scene) -> bool | str:
    if scene.data.fence is None:
        return False
    judgement = scene.clear_otherwise
    return judgement.decision != "resume" and reason(scene.item, scene.found, judgement)


def _settles_what_stands(scene: Scene) -> bool:
    return bool(scene.data.settles == scene.item.entry(scene.found.side_effect_by))


def _contradicts(scene: Scene) -> bool:
    if scene.found.side_effect != "happened" or scene.data.status == "happened":
        return False
    return not (_settles_what_stands(scene) and is_authorised(scene))


def _observed_too_early(scene: Scene) -> bool:
    return scene.data.status == "not_happened" and not _settles_what_stands(scene)


def _nothing_owed(scene: Scene) -> bool:
    return scene.found.side_effect != "indeterminate" or scene.found.waived


def _closes_too_early(scene: Scene) -> bool:
    pause = scene.found
    match scene.data.outcome:
        case "executed":
            return pause.side_effect != "happened"
        case "settled":
            return scene.judged.side_effect != "happened"
        case _:
            return pause.side_effect != "not_happened"


_PAUSE = (("no-such-pause", _no_such_pause),)
_OPEN_PAUSE = (*_PAUSE, ("pause-closed", _closed))

REFUSALS: dict[str, tuple[Rule, ...]] = {
    "pauseledger.execution.claimed": (
        ("execution-retired", _retired),
        ("already-canonical", _claims_again_with_more),
        ("stale-owner", _claims_for_another_owner),
        ("already-claimed", _claimed_already),
        ("work-moved", _move_not_acknowledged),
    ),
    "pauseledger.execution.finished": (("not-canonical", _neither_canonical_nor_rival),),
    "pauseledger.owner.changed": (
        ("not-canonical", _not_canonical),
        ("stale-owner", _from_is_not_the_owner),
    ),
    "pauseledger.pause.opened": (
        ("execution-retired", _retired),
        ("not-canonical", _another_is_canonical),
        ("work-moved", _moved_and_unclaimed),
        ("pause-exists", _opened_before),
        ("stale-owner", _opened_for_another_owner),
    ),
    "pauseledger.heartbeat.recorded": (
        *_OPEN_PAUSE,
        ("not-owner", _stranger),
        ("lapsed", _lapsed),
    ),
    "pauseledger.work.moved": (),
    "pauseledger.branch.started": (),
    "pauseledger.inputs.changed": (("no-such-pause", _names_no_pause), ("pause-closed", _closed)),
    "pauseledger.inputs.rechecked": (
        *_OPEN_PAUSE,
        ("no-authority", _unauthorised),
        ("still-stale", _stays_stale),
    ),
    "pauseledger.review.decided": (
        *_OPEN_PAUSE,
        ("no-authority", _unauthorised),
        ("action-changed", _other_action),
        ("side-effect-open", _edits_what_may_have_happened),
        ("still-stale", _approved_but_stale),
    ),
    "pauseledger.resume.requested": (
        *_OPEN_PAUSE,
        ("no-authority", _unauthorised),
        ("action-changed", _other_action),
        ("decision-review", _decision_is("review")),
        ("decision-reconcile", _decision_is("reconcile")),
        ("decision-settle", _decision_is("settle")),
        ("decision-terminate", _decision_is("terminate")),
    ),
    "pauseledger.side_effect.attempted": (
        *_PAUSE,
        ("pause-closed", _with_fence_and_closed),
        ("stale-fence", _fence_is_stale),
        ("no-longer-clear", _not_clear_any_more),
    ),
    "pauseledger.side_effect.observed": (
        *_PAUSE,
        ("action-changed", _names_another_action),
        ("contradicts", _contradicts),
        ("stale-observation", _observed_too_early),
    ),
    "pauseledger.debt.waived": (
        *_PAUSE,
        ("no-authority", _unauthorised_and_not_owner),
        ("no-debt", _nothing_owed),
    ),
    "pauseledger.pause.closed": (*_OPEN_PAUSE, ("side-effect-open", _closes_too_early)),
    "pauseledger.note.added": (),
}


def refusal(scene: Scene) -> tuple[str, str] | None:
    """The first code that holds for an event, with the detail of its sentence; null where the event is accepted."""
    for code, applies in REFUSALS[scene.kind]:
        if answer := applies(scene):
            return code, answer if isinstance(answer, str) else ""
    return None
