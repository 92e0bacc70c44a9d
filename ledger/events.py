"""The events of the ledger: a closed union of frozen models, one a type (protocol, sections 2 and 3).

Each is a CloudEvent whose ``data`` has its own model. Unknown members are ignored here and kept in the record's bytes;
a member that is null counts as absent. Nothing is imported or resolved by a name that came off the wire:
:data:`EVENT_TYPES` is the whole registry.
"""

from __future__ import annotations

import re
from datetime import UTC, datetime, timedelta
from typing import Annotated, Any, Literal, Self

import orjson
from pydantic import (
    BaseModel,
    ConfigDict,
    Field,
    PlainSerializer,
    PlainValidator,
    StrictBool,
    StrictInt,
    StringConstraints,
    TypeAdapter,
    ValidationInfo,
    field_validator,
    model_validator,
)

from ledger.actions import IDENTIFIER_LENGTH, Action, read_action
from ledger.times import EARLIEST, LATEST, format_duration, parse_duration, parse_instant

_MEDIA_TYPE = re.compile(r"\s*application/json\s*(;.*)?", re.IGNORECASE | re.DOTALL)


def _instant(value: object) -> datetime:
    if isinstance(value, str):
        return parse_instant(value)
    if isinstance(value, datetime) and value.utcoffset() is not None:
        return min(max(value, EARLIEST), LATEST).astimezone(UTC)
    raise ValueError("must be an RFC 3339 time with an offset, or an aware datetime")


def _duration(value: object) -> timedelta:
    if isinstance(value, str):
        return parse_duration(value)
    if isinstance(value, timedelta) and value > timedelta(0):
        return value
    raise ValueError("must be a positive ISO 8601 duration, such as PT15M, or a timedelta")


def _json_media_type(value: object) -> str | None:
    if value is None or value == "application/json":
        return value
    if isinstance(value, str) and _MEDIA_TYPE.fullmatch(value):
        return value
    raise ValueError("must be application/json")


def _exact(instant: datetime) -> str:
    return instant.isoformat().replace("+00:00", "Z")


Text = Annotated[str, StringConstraints(strict=True)]
Identifier = Annotated[str, StringConstraints(strict=True, min_length=1, max_length=IDENTIFIER_LENGTH)]
EntryName = Annotated[str, StringConstraints(strict=True, pattern=r"^[0-9]+:[0-9]+$")]
Instant = Annotated[datetime, PlainValidator(_instant), PlainSerializer(_exact)]
Duration = Annotated[timedelta, PlainValidator(_duration), PlainSerializer(format_duration)]
PendingAction = Annotated[Action, PlainValidator(read_action), PlainSerializer(lambda action: dict(action.body))]
SideEffect = Literal["not_happened", "happened", "indeterminate"]


class Data(BaseModel):
    """What every event's data has in common: frozen, unknown members ignored."""

    model_config = ConfigDict(frozen=True, extra="ignore")


class InExecution(Data):
    execution: Identifier


class InPause(InExecution):
    pause: Identifier


class ClaimedData(InExecution):
    owner: Identifier
    route: Text | None = None
    replaces: Identifier | tuple[Identifier, ...] | None = None
    acknowledges: EntryName | None = None
    manual: StrictBool | None = None


class FinishedData(InExecution):
    outcome: Text | None = None


class PauseOpenedData(InPause):
    trigger: Text | None = None
    route: Text | None = None
    recheck: Text | None = None
    no_resume_condition: Text | None = None
    contract: Text | None = None
    runtime: dict[str, Any] | None = None
    pending_action: PendingAction | None = None
    owner: Identifier | None = None
    resume_authority: tuple[Identifier, ...] | None = None
    requires_review: StrictBool | None = None
    fresh_until: Instant | None = None
    fresh_for: Duration | None = None
    heartbeat_timeout: Duration | None = None
    heartbeat_by: Identifier | None = None
    reconcile_within: Duration | None = None
    side_effect: SideEffect | None = None


class OwnerChangedData(InExecution):
    to: Identifier
    from_: Identifier | None = Field(default=None, alias="from")
    reason: Text | None = None


class WorkMovedData(Data):
    to: Identifier
    reason: Text | None = None
    execution: Identifier | None = None


class BranchStartedData(InExecution):
    by: Identifier | None = None
    reason: Text | None = None


class InputsChangedData(Data):
    pause: Identifier | None = None
    reason: Text | None = None
    execution: Identifier | None = None


class InputsRecheckedData(InPause):
    fresh_until: Instant | None = None
    fresh_for: Duration | None = None
    evidence: Any = None

    @model_validator(mode="after")
    def _has_a_deadline(self) -> Self:
        if self.fresh_until is None and self.fresh_for is None:
            raise ValueError("needs fresh_until or fresh_for")
        return self


class ReviewDecidedData(InPause):
    outcome: Literal["approve", "edit", "reject"]
    action_digest: Text | None = None
    pending_action: Annotated[
        Action | None,
        PlainSerializer(lambda action: None if action is None else dict(action.body)),
    ] = Field(default=None, validate_default=True)
    fresh_until: Instant | None = None
    fresh_for: Duration | None = None

    @field_validator("pending_action", mode="plain")
    @classmethod
    def _only_of_an_edit(cls, value: object, info: ValidationInfo) -> Action | None:
        return read_action(value) if info.data.get("outcome") == "edit" else None


class ResumeRequestedData(InPause):
    action_digest: Text | None = None


class AttemptedData(InPause):
    fence: StrictInt | None = None


class ObservedData(InPause):
    status: SideEffect
    settles: EntryName | None = None
    action_digest: Text | None = None
    evidence: Any = None


class DebtWaivedData(InPause):
    reason: Text


class PauseClosedData(InPause):
    outcome: Literal["executed", "settled", "abandoned"]


class NoteAddedData(Data):
    text: Text
    pause: Identifier | None = None
    execution: Identifier | None = None


class Event(BaseModel):
    """The CloudEvents attributes of every event. ``id``, ``source`` and ``subject`` are never made up here."""

    model_config = ConfigDict(frozen=True, extra="ignore")

    specversion: Literal["1.0"] = "1.0"
    id: Identifier
    source: Identifier
    subject: Identifier
    time: Instant | None = None
    datacontenttype: Annotated[str | None, PlainValidator(_json_media_type)] = None
    actor: Identifier | None = None
    actorroles: Text | None = None
    traceparent: Text | None = None
    data_base64: None = None

    def to_json(self) -> bytes:
        """The event in structured mode: one line of JSON without absent members."""
        content = self.model_dump(mode="json", by_alias=True, exclude_none=True)
        return orjson.dumps({"datacontenttype": "application/json"} | content)


class ExecutionClaimed(Event):
    type: Literal["pauseledger.execution.claimed"] = "pauseledger.execution.claimed"
    data: ClaimedData


class ExecutionFinished(Event):
    type: Literal["pauseledger.execution.finished"] = "pauseledger.execution.finished"
    data: FinishedData


class PauseOpened(Event):
    type: Literal["pauseledger.pause.opened"] = "pauseledger.pause.opened"
    data: PauseOpenedData


class HeartbeatRecorded(Event):
    type: Literal["pauseledger.heartbeat.recorded"] = "pauseledger.heartbeat.recorded"
    data: InPause


class OwnerChanged(Event):
    type: Literal["pauseledger.owner.changed"] = "pauseledger.owner.changed"
    data: OwnerChangedData


class WorkMoved(Event):
    type: Literal["pauseledger.work.moved"] = "pauseledger.work.moved"
    data: WorkMovedData


class BranchStarted(Event):
    type: Literal["pauseledger.branch.started"] = "pauseledger.branch.started"
    data: BranchStartedData


class InputsChanged(Event):
    type: Literal["pauseledger.inputs.changed"] = "pauseledger.inputs.changed"
    data: InputsChangedData


class InputsRechecked(Event):
    type: Literal["pauseledger.inputs.rechecked"] = "pauseledger.inputs.rechecked"
    data: InputsRecheckedData


class ReviewDecided(Event):
    type: Literal["pauseledger.review.decided"] = "pauseledger.review.decided"
    data: ReviewDecidedData


class ResumeRequested(Event):
    type: Literal["pauseledger.resume.requested"] = "pauseledger.resume.requested"
    data: ResumeRequestedData


class SideEffectAttempted(Event):
    type: Literal["pauseledger.side_effect.attempted"] = "pauseledger.side_effect.attempted"
    data: AttemptedData


class SideEffectObserved(Event):
    type: Literal["pauseledger.side_effect.observed"] = "pauseledger.side_effect.observed"
    data: ObservedData


class DebtWaived(Event):
    type: Literal["pauseledger.debt.waived"] = "pauseledger.debt.waived"
    data: DebtWaivedData


class PauseClosed(Event):
    type: Literal["pauseledger.pause.closed"] = "pauseledger.pause.closed"
    data: PauseClosedData


class NoteAdded(Event):
    type: Literal["pauseledger.note.added"] = "pauseledger.note.added"
    data: NoteAddedData


LedgerEvent = (
    ExecutionClaimed
    | ExecutionFinished
    | PauseOpened
    | HeartbeatRecorded
    | OwnerChanged
    | WorkMoved
    | BranchStarted
    | InputsChanged
    | InputsRechecked
    | ReviewDecided
    | ResumeRequested
    | SideEffectAttempted
    | SideEffectObserved
    | DebtWaived
    | PauseClosed
    | NoteAdded
)

EVENTS: TypeAdapter[LedgerEvent] = TypeAdapter(Annotated[LedgerEvent, Field(discriminator="type")])

EVENT_TYPES: dict[str, type[LedgerEvent]] = {
    model.model_fields["type"].default: model for model in LedgerEvent.__args__
}

REQUESTS: frozenset[str] = frozenset(
    f"pauseledger.{name}"
    for name in (
        "execution.claimed",
        "execution.finished",
        "owner.changed",
        "inputs.rechecked",
        "review.decided",
        "resume.requested",
        "debt.waived",
        "pause.closed",
    )
)


def is_request(event: LedgerEvent) -> bool:
    """Whether an event asks for something (so that a late resend would be a new wish), or states a fact."""
    if isinstance(event, SideEffectAttempted):
        return event.data.fence is not None
    return event.type in REQUESTS
