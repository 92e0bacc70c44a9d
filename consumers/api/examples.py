"""What the OpenAPI document shows of requests and answers: their shapes, and one real example each."""

from __future__ import annotations

from typing import Any

_TEXT: dict[str, Any] = {"type": "string"}
_MAYBE: dict[str, Any] = {"type": ["string", "null"]}
_NUMBER: dict[str, Any] = {"type": ["integer", "null"]}


def _object(required: dict[str, Any], **optional: Any) -> dict[str, Any]:
    return {"type": "object", "properties": required | optional, "required": sorted(required)}


def _list(schema: str) -> dict[str, Any]:
    return {"type": "array", "items": {"$ref": f"#/components/schemas/{schema}"}}


def _page(name: str) -> dict[str, Any]:
    return _object({"items": _list(name), "next": _MAYBE})


_VERDICT_MEMBERS = {
    "partition": _NUMBER,
    "offset": _NUMBER,
    "recorded_at": _MAYBE,
    "subject": _MAYBE,
    "id": _MAYBE,
    "source": _MAYBE,
    "type": _MAYBE,
    "verdict": {"enum": ["accepted", "refused", "duplicate", "malformed", "unknown"]},
    "code": _TEXT,
    "reason": _TEXT,
}
_BRANCHES = ["resume", "review", "reconcile", "settle", "terminate", "closed"]
_PAUSE = {"subject": _TEXT, "execution": _TEXT, "pause": _TEXT}

SCHEMAS: dict[str, Any] = {
    "Problem": _object({"type": _TEXT, "title": _TEXT, "status": {"type": "integer"}, "detail": _TEXT}),
    "Verdict": _object(
        _VERDICT_MEMBERS,
        first={"type": "object"},
        fence={"type": "integer"},
        action_digest=_TEXT,
        valid_until=_TEXT,
    ),
    "Line": _object(_VERDICT_MEMBERS | {"event": {"type": ["object", "null"]}}),
    "Decision": _object(
        _PAUSE
        | {
            "decision": {"enum": _BRANCHES},
            "rule": _TEXT,
            "reason": _TEXT,
            "checks": {"type": "object"},
            "stop_signals": {"type": "array", "items": _TEXT},
            "as_of": _TEXT,
            "valid_until": _MAYBE,
            "debt": {"type": ["object", "null"]},
            "obligations": {"type": "array", "items": _TEXT},
            "action_digest": _MAYBE,
            "fence": _NUMBER,
            "table": {"type": "object"},
        }
    ),
    "Packet": _object(_PAUSE | {"opened": _TEXT, "state": {"enum": ["open", "closed"]}, "outcome": _MAYBE}),
    "WorkItemRow": _object(
        {
            "subject": _TEXT,
            "entries": {"type": "integer"},
            "instant": _MAYBE,
            "canonical": _MAYBE,
            "owner": _MAYBE,
            "moved": _MAYBE,
            "rivals": {"type": "array", "items": _TEXT},
            "open_pauses": {"type": "integer"},
        }
    ),
    "Task": _object(
        _PAUSE | {"decision": {"enum": _BRANCHES}, "owner": _MAYBE, "due": _MAYBE, "reason": _TEXT, "action": _MAYBE}
    ),
    "Debt": _object(
        _PAUSE | {"owner": _MAYBE, "since": _TEXT, "due": _MAYBE, "overdue": {"type": "boolean"}, "action": _MAYBE}
    ),
    "Deadline": _object(_PAUSE | {"kind": _TEXT, "owner": _MAYBE, "at": _TEXT, "passed": {"type": "boolean"}}),
    "Ownership": _object({"subject": _TEXT, "execution": _TEXT, "role": _TEXT, "owner": _MAYBE}),
}
SCHEMAS["WorkItem"] = _object(
    SCHEMAS["WorkItemRow"]["properties"] | {"executions": _list("Ownership"), "pauses": {"type": "array"}}
)
SCHEMAS["CloudEvent"] = {
    "type": "object",
    "description": "A CloudEvent 1.0 of the protocol: specversion, id, source, type, subject, data. An object that is "
    "none is recorded, too: its verdict is malformed.",
}

EVENT: dict[str, Any] = {
    "specversion": "1.0",
    "id": "run-1/p1/opened",
    "source": "/agents/refunds",
    "type": "pauseledger.pause.opened",
    "subject": "T-7",
    "data": {
        "execution": "run-1",
        "pause": "p1",
        "owner": "role:ops",
        "fresh_for": "PT1H",
        "side_effect": "not_happened",
        "pending_action": {"kind": "write", "name": "refund", "arguments": {"order": 7, "amount": 5}},
    },
}
REQUEST: dict[str, Any] = {
    "required": True,
    "description": "A CloudEvent in structured mode, or a batch. In binary mode: its attributes in ce- headers, its "
    "data as the body, with the data's own content type.",
    "content": {
        "application/cloudevents+json": {"schema": {"$ref": "#/components/schemas/CloudEvent"}, "example": EVENT},
        "application/cloudevents-batch+json": {"schema": _list("CloudEvent"), "example": [EVENT]},
    },
}
_TIME = "2026-03-28T09:00:00.000Z"
_DIGEST = "sha256:c7d0b2f1c3a5a7f5f3f0a1a9e9c0d1b2e3f4a5b6c7d8e9f0a1b2c3d4e5f60718"
VERDICT: dict[str, Any] = {
    "partition": 0,
    "offset": 0,
    "recorded_at": _TIME,
    **{name: EVENT[name] for name in ("subject", "id", "source", "type")},
    "verdict": "accepted",
    "code": "ok",
    "reason": "Recorded.",
}
UNKNOWN: dict[str, Any] = VERDICT | {
    "partition": None,
    "offset": None,
    "recorded_at": None,
    "verdict": "unknown",
    "code": "unacknowledged",
    "reason": "The log did not acknowledge it in time: it may or may not be there. Sent again, it counts once.",
}
_WHICH = {"subject": "T-7", "execution": "run-1", "pause": "p1"}
DECISION: dict[str, Any] = _WHICH | {
    "decision": "resume",
    "rule": "clear",
    "reason": "The plan is fresh, its owner holds it, and the side effect has not happened: it may be resumed.",
    "checks": {
        "freshness": {"result": "fresh", "entries": ["0:0"]},
        "ownership": {"result": "held", "entries": ["0:0"]},
        "side_effect": {"result": "not_happened", "entries": ["0:0"]},
    },
    "stop_signals": [],
    "as_of": _TIME,
    "valid_until": "2026-03-28T10:00:00.000Z",
    "debt": None,
    "obligations": [],
    "action_digest": _DIGEST,
    "fence": None,
    "table": {"version": "1", "digest": _DIGEST},
}
_PACKET: dict[str, Any] = _WHICH | {"opened": "0:0", "owner": "role:ops", "side_effect": "not_happened"}
_PACKET |= {"grant": "none", "state": "open", "outcome": None}
_ROW: dict[str, Any] = {
    "subject": "T-7",
    "entries": 1,
    "instant": _TIME,
    "canonical": "run-1",
    "owner": "role:ops",
    "moved": None,
    "rivals": [],
    "open_pauses": 1,
}
_OWNERSHIP = {"subject": "T-7", "execution": "run-1", "role": "canonical", "owner": "role:ops"}
_TASK = _WHICH | {
    "decision": "review",
    "rule": "stale",
    "owner": "role:ops",
    "due": None,
    "reason": "Stale.",
    "action": "refund",
}
_DEBT = _WHICH | {
    "owner": "role:ops",
    "since": _TIME,
    "due": None,
    "overdue": False,
    "state": "open",
    "action": "refund",
}
_DEADLINE = _WHICH | {"kind": "freshness", "owner": "role:ops", "at": _TIME, "passed": False}
_PAUSES = [{"pause": "p1", "execution": "run-1", "opened": "0:0", "state": "open", "outcome": None}]
_STREAM = (
    'id: 1@1774688400000\nevent: decision\ndata: {"entry":"0:0","before":null,"decision":{"decision":"resume"}}\n\n'
)


def _rows(row: dict[str, Any], schema: str) -> tuple[Any, Any, str]:
    return {"items": [row], "next": None}, _page(schema), "A page, and the cursor of the next one."


ANSWERS: dict[str, tuple[Any, Any, str] | str] = {
    "/v1/events": (
        VERDICT,
        {"anyOf": [{"$ref": "#/components/schemas/Verdict"}, {"type": "array"}]},
        "The verdict; of a batch a list of them, in order.",
    ),
    "/v1/work-items": _rows(_ROW, "WorkItemRow"),
    "/v1/work-items/{subject}": (_ROW | {"executions": [_OWNERSHIP], "pauses": _PAUSES}, "WorkItem", "The work item."),
    "/v1/work-items/{subject}/decision": ([DECISION], _list("Decision"), "The decisions, in the order opened."),
    "/v1/work-items/{subject}/decisions/stream": _STREAM,
    "/v1/work-items/{subject}/trail": ([VERDICT | {"event": EVENT}], _list("Line"), "The entries, oldest first."),
    "/v1/work-items/{subject}/pauses/{pause}": (_PACKET, "Packet", "The packet."),
    "/v1/work-items/{subject}/pauses/{pause}/decision": (DECISION, "Decision", "The decision."),
    "/v1/decisions": _rows(DECISION, "Decision"),
    "/v1/decisions/stream": _STREAM,
    "/v1/inbox": _rows(_TASK, "Task"),
    "/v1/debts": _rows(_DEBT, "Debt"),
    "/v1/deadlines": _rows(_DEADLINE, "Deadline"),
    "/v1/owners": _rows(_OWNERSHIP, "Ownership"),
    "/v1/status": (
        {
            "version": "0.1.0",
            "log": {"topic": "log", "topic_id": "0b4f…", "positions": [1]},
            "streams": 0,
            "outbox": 0,
        },
        _object({"version": _TEXT, "log": {"type": "object"}, "streams": {"type": "integer"}}),
        "How the server stands.",
    ),
    "/healthz": ({"status": "ok"}, _object({"status": _TEXT}), "It lives."),
    "/readyz": ({"status": "ready"}, _object({"status": _TEXT}), "It is ready."),
    "/problems/{name}": (
        {"type": "/problems/not-found", "status": 404, "title": "There is no such thing", "advice": "See …"},
        _object({"type": _TEXT, "status": {"type": "integer"}, "title": _TEXT, "advice": _TEXT}),
        "What it means.",
    ),
}
