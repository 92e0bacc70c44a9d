"""What each tool may be given, checked before anything is published. Their JSON Schemas are what a client is shown.

There is no argument that says who asks: that is the credential's, or the operator's, never the model's.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any, Literal

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, StrictBool, StrictInt, model_validator

from ledger.actions import read_action
from ledger.events import EntryName, Identifier, SideEffect, Text
from ledger.times import parse_duration


def _duration(text: str) -> str:
    parse_duration(text)
    return text


def _action(value: dict[str, Any]) -> dict[str, Any]:
    return dict(read_action(value).body)


Duration = Annotated[
    str, AfterValidator(_duration), Field(description="ISO 8601.", json_schema_extra={"examples": ["PT15M"]})
]
Action = Annotated[
    dict[str, Any],
    AfterValidator(_action),
    Field(
        description="What is about to be done: kind and name (strings, required), target, arguments (object), and"
        " idempotency_key where the same may be meant twice. Large numbers as strings. No secrets."
    ),
]
WorkItem = Annotated[Identifier, Field(description="What must not be worked on twice: a ticket, an order, a task.")]
Execution = Annotated[Identifier, Field(description="The id of your run; with a generation where it lives for ever.")]
Digest = Annotated[str, Field(pattern="^sha256:[0-9a-f]{64}$", description="action_digest of what is meant, as told.")]


class Arguments(BaseModel):
    """Arguments of a tool: none but those that are known."""

    model_config = ConfigDict(extra="forbid", frozen=True)


class OpenPause(Arguments):
    """``open_pause``."""

    work_item: WorkItem
    execution: Execution
    interrupt: Identifier = Field(description="Your own name of this interruption: the same again is the same pause.")
    checkpoint: Text = Field("", description="Where the run stands while it waits, where you have a name for that.")
    action: Action | None = None
    side_effect: SideEffect | None = Field(
        None, description="not_happened only where you know that it has not begun; indeterminate unless told."
    )
    owner: Identifier | None = Field(None, description="Who answers for it: user:…, role:…, service:…")
    resume_authority: tuple[Identifier, ...] | None = Field(
        None, description="Who may review and request a resume; the owner unless told."
    )
    requires_review: StrictBool | None = None
    fresh_for: Duration | None = Field(None, description="How long the plan may be relied on.")
    heartbeat_timeout: Duration | None = Field(None, description="The owner is gone when it is silent for so long.")
    heartbeat_by: Identifier | None = Field(None, description="Who else may beat, beside the owner.")
    reconcile_within: Duration | None = Field(None, description="How long an unknown outcome may stay unknown.")
    trigger: Text | None = Field(None, description="Why it pauses, in a sentence.")
    route: Text | None = None


class InPause(Arguments):
    """What says which pause: as ``open_pause`` answered."""

    work_item: WorkItem
    execution: Execution
    pause: Identifier = Field(description="As open_pause answered.")


class Beat(InPause):
    """``heartbeat``."""


class Decide(InPause):
    """``decision``."""


class Recheck(InPause):
    """``recheck``."""

    fresh_for: Duration
    evidence: Any = Field(None, description="JSON: what was looked at.")


class Review(InPause):
    """``review``."""

    outcome: Literal["approve", "edit", "reject"]
    action_digest: Digest
    action: Action | None = Field(None, description="With edit, and only then: what is to be done instead.")
    fresh_for: Duration | None = None

    @model_validator(mode="after")
    def _edits_with_an_action(self) -> Review:
        if (self.outcome == "edit") != (self.action is not None):
            raise ValueError("an action belongs to the outcome edit, and to no other")
        return self


class RequestResume(InPause):
    """``request_resume``."""

    action_digest: Digest


class Attempt(InPause):
    """``attempt``."""

    fence: StrictInt = Field(description="As request_resume answered.")


class Observe(InPause):
    """``observe``."""

    status: SideEffect
    settles: EntryName | None = Field(
        None, description="The entry of your attempt, or side_effect_by as decision told it before you looked."
    )
    action_digest: Digest | None = Field(None, description="Of the action that was looked for; give it always.")
    evidence: Any = Field(None, description="JSON: a receipt, an id, an error. No secrets.")


class Close(InPause):
    """``close_pause``."""

    outcome: Literal["executed", "settled", "abandoned"]


def schema_of(model: type[Arguments]) -> dict[str, Any]:
    """The JSON Schema of a tool's arguments, without the titles that pydantic makes up."""
    schema = _untitled(model.model_json_schema())
    schema.pop("description", None)
    return schema


def _untitled(schema: Mapping[str, Any]) -> dict[str, Any]:
    found: dict[str, Any] = {}
    for name, value in schema.items():
        if name == "title" and isinstance(value, str):
            continue
        found[name] = _untitled(value) if isinstance(value, Mapping) else value
    return found
