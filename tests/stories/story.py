"""How a story is told: entries with the verdict that the protocol gives each, and questions with their answers.

What is expected is written by hand, from reading ``docs/protocol.md``; nothing here asks the code. A clock time such as
``"09:30"`` is one of 28 March 2026, in UTC. :data:`BRANCH` and :data:`MALFORMED` are the protocol's words once more.
"""

from __future__ import annotations

import base64
import hashlib
import json
from collections.abc import Mapping, Sequence
from typing import Any

DAY = "2026-03-28"
DANA, OMAR, OPS = "user:dana", "user:omar", "role:ops"

BRANCH = {
    "moved": "terminate",
    "indeterminate": "reconcile",
    "landed": "settle",
    "no-action": "review",
    "unowned": "review",
    "stale": "review",
    "unreviewed": "review",
    "clear": "resume",
    "closed": "closed",
}
MALFORMED = {"not-cloudevent", "key-mismatch", "wrong-partition", "unknown-type", "bad-data"}


def digest_of(canonical: str) -> str:
    """The digest of an action whose RFC 8785 form is written out by hand."""
    return "sha256:" + hashlib.sha256(canonical.encode()).hexdigest()


REFUND: dict[str, Any] = {"kind": "payment", "name": "refund", "target": "order/7", "arguments": {"cents": 500}}
REFUND_DIGEST = digest_of('{"arguments":{"cents":500},"kind":"payment","name":"refund","target":"order/7"}')
LETTER: dict[str, Any] = {"name": "send-letter", "kind": "mail"}
LETTER_DIGEST = digest_of('{"kind":"mail","name":"send-letter"}')


def of(pause: str = "p1", run: str = "run-1", **members: Any) -> dict[str, Any]:
    """The data of an event that speaks of a pause."""
    return {"execution": run, "pause": pause, **members}


def ready(pause: str = "p1", run: str = "run-1", **members: Any) -> dict[str, Any]:
    """The data of a pause that may be resumed for an hour: owned, with an action that has not happened."""
    full = {"owner": DANA, "pending_action": REFUND, "fresh_for": "PT1H", "side_effect": "not_happened"}
    return of(pause, run, **(full | members))


def time(text: str) -> str:
    """``"09:30"``, ``"09:30:15.001"`` or a whole RFC 3339 time, as the vectors write times."""
    if "T" in text:
        return text
    clock = text if text.count(":") == 2 else f"{text}:00"
    return f"{DAY}T{clock}Z" if "." in clock else f"{DAY}T{clock}.000Z"


def owed(owner: str | None, since: str, due: str | None = None) -> dict[str, Any]:
    """A debt: who owes the outcome, since when, and by when."""
    return {"owner": owner, "since": time(since), "due": None if due is None else time(due)}


def expect(
    rule: str,
    results: str,
    *,
    pause: str = "p1",
    run: str = "run-1",
    until: str | None = None,
    signals: Sequence[str] = (),
    owes: Sequence[str] = (),
    debt: dict[str, Any] | None = None,
    fence: int | None = None,
    digest: str | None = REFUND_DIGEST,
) -> dict[str, Any]:
    """A decision; ``results`` are freshness, ownership and side effect, in this order."""
    freshness, ownership, side_effect = results.split()
    return {
        "execution": run,
        "pause": pause,
        "decision": BRANCH[rule],
        "rule": rule,
        "freshness": freshness,
        "ownership": ownership,
        "side_effect": side_effect,
        "stop_signals": list(signals),
        "obligations": list(owes),
        "valid_until": None if until is None else time(until),
        "fence": fence,
        "action_digest": digest,
        "debt": debt,
    }


class Story:
    """One file of vectors: what went on the ledger, and what every reader must conclude from it."""

    def __init__(self, name: str, about: str, *, partitions: int = 1) -> None:
        self.name = name
        self.about = about
        self.partitions = partitions
        self.entries: list[dict[str, Any]] = []
        self.verdicts: list[dict[str, Any]] = []
        self.questions: list[dict[str, Any]] = []

    def event(self, name: str, data: object, **attributes: Any) -> dict[str, Any]:
        """A CloudEvent with the next id; attributes given as null are there, as null."""
        event = {
            "specversion": "1.0",
            "id": f"e{len(self.entries)}",
            "source": "/runtime",
            "type": f"pauseledger.{name}",
            "subject": "T-1",
        }
        return event | attributes | {"data": data}

    def put(self, when: str, name: str, data: object, code: str = "ok", **more: Any) -> None:
        """An event in structured mode; ``code`` is what must become of it. See :meth:`line` for ``more``."""
        ours = {"partition", "note", "fence", "digest", "first", "key"}
        attributes = {key: value for key, value in more.items() if key not in ours}
        event = self.event(name, data, **attributes)
        text = json.dumps(event, ensure_ascii=False)
        self.line(when, text, code, **{key: value for key, value in more.items() if key in ours})

    def grant(self, when: str, data: dict[str, Any], *, digest: str = REFUND_DIGEST, **more: Any) -> int:
        """A ``resume.requested`` that is granted, of Dana unless told; its fence, which is its offset."""
        fence = len(self.entries)
        data = data | {"action_digest": digest}
        self.put(when, "resume.requested", data, fence=fence, digest=digest, **({"actor": DANA} | more))
        return fence

    def line(self, when: str, text: str, code: str, **more: Any) -> None:
        """A record whose value is a text, in structured mode; its key is the subject that it names."""
        self._record(when, {"line": text}, code, **more)

    def bytes(self, when: str, value: bytes | None, code: str, **more: Any) -> None:
        """A record of any bytes, or of none; ``key`` and ``headers`` as given."""
        encoded = None if value is None else base64.b64encode(value).decode()
        self._record(when, {"value_base64": encoded}, code, **more)

    def binary(self, when: str, name: str, value: str, code: str = "ok", **more: Any) -> None:
        """An event in binary mode: the attributes are headers, the data is the value."""
        attributes: Mapping[str, str | None] = more.pop("attributes", {})
        content_type: str | None = more.pop("content_type", "application/json")
        head: dict[str, Any] = self.event(name, None) | dict(attributes)
        headers = [[f"ce_{key}", text] for key, text in head.items() if key != "data"]
        if content_type is not None:
            headers.append(["content-type", content_type])
        self._record(when, {"key": "T-1", "headers": headers, "line": value}, code, **more)

    def _record(self, when: str, content: dict[str, Any], code: str, **more: Any) -> None:
        position = {"partition": more.pop("partition", 0), "offset": len(self.entries), "recorded_at": time(when)}
        note = {"note": more.pop("note")} if "note" in more else {}
        extra = {name: more.pop(name) for name in ("key", "headers") if name in more}
        self.entries.append(position | note | extra | content)
        self.verdicts.append(self._verdict(code, **more))

    def _verdict(
        self, code: str, *, fence: int | None = None, digest: str | None = None, first: int | None = None
    ) -> dict[str, Any]:
        named = {"ok": "accepted", "duplicate": "duplicate"} | dict.fromkeys(MALFORMED, "malformed")
        verdict: dict[str, Any] = {"verdict": named.get(code, "refused"), "code": code}
        if fence is not None:
            verdict["fence"] = fence
        if digest is not None:
            verdict["action_digest"] = digest
        if first is not None:
            kept = ("verdict", "code", "fence")
            verdict["first"] = {name: value for name, value in self.verdicts[first].items() if name in kept}
        return verdict

    def ask(self, at: str, *expected: dict[str, Any], subject: str = "T-1") -> None:
        """What ``decision --at`` must give: a decision for each pause, in the order opened."""
        decisions = [{"subject": subject, **one} for one in expected]
        self.questions.append({"subject": subject, "at": time(at), "decisions": decisions})

    def as_dict(self) -> dict[str, Any]:
        """The file's content."""
        return {
            "name": self.name,
            "about": self.about,
            "partitions": self.partitions,
            "entries": self.entries,
            "verdicts": self.verdicts,
            "decisions": self.questions,
        }
