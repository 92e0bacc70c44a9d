"""A builder for short ledgers: each method publishes one event of one work item and gives the fold's verdict."""

from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta
from typing import Any

from ledger.checks import stop_signals
from ledger.cloudevents import STRUCTURED_HEADERS
from ledger.decision import decide
from ledger.fold import Replay
from ledger.packet import WorkItem, packet_of
from ledger.record import Record
from ledger.times import EPOCH
from ledger.verdict import Verdict

NINE = datetime(2026, 3, 28, 9, tzinfo=UTC)
PAY = {"kind": "tool", "name": "pay", "arguments": {"amount": 12}, "idempotency_key": "pay-1"}
REFUND = {"kind": "tool", "name": "refund", "idempotency_key": "refund-1"}
CLEAR = {
    "execution": "run-1",
    "owner": "user:ann",
    "pending_action": PAY,
    "side_effect": "not_happened",
    "fresh_for": "PT15M",
}


class Story:
    """The ledger of one work item, told entry by entry. The broker's clock stands at nine until it is moved."""

    def __init__(self, subject: str = "T-1001") -> None:
        self.subject = subject
        self.replay = Replay(1)
        self.records: list[Record] = []
        self.clock = NINE

    @property
    def item(self) -> WorkItem:
        return self.replay.items[self.subject]

    def wait(self, **span: float) -> None:
        """The broker's clock goes on; or back, where the span is negative."""
        self.clock += timedelta(**span)

    def put(self, content: Any, **record: Any) -> Verdict:
        """A record as it lies on the log. ``content`` is a line, or what becomes one."""
        value = content if isinstance(content, (bytes, type(None))) else json.dumps(content).encode()
        milliseconds = (self.clock - EPOCH) // timedelta(milliseconds=1)
        told = {"key": self.subject.encode(), "headers": STRUCTURED_HEADERS} | record
        self.records.append(Record(0, len(self.records), milliseconds, told["key"], value, told["headers"]))
        return self.replay.take(self.records[-1])

    def event(self, name: str, data: Any, **attributes: Any) -> dict[str, Any]:
        """A CloudEvent in structured mode, with an id of its own unless one is given."""
        required = {
            "specversion": "1.0",
            "id": f"e{len(self.records)}",
            "source": "/story",
            "type": f"pauseledger.{name}",
            "subject": self.subject,
        }
        return required | attributes | {"data": data}

    def tell(
        self, name: str, actor: str | None = None, attributes: dict[str, Any] | None = None, **data: Any
    ) -> Verdict:
        """Publish an event with further ``attributes``. A trailing underscore of a member is dropped: ``from_``."""
        members = {member.rstrip("_"): value for member, value in data.items()}
        by = {} if actor is None else {"actor": actor}
        return self.put(self.event(name, members, **by, **(attributes or {})))

    def claim(self, execution: str = "run-1", owner: str = "user:ann", **data: Any) -> Verdict:
        return self.tell("execution.claimed", execution=execution, owner=owner, **data)

    def finish(self, execution: str = "run-1") -> Verdict:
        return self.tell("execution.finished", execution=execution)

    def open(self, pause: str = "p-1", attributes: dict[str, Any] | None = None, **data: Any) -> Verdict:
        """A pause that may be resumed by its owner for a quarter of an hour, unless told otherwise."""
        return self.tell("pause.opened", attributes=attributes, **(CLEAR | {"pause": pause} | data))

    def _of(self, name: str, pause: str, actor: str | None, data: dict[str, Any]) -> Verdict:
        return self.tell(name, actor, **({"execution": "run-1", "pause": pause} | data))

    def beat(self, pause: str = "p-1", actor: str = "user:ann", **data: Any) -> Verdict:
        return self._of("heartbeat.recorded", pause, actor, data)

    def recheck(self, pause: str = "p-1", actor: str = "user:ann", **data: Any) -> Verdict:
        return self._of("inputs.rechecked", pause, actor, {"fresh_for": "PT15M"} | data)

    def review(self, outcome: str, pause: str = "p-1", actor: str = "user:ann", **data: Any) -> Verdict:
        return self._of(
            "review.decided", pause, actor, {"outcome": outcome, "action_digest": self.digest(pause)} | data
        )

    def request(self, pause: str = "p-1", actor: str = "user:ann", **data: Any) -> Verdict:
        return self._of("resume.requested", pause, actor, {"action_digest": self.digest(pause)} | data)

    def attempt(self, fence: int | None = None, pause: str = "p-1", **data: Any) -> Verdict:
        return self._of("side_effect.attempted", pause, "service:worker", {"fence": fence} | data)

    def observe(self, status: str, pause: str = "p-1", actor: str | None = None, **data: Any) -> Verdict:
        """An observation that settles what stands, unless told otherwise."""
        known = self.item.pauses.get(pause)
        settles = None if known is None else self.item.entry(known.side_effect_by)
        return self._of("side_effect.observed", pause, actor, {"status": status, "settles": settles} | data)

    def waive(self, pause: str = "p-1", actor: str = "user:ann", **data: Any) -> Verdict:
        return self._of("debt.waived", pause, actor, {"reason": "can't be known"} | data)

    def close(self, outcome: str, pause: str = "p-1", **data: Any) -> Verdict:
        return self._of("pause.closed", pause, None, {"outcome": outcome} | data)

    def digest(self, pause: str = "p-1") -> str | None:
        known = self.item.pauses.get(pause)
        return None if known is None else known.action_digest

    def decision(self, pause: str = "p-1", at: datetime | None = None) -> dict[str, Any]:
        """The decision of a pause, now unless told when."""
        return decide(self.item, self.item.pauses[pause], at or self.clock).as_dict()

    def packet(self, pause: str = "p-1") -> dict[str, Any]:
        known = self.item.pauses[pause]
        return packet_of(self.item, known, stop_signals(self.item, known))


def granted() -> tuple[Story, int]:
    """A story with one pause, and the fence of its grant."""
    story = Story()
    story.open()
    fence = story.request().fence
    assert fence is not None
    return story, fence
