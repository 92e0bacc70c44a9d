"""The verdict: what the fold says of an entry, and the sentence that says why."""

from __future__ import annotations

from datetime import datetime
from functools import lru_cache
from typing import Any, Literal, NamedTuple

from ledger.times import format_instant, from_milliseconds


@lru_cache(maxsize=256)  # what is recorded together has one time
def _recorded(milliseconds: int) -> str:
    return format_instant(from_milliseconds(milliseconds))


Outcome = Literal["accepted", "refused", "duplicate", "malformed"]


class Verdict(NamedTuple):
    """What became of one entry (protocol, section 7). ``recorded_at`` is in milliseconds since 1970."""

    partition: int
    offset: int
    recorded_at: int
    subject: str | None
    id: str | None
    source: str | None
    type: str | None
    verdict: Outcome
    code: str
    detail: str = ""
    first: dict[str, Any] | None = None
    fence: int | None = None
    action_digest: str | None = None
    valid_until: datetime | None = None

    @property
    def entry(self) -> str:
        return f"{self.partition}:{self.offset}"

    @property
    def reason(self) -> str:
        return reason_for(self.code, self.detail)

    @property
    def accepted(self) -> bool:
        """Whether the event counts: accepted now, or a resend of one that was."""
        effective = self.first["verdict"] if self.first is not None else self.verdict
        return bool(effective == "accepted")

    def counting(self) -> dict[str, Any]:
        """The verdict that counts, as scripts read it: of a resend the first one's."""
        return self.as_dict() if self.first is None else self.first

    def as_dict(self) -> dict[str, Any]:
        """The verdict as scripts read it; members that don't apply are left out."""
        content: dict[str, Any] = {
            "partition": self.partition,
            "offset": self.offset,
            "recorded_at": _recorded(self.recorded_at),
            "subject": self.subject,
            "id": self.id,
            "source": self.source,
            "type": self.type,
            "verdict": self.verdict,
            "code": self.code,
            "reason": self.reason,
        }
        if self.first is not None:
            content["first"] = self.first
        if self.fence is not None:
            content["fence"] = self.fence
        if self.action_digest is not None:
            content["action_digest"] = self.action_digest
        if self.valid_until is not None:
            content["valid_until"] = format_instant(self.valid_until)
        return content


REASONS: dict[str, str] = {
    "ok": "Recorded.",
    "duplicate": "This event was recorded before, by the same source under the same id; it counts once.",
    "id-reused": "The same source used this id before, for an event that says something else.",
    "not-cloudevent": "This is no CloudEvent 1.0: {detail}.",
    "key-mismatch": "The record is not keyed by its work item: {detail}.",
    "wrong-partition": "The record lies astray: {detail}.",
    "unknown-type": "The type is unknown: {detail}.",
    "bad-data": "The event is not as the protocol says: {detail}.",
    "execution-retired": "This execution was replaced or has finished; it can't come back.",
    "already-canonical": "This execution is canonical already; it can neither replace nor acknowledge anything.",
    "stale-owner": "The execution's owner is another than this event takes for granted.",
    "already-claimed": "Another execution is canonical, and this claim does not name it in replaces.",
    "work-moved": "The work item was moved elsewhere; a claim must acknowledge the entry that moved it.",
    "not-canonical": "This execution is not the canonical one of the work item.",
    "pause-exists": "A pause of this id was opened before on this work item.",
    "no-such-pause": "There is no pause of this id here.",
    "pause-closed": "The pause is closed.",
    "not-owner": "Only the pause's owner, or who beats its heart for it, can do that.",
    "lapsed": "The heartbeat came too late: the pause's heartbeat timeout had passed.",
    "no-authority": "Neither the actor nor one of its roles has the authority to do that.",
    "action-changed": "The pending action is another than the one this event speaks of.",
    "side-effect-open": "What became of the side effect does not allow that.",
    "still-stale": "With that deadline the plan would not be fresh at this instant.",
    "decision-review": "The decision at this instant is review: {detail}",
    "decision-reconcile": "The decision at this instant is reconcile: {detail}",
    "decision-settle": "The decision at this instant is settle: {detail}",
    "decision-terminate": "The decision at this instant is terminate: {detail}",
    "stale-fence": "This fence is not the one outstanding grant of the pause: nobody may act on it.",
    "no-longer-clear": "The way is no longer clear, whatever was granted: {detail}",
    "contradicts": "It is on the ledger that the side effect happened; to say otherwise takes the authority to resume, "
    "and settles must name the entry that stands.",
    "stale-observation": "Something came after what the observer had read: settles is not the entry that stands.",
    "no-debt": "There is no unknown outcome here that could be written off.",
}


def reason_for(code: str, detail: str = "") -> str:
    """The sentence of a code. Every code of the protocol has one."""
    return REASONS[code].format(detail=detail) if detail else REASONS[code]
