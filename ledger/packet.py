"""The folded state of a work item: its executions, its rivals and its pauses. Frozen; changed by copying.

Entries are offsets here, all of the work item's own partition; a packet prints them as ``"partition:offset"``.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta
from functools import cache
from typing import Any, Literal, NamedTuple, Self

from pydantic import TypeAdapter

from ledger.actions import Action
from ledger.events import SideEffect
from ledger.times import EPOCH, format_duration, format_instant, shifted

Grant = Literal["none", "granted", "attempted"]
Ending = Literal["executed", "settled", "abandoned", "rejected", "terminated", "finished", "waived"]

_new = object.__new__


class Frozen:
    """A frozen dataclass that is changed by making another."""

    def but(self, **changes: Any) -> Self:
        """A copy with some fields changed. Not validated: only the fold calls it, with values it has judged."""
        copy = _new(self.__class__)
        _fill(copy, self.__dict__ | changes)
        return copy


_fill = Frozen.__dict__["__dict__"].__set__
"""Gives an object all its fields at once: a frozen one takes none by name."""


@dataclass(frozen=True, kw_only=True)
class Execution(Frozen):
    """One run on the work item. ``owner_set`` is the entry that set its owner; ``owner_changed`` the last change."""

    owner: str | None = None
    owner_set: int | None = None
    owner_changed: int | None = None
    route: str | None = None
    retired: bool = False


@dataclass(frozen=True, kw_only=True)
class Rival(Frozen):
    """An execution that somebody started beside the canonical one; ``by`` says whether it was recorded who did."""

    started: int
    recorded_by: bool


class Ended(NamedTuple):
    """How a pause closed, by which entry, and at which instant."""

    outcome: Ending
    closed: int
    at: datetime


@dataclass(frozen=True, kw_only=True)
class Terms(Frozen):
    """What ``pause.opened`` laid down for good: apart from what changes, which is copied with every change."""

    execution: str
    opened: int
    trigger: str | None = None
    route: str | None = None
    recheck: str | None = None
    no_resume_condition: str | None = None
    contract: str | None = None
    runtime: dict[str, Any] | None = None
    authority_given: bool = False
    requires_review: bool = False
    heartbeat_timeout: timedelta | None = None
    heartbeat_by: str | None = None
    reconcile_within: timedelta | None = None


@dataclass(frozen=True, kw_only=True)
class Pause(Frozen):
    """The state of one pause: the packet's fields, and what the rules need beside them."""

    pause: str
    terms: Terms
    pending_action: Action | None = None
    owner: str | None = None
    owner_set: int | None = None
    resume_authority: tuple[str, ...] = ()
    reviewed: str | None = None
    fresh_until: datetime | None = None
    fresh_set: int | None = None
    heartbeat_at: datetime
    heartbeat_set: int
    side_effect: SideEffect
    side_effect_since: datetime
    side_effect_set: int
    side_effect_by: int
    binds: bool = False
    acted_without_grant: bool = False
    waived: bool = False
    grant: Grant = "none"
    fence: int | None = None
    ended: Ended | None = None

    @property
    def execution(self) -> str:
        return self.terms.execution

    @property
    def opened(self) -> int:
        return self.terms.opened

    @property
    def action_digest(self) -> str | None:
        return None if self.pending_action is None else self.pending_action.digest

    @property
    def is_open(self) -> bool:
        return self.ended is None

    @property
    def closed(self) -> int | None:
        """The entry that closed it; null while it is open."""
        return None if self.ended is None else self.ended.closed

    @property
    def outcome(self) -> Ending | None:
        """How it closed; null while it is open."""
        return None if self.ended is None else self.ended.outcome

    @property
    def review_missing(self) -> bool:
        return self.terms.requires_review and self.reviewed != self.action_digest

    @property
    def lapses_at(self) -> datetime | None:
        """The instant from which the owner counts as lapsed; null without a heartbeat timeout."""
        timeout = self.terms.heartbeat_timeout
        return None if timeout is None else shifted(self.heartbeat_at, timeout)


class Listed(NamedTuple):
    """The ids of pauses by what is true of them, in the order opened: the open ones, those whose side effect is
    indeterminate, and by action digest those whose side effect happened.
    """

    open: tuple[str, ...] = ()
    unsettled: tuple[str, ...] = ()
    landed: dict[str, tuple[str, ...]] = {}  # noqa: RUF012  # never changed in place


@dataclass(frozen=True, kw_only=True)
class WorkItem(Frozen):
    """The folded state of one work item. ``version`` counts its entries that were not malformed."""

    subject: str
    partition: int
    version: int
    instant: datetime | None
    canonical: str | None
    executions: dict[str, Execution]
    rivals: dict[str, Rival]
    moved: int | None
    pauses: dict[str, Pause]
    listed: Listed

    @property
    def open(self) -> tuple[str, ...]:
        """The ids of open pauses, in the order opened."""
        return self.listed.open

    @property
    def unsettled(self) -> tuple[str, ...]:
        """The ids of pauses whose side effect is indeterminate."""
        return self.listed.unsettled

    @property
    def landed(self) -> dict[str, tuple[str, ...]]:
        """By action digest the ids of pauses whose side effect happened."""
        return self.listed.landed

    @classmethod
    def unseen(cls, subject: str, partition: int) -> WorkItem:
        """A work item before its first entry."""
        return _UNSEEN.but(subject=subject, partition=partition)

    def advanced(self, before: Self, instant: datetime) -> Self:
        """This state as the one after ``before``: an entry more, and its instant.

        One that the entry has changed is nobody else's yet, and is completed in place: a copy less an entry.
        """
        if self is before:
            return self.but(version=before.version + 1, instant=instant)
        self.__dict__["version"] = before.version + 1
        self.__dict__["instant"] = instant
        return self

    def entry(self, offset: int) -> str:
        return f"{self.partition}:{offset}"

    def is_retired(self, execution: str) -> bool:
        known = self.executions.get(execution)
        return known is not None and known.retired

    def owner_of(self, execution: str | None) -> str | None:
        known = self.executions.get(execution) if execution is not None else None
        return None if known is None else known.owner

    def with_pause(self, pause: Pause) -> Self:
        """This work item with a pause put in, or put in another's place; the lists follow."""
        name = pause.pause
        before = self.pauses.get(name)
        pauses = {**self.pauses, name: pause}
        if (
            before is not None
            and before.ended is pause.ended
            and before.side_effect == pause.side_effect
            and (pause.side_effect != "happened" or before.pending_action is pause.pending_action)
        ):
            return self.but(pauses=pauses)  # a heartbeat, and most else
        return self.but(pauses=pauses, listed=self._listed_with(before, pause))

    def _listed_with(self, before: Pause | None, pause: Pause) -> Listed:
        listed = self.listed
        return Listed(
            _with(listed.open, pause.pause, pause.ended is None),
            _with(listed.unsettled, pause.pause, pause.side_effect == "indeterminate"),
            listed.landed if _landed_as(before) == _landed_as(pause) else self._landed_with(before, pause),
        )

    def _landed_with(self, before: Pause | None, after: Pause) -> dict[str, tuple[str, ...]]:
        landed = dict(self.landed)
        if (digest := _landed_as(before)) is not None:
            landed[digest] = _with(landed[digest], after.pause, False)
            if not landed[digest]:
                del landed[digest]
        if (digest := _landed_as(after)) is not None:
            landed[digest] = _with(landed.get(digest, ()), after.pause, True)
        return landed


@cache
def work_item_adapter() -> TypeAdapter[WorkItem]:
    """A work item to JSON and back, for snapshots. Made when the first is: most commands see none."""
    return TypeAdapter(WorkItem)


_UNSEEN = WorkItem(
    subject="",
    partition=0,
    version=0,
    instant=None,
    canonical=None,
    executions={},
    rivals={},
    moved=None,
    pauses={},
    listed=Listed(),
)


UNOPENED = Pause(
    pause="",
    terms=Terms(execution="", opened=0),
    heartbeat_at=EPOCH,
    heartbeat_set=0,
    side_effect="indeterminate",
    side_effect_since=EPOCH,
    side_effect_set=0,
    side_effect_by=0,
)
"""What every pause is made from, by ``but``."""


def _landed_as(pause: Pause | None) -> str | None:
    """The digest under which a pause's action is known to have happened; null where it isn't, or has no digest."""
    if pause is None or pause.side_effect != "happened":
        return None
    return pause.action_digest


def _with(ids: tuple[str, ...], pause: str, present: bool) -> tuple[str, ...]:
    if (pause in ids) is present:
        return ids
    return (*ids, pause) if present else tuple([one for one in ids if one != pause])


def packet_of(item: WorkItem, pause: Pause, stop_signals: list[str]) -> dict[str, Any]:
    """The packet as scripts read it (protocol, section 4)."""
    action, terms = pause.pending_action, pause.terms

    def time(instant: datetime | None) -> str | None:
        return None if instant is None else format_instant(instant)

    def span(duration: timedelta | None) -> str | None:
        return None if duration is None else format_duration(duration)

    return {
        "subject": item.subject,
        "execution": pause.execution,
        "pause": pause.pause,
        "opened": item.entry(pause.opened),
        "trigger": terms.trigger,
        "route": terms.route,
        "recheck": terms.recheck,
        "no_resume_condition": terms.no_resume_condition,
        "contract": terms.contract,
        "runtime": terms.runtime,
        "pending_action": None if action is None else dict(action.body),
        "action_digest": pause.action_digest,
        "owner": pause.owner,
        "resume_authority": list(pause.resume_authority),
        "requires_review": terms.requires_review,
        "reviewed": pause.reviewed,
        "fresh_until": time(pause.fresh_until),
        "heartbeat_timeout": span(terms.heartbeat_timeout),
        "heartbeat_by": terms.heartbeat_by,
        "heartbeat_at": time(pause.heartbeat_at),
        "reconcile_within": span(terms.reconcile_within),
        "side_effect": pause.side_effect,
        "side_effect_since": time(pause.side_effect_since),
        "side_effect_by": item.entry(pause.side_effect_by),
        "grant": pause.grant,
        "fence": pause.fence,
        "state": "open" if pause.is_open else "closed",
        "outcome": pause.outcome,
        "stop_signals": stop_signals,
    }
