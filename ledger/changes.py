"""What an accepted event changes (protocol, sections 4, 5 and 7): for each type a function from scene to work item."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any

from ledger.events import SideEffect
from ledger.packet import UNOPENED, Ended, Ending, Execution, Pause, Rival, Terms, WorkItem
from ledger.refusals import Scene, deadline, replaced_by

Fields = dict[str, Any]
"""Fields of a pause, as they will be."""


def _without_rivals(item: WorkItem, executions: Iterable[str]) -> dict[str, Rival]:
    gone = set(executions)
    if gone.isdisjoint(item.rivals):
        return item.rivals
    return {name: rival for name, rival in item.rivals.items() if name not in gone}


def _closed(scene: Scene, item: WorkItem, pause: Pause, outcome: Ending) -> WorkItem:
    return item.with_pause(pause.but(ended=Ended(outcome, scene.offset, scene.instant)))


def _open_pauses(item: WorkItem, execution: str | None = None) -> list[Pause]:
    pauses = [item.pauses[name] for name in item.open]
    return [pause for pause in pauses if execution is None or pause.execution == execution]


def _retired(scene: Scene, item: WorkItem, execution: str, outcome: Ending) -> WorkItem:
    """The execution can't come back, and its open pauses are closed."""
    known = item.executions.get(execution, Execution())
    item = item.but(executions=item.executions | {execution: known.but(retired=True)})
    for pause in _open_pauses(item, execution):
        item = _closed(scene, item, pause, outcome)
    return item


def _with_execution(item: WorkItem, name: str, execution: Execution) -> WorkItem:
    return item.but(executions=item.executions | {name: execution})


def _first_owner(item: WorkItem, name: str, owner: str, offset: int) -> WorkItem:
    """An owner where there was none: it also fills the open pauses that have none. No change of owner."""
    item = _with_execution(item, name, item.executions[name].but(owner=owner, owner_set=offset))
    for pause in _open_pauses(item, name):
        if pause.owner is None:
            authority = pause.resume_authority if pause.terms.authority_given else (owner,)
            item = item.with_pause(pause.but(owner=owner, owner_set=offset, resume_authority=authority))
    return item


def _claimed_again(scene: Scene) -> WorkItem:
    item, data = scene.item, scene.data
    if item.executions[data.execution].owner is None:
        item = _first_owner(item, data.execution, data.owner, scene.offset)
    if data.route is not None:
        item = _with_execution(item, data.execution, item.executions[data.execution].but(route=data.route))
    return item


def execution_claimed(scene: Scene) -> WorkItem:
    item, data = scene.item, scene.data
    if item.canonical == data.execution:
        return _claimed_again(scene)
    named = [name for name in replaced_by(data) if name != data.execution]
    for name in [item.canonical, *named]:
        if name is not None and (name == item.canonical or name in item.rivals):
            item = _retired(scene, item, name, "terminated")
    execution = Execution(owner=data.owner, owner_set=scene.offset, route=data.route)
    item = _with_execution(item, data.execution, execution)
    rivals = _without_rivals(item, [data.execution, *named])
    return item.but(canonical=data.execution, rivals=rivals, moved=None)


def execution_finished(scene: Scene) -> WorkItem:
    item, name = scene.item, scene.data.execution
    if item.canonical == name:
        return _retired(scene, item, name, "finished").but(canonical=None)
    item = _retired(scene, item, name, "finished").but(rivals=_without_rivals(item, [name]))
    for pause in _open_pauses(item):  # a rival may have acted: nothing rests on what was known before
        item = item.with_pause(_expired(scene, pause))
    return item


def owner_changed(scene: Scene) -> WorkItem:
    item, data = scene.item, scene.data
    execution = item.executions[data.execution]
    if execution.owner is None:
        return _first_owner(item, data.execution, data.to, scene.offset)
    if execution.owner == data.to:
        return item
    changed = execution.but(owner=data.to, owner_set=scene.offset, owner_changed=scene.offset)
    return _with_execution(item, data.execution, changed)


def _on_a_claimed_item(scene: Scene) -> WorkItem:
    """The work item in which a pause can open: claimed, and with its first owner where the pause gives one."""
    item, data = scene.item, scene.data
    if item.canonical is None:
        owner_set = None if data.owner is None else scene.offset
        execution = Execution(owner=data.owner, owner_set=owner_set, route=data.route)
        item = _with_execution(item, data.execution, execution)
        return item.but(canonical=data.execution, rivals=_without_rivals(item, [data.execution]))
    if data.owner is not None and item.executions[data.execution].owner is None:
        return _first_owner(item, data.execution, data.owner, scene.offset)
    return item


def _terms(scene: Scene, route: str | None) -> Terms:
    """What a pause keeps as it was opened; ``route`` is its execution's."""
    data = scene.data
    return UNOPENED.terms.but(
        execution=data.execution,
        opened=scene.offset,
        trigger=data.trigger,
        route=route if data.route is None else data.route,
        recheck=data.recheck,
        no_resume_condition=data.no_resume_condition,
        contract=data.contract,
        runtime=data.runtime,
        authority_given=data.resume_authority is not None,
        requires_review=bool(data.requires_review),
        heartbeat_timeout=data.heartbeat_timeout,
        heartbeat_by=data.heartbeat_by,
        reconcile_within=data.reconcile_within,
    )


def pause_opened(scene: Scene) -> WorkItem:
    item, data, offset = _on_a_claimed_item(scene), scene.data, scene.offset
    execution = item.executions[data.execution]
    authority = data.resume_authority
    if authority is None:
        authority = () if execution.owner is None else (execution.owner,)
    fresh_until = deadline(scene)
    pause = UNOPENED.but(
        pause=data.pause,
        terms=_terms(scene, execution.route),
        pending_action=data.pending_action,
        owner=execution.owner,
        owner_set=execution.owner_set,
        resume_authority=authority,
        fresh_until=fresh_until,
        fresh_set=None if fresh_until is None else offset,
        heartbeat_at=scene.instant,
        heartbeat_set=offset,
        side_effect=data.side_effect or "indeterminate",
        side_effect_since=scene.instant,
        side_effect_set=offset,
        side_effect_by=offset,
        binds=data.side_effect is not None,
    )
    return item.with_pause(pause)


def heartbeat_recorded(scene: Scene) -> WorkItem:
    pause, time = scene.found, scene.event.time
    beat = scene.instant if time is None else min(time, scene.instant)
    if beat <= pause.heartbeat_at:
        return scene.item
    return scene.item.with_pause(pause.but(heartbeat_at=beat, heartbeat_set=scene.offset))


def work_moved(scene: Scene) -> WorkItem:
    return scene.item.but(moved=scene.offset)


def branch_started(scene: Scene) -> WorkItem:
    item, name = scene.item, scene.data.execution
    if item.canonical == name or item.is_retired(name):
        return item
    rival = Rival(started=scene.offset, recorded_by=scene.data.by is not None)
    return item.but(rivals=item.rivals | {name: rival})


def _expired(scene: Scene, pause: Pause) -> Pause:
    """What the pause rests on has changed: its plan is stale now, its approval and an unused grant are void."""
    changes: Fields = {"reviewed": None}
    if pause.grant == "granted":
        changes["grant"] = "none"
    if pause.fresh_until is not None and pause.fresh_until > scene.instant:
        changes |= {"fresh_until": scene.instant, "fresh_set": scene.offset}
    return pause.but(**changes)


def inputs_changed(scene: Scene) -> WorkItem:
    item = scene.item
    for pause in _open_pauses(item) if scene.pause is None else [scene.pause]:
        item = item.with_pause(_expired(scene, pause))
    return item


def _refreshed(scene: Scene) -> Fields:
    """A person or a check looked at the pause now: that counts as a heartbeat, and may set a new deadline."""
    beaten: Fields = {"heartbeat_at": scene.instant, "heartbeat_set": scene.offset}
    until = deadline(scene)
    return beaten if until is None else beaten | {"fresh_until": until, "fresh_set": scene.offset}


def inputs_rechecked(scene: Scene) -> WorkItem:
    return scene.item.with_pause(scene.found.but(**_refreshed(scene)))


def review_decided(scene: Scene) -> WorkItem:
    pause, data, changes = scene.found, scene.data, _refreshed(scene)
    if data.outcome == "reject":
        return _closed(scene, scene.item, pause.but(**changes), "rejected")
    if data.outcome == "edit":
        changes |= {"pending_action": data.pending_action, "reviewed": data.pending_action.digest}
    else:
        changes["reviewed"] = pause.action_digest
    return scene.item.with_pause(pause.but(**changes))


def _now(scene: Scene, side_effect: SideEffect) -> Fields:
    """What is known of the side effect now, where it is something else than before."""
    if scene.found.side_effect == side_effect:
        return {}
    return {"side_effect": side_effect, "side_effect_since": scene.instant, "side_effect_set": scene.offset}


def resume_requested(scene: Scene) -> WorkItem:
    """From now on the action may land, and only an observation settles whether it did."""
    changes: Fields = {"grant": "granted", "fence": scene.offset, "side_effect_by": scene.offset, "binds": True}
    return scene.item.with_pause(scene.found.but(**changes, **_now(scene, "indeterminate")))


def side_effect_attempted(scene: Scene) -> WorkItem:
    pause = scene.found
    changes: Fields = {"grant": "attempted", "side_effect_by": scene.offset, "binds": True, "waived": False}
    if scene.data.fence is None:
        changes["acted_without_grant"] = True
        if pause.side_effect != "happened":
            changes |= _now(scene, "indeterminate")
    return scene.item.with_pause(pause.but(**changes))


def side_effect_observed(scene: Scene) -> WorkItem:
    status = scene.data.status
    changes: Fields = {"binds": True, "waived": False}
    if status != "indeterminate":
        changes["grant"] = "none"
    if seen := _now(scene, status):
        changes |= seen
        changes["side_effect_by"] = scene.offset
    return scene.item.with_pause(scene.found.but(**changes))


def debt_waived(scene: Scene) -> WorkItem:
    pause = scene.found.but(waived=True)
    if pause.is_open:
        return _closed(scene, scene.item, pause, "waived")
    return scene.item.with_pause(pause)


def pause_closed(scene: Scene) -> WorkItem:
    return _closed(scene, scene.item, scene.found, scene.data.outcome)


def note_added(scene: Scene) -> WorkItem:
    return scene.item


CHANGES: dict[str, Callable[[Scene], WorkItem]] = {
    "pauseledger.execution.claimed": execution_claimed,
    "pauseledger.execution.finished": execution_finished,
    "pauseledger.owner.changed": owner_changed,
    "pauseledger.pause.opened": pause_opened,
    "pauseledger.heartbeat.recorded": heartbeat_recorded,
    "pauseledger.work.moved": work_moved,
    "pauseledger.branch.started": branch_started,
    "pauseledger.inputs.changed": inputs_changed,
    "pauseledger.inputs.rechecked": inputs_rechecked,
    "pauseledger.review.decided": review_decided,
    "pauseledger.resume.requested": resume_requested,
    "pauseledger.side_effect.attempted": side_effect_attempted,
    "pauseledger.side_effect.observed": side_effect_observed,
    "pauseledger.debt.waived": debt_waived,
    "pauseledger.pause.closed": pause_closed,
    "pauseledger.note.added": note_added,
}
