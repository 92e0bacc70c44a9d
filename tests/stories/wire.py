"""What lies on the wire: both modes, what is no event, keys and partitions, bad data, times, a clock that jumps."""

from __future__ import annotations

import json
from typing import Any

from tests.stories.story import DANA, OMAR, REFUND_DIGEST, Story, expect, of, owed, ready

OPENED = json.dumps(ready())
NOTE = '{"text":"x"}'


def binary_mode() -> Story:
    s = Story("binary-mode", "Binary mode: the attributes are ce_ headers, the data is the record's value.")
    s.binary("09:00", "pause.opened", OPENED, attributes={"id": "a", "actor": DANA, "actorroles": "role:ops"})
    s.ask("09:00", expect("clear", "fresh held not_happened", until="10:00"))
    s.put("09:01", "pause.opened", ready(), "duplicate", id="a", first=0, note="the same event in the other mode")
    s.binary("09:02", "note.added", NOTE, content_type=None, note="the ce_ headers alone tell the mode")
    s.binary("09:02", "note.added", NOTE, content_type="Application/JSON; charset=utf-8")
    s.binary("09:02", "note.added", NOTE, "bad-data", content_type="text/plain")
    s.binary("09:02", "note.added", "text", "bad-data", note="the data is no JSON")
    s.binary("09:02", "note.added", "", "bad-data")
    s.binary("09:02", "note.added", '["x"]', "bad-data", note="nor an object")
    s.binary("09:02", "note.added", "{}", "bad-data", attributes={"data": NOTE}, note="data is no attribute")
    s.binary("09:02", "note.added", NOTE, "bad-data", attributes={"data_base64": "e30="})
    s.binary("09:03", "note.added", NOTE, "not-cloudevent", attributes={"id": ""})
    s.binary("09:03", "note.added", NOTE, "not-cloudevent", attributes={"source": None}, note="a null header is absent")
    s.binary("09:03", "note.added", NOTE, "not-cloudevent", attributes={"specversion": "0.3"})
    s.binary("09:03", "note.added", NOTE, "key-mismatch", attributes={"subject": "T-2"})
    s.binary("09:03", "note.edited", NOTE, "unknown-type")
    s.binary("09:04", "note.added", NOTE, "not-cloudevent", content_type="application/cloudevents+json; charset=utf-8")
    s.binary("09:04", "note.added", NOTE, "not-cloudevent", content_type="application/cloudevents-batch+json")
    s.binary("09:05", "resume.requested", json.dumps(of()), "action-changed", attributes={"actor": DANA})
    ask = json.dumps(of(action_digest=REFUND_DIGEST))
    late = {"actor": DANA, "id": "r", "time": "2026-03-28T09:00:00Z"}
    s.binary("09:06", "resume.requested", ask, attributes=late, fence=18, digest=REFUND_DIGEST)
    s.binary("09:06", "resume.requested", ask, "duplicate", attributes=late | {"actor": None}, first=18)
    s.binary("09:07", "note.added", NOTE, "bad-data", attributes={"time": "9 o'clock"})
    s.binary("09:07", "note.added", NOTE, attributes={"actor": None, "traceparent": "00-1-2-01", "other": "1"})
    return s


def structured_mode() -> Story:
    s = Story(
        "structured-mode", "Structured mode: one JSON object, also where no header says so; ce_ headers say nothing."
    )
    text = json.dumps(s.event("pause.opened", ready()))
    s.line("09:00", text, "ok", headers=[], key="T-1")
    s.line("09:00", text, "duplicate", headers=[["content-type", "application/cloudevents+json"]], first=0)
    s.line(
        "09:00", text, "duplicate", headers=[["Content-Type", "APPLICATION/CloudEvents+JSON; charset=UTF-8"]], first=0
    )
    s.line("09:00", text, "duplicate", headers=[["x-trace", "1"], ["y", None]], first=0, note="other headers")
    both = [["ce_id", "z"], ["content-type", "application/cloudevents+json"], ["ce_subject", "T-2"]]
    s.line("09:00", text, "duplicate", headers=both, first=0, note="the content type goes first")
    s.line("09:01", text, "not-cloudevent", headers=[["content-type", "application/json"]])
    s.line("09:01", f"[{text}]", "not-cloudevent", headers=[["content-type", "application/cloudevents-batch+json"]])
    s.line("09:02", f" \t{text}\n", "duplicate", first=0, note="white space around it")
    twice = text.replace('"id": "e0"', '"id": "e9", "id": "e0"')
    s.line("09:02", twice, "duplicate", first=0, note="a member twice: the last counts")
    parametrised = s.event("note.added", {"text": "x"}, datacontenttype="application/json; charset=utf-8", time=None)
    s.line("09:03", json.dumps(parametrised), "ok")
    s.put("09:03", "note.added", {"text": "x"}, "bad-data", datacontenttype="text/json")
    s.put("09:03", "note.added", {"text": "x"}, "bad-data", datacontenttype="application/jsonlines")
    s.put("09:03", "note.added", {"text": "x"}, "bad-data", data_base64="e30=")
    s.put("09:03", "note.added", {"text": "x"}, data_base64=None, actor=None, traceparent=None, datacontenttype=None)
    s.put("09:03", "note.added", {"text": "x"}, "bad-data", traceparent=1)
    return s


def no_event() -> Story:
    s = Story("no-event", "What is no CloudEvent is malformed, stays on the ledger, and changes nothing.")
    s.put("09:00", "pause.opened", ready())
    good = s.event("note.added", {"text": "x"})
    for name in ("specversion", "id", "source", "type", "subject"):
        without = {key: value for key, value in good.items() if key != name}
        for broken in (without, without | {name: None}, without | {name: ""}, without | {name: 1}):
            s.line("09:01", json.dumps(broken), "not-cloudevent", key="T-1", note=f"{name} is missing, or no string")
    s.line("09:02", json.dumps(good | {"specversion": "1.0.2"}), "not-cloudevent")
    for text in (
        "",
        "hello",
        "null",
        '"x"',
        "[]",
        "{",
        "{}",
        "{'id': 1}",
        '{"a": NaN}',
        '{"a": 01}',
        '{"a": "\\ud800"}',
    ):
        s.line("09:03", text, "not-cloudevent", key="T-1")
    text = json.dumps(good)
    s.line("09:04", text + text, "not-cloudevent", key="T-1")
    s.line("09:04", text.replace('"x"', "1e9999,}"), "not-cloudevent", key="T-1")
    s.line("09:04", text.replace('"x"', '"\\ud800"'), "not-cloudevent", key="T-1", note="a lone surrogate is no I-JSON")
    s.line("09:04", "\ufeff" + text, "not-cloudevent", key="T-1", note="a byte order mark")
    s.line("09:04", text.replace("x", "\n"), "not-cloudevent", key="T-1", note="a bare line feed in a string")
    s.bytes("09:05", text.encode().replace(b'"x"', b'"\xff"'), "not-cloudevent", key="T-1", note="no UTF-8")
    s.bytes("09:05", text.encode("utf-16"), "not-cloudevent", key="T-1")
    s.bytes("09:05", None, "not-cloudevent", key="T-1", note="a record without a value")
    s.line("09:06", text.replace('"x"', '"x", "deep": ' + "[" * 126 + "]" * 126), "ok", note="128 levels")
    s.line("09:06", text.replace('"x"', '"x", "deep": ' + "[" * 127 + "]" * 127), "not-cloudevent", key="T-1")
    s.line("09:06", text.replace('"x"', '"' + "[{" * 300 + '"'), "id-reused", note="brackets in a string are text")
    s.line(
        "09:07",
        text.replace('"x"', '"x", "big": 1e9999'),
        "id-reused",
        note="a number beyond all is one, where ignored",
    )
    s.ask("09:10", expect("clear", "fresh held not_happened", until="10:00"))
    return s


def keys_and_partitions() -> Story:
    s = Story(
        "keys-and-partitions", "The key is the subject; the partition is murmur2 of it, of six here.", partitions=6
    )
    homes = {"21": 0, "foobar": 0, "a-little-bit-long-string": 2, "a-little-bit-longer-string": 5, "abc": 3}
    for subject, home in homes.items():
        s.put("09:00", "note.added", {"text": "x"}, subject=subject, partition=home)
        s.put("09:01", "note.added", {"text": "x"}, "wrong-partition", subject=subject, partition=(home + 1) % 6)
    s.put("09:02", "note.added", {"text": "x"}, "key-mismatch", subject="abc", partition=3, key="ABC")
    s.put("09:02", "note.added", {"text": "x"}, "key-mismatch", subject="abc", partition=3, key=None)
    s.put("09:02", "note.added", {"text": "x"}, "key-mismatch", subject="abc", partition=3, key="")
    s.put(
        "09:02",
        "note.added",
        {"text": "x"},
        "key-mismatch",
        subject="abc",
        partition=1,
        key="x",
        note="the key goes first",
    )
    s.put(
        "09:02", "note.edited", {"text": "x"}, "wrong-partition", subject="abc", partition=1, note="then the partition"
    )
    s.put("09:02", "note.edited", {"text": 1}, "unknown-type", subject="abc", partition=3, note="then the type")
    event = {"type": "note.added", "subject": "abc", "partition": 3}
    s.put("09:03", "note.added", {"text": "x"}, "unknown-type", **event, note="the prefix belongs to it")
    s.put("09:03", "note.added", {"text": "x"}, "unknown-type", **(event | {"type": "PAUSELEDGER.NOTE.ADDED"}))
    s.put("09:04", "pause.opened", ready(), subject="abc", partition=3, key="abc", note="entries are written 3:18 here")
    s.put("09:05", "work.moved", {"to": "b"}, subject="abc", partition=2, code="wrong-partition")
    s.ask("09:05", expect("clear", "fresh held not_happened", until="10:04"), subject="abc")
    s.put("09:06", "work.moved", {"to": "b"}, subject="abc", partition=3)
    claim = {"execution": "run-2", "owner": OMAR, "replaces": "run-1", "acknowledges": "2:20"}
    s.put("09:07", "execution.claimed", claim, "work-moved", subject="abc", partition=3)
    s.put("09:07", "execution.claimed", claim | {"acknowledges": "3:20"}, subject="abc", partition=3)
    return s


BAD_DATA: tuple[tuple[str, Any], ...] = (
    ("execution.claimed", {"execution": "run-1"}),
    ("execution.claimed", {"owner": DANA}),
    ("execution.claimed", {"execution": "run-1", "owner": [DANA]}),
    ("execution.claimed", {"execution": "run-1", "owner": DANA, "replaces": ""}),
    ("execution.claimed", {"execution": "run-1", "owner": DANA, "replaces": ["run-0", ""]}),
    ("execution.claimed", {"execution": "run-1", "owner": DANA, "acknowledges": "7"}),
    ("execution.claimed", {"execution": "run-1", "owner": DANA, "acknowledges": 7}),
    ("execution.claimed", {"execution": "run-1", "owner": DANA, "manual": "true"}),
    ("execution.claimed", {"execution": "run-1", "owner": DANA, "manual": 1}),
    ("execution.finished", {"execution": "run-1", "outcome": 0}),
    ("pause.opened", {"pause": "p1"}),
    ("pause.opened", of(runtime="a string")),
    ("pause.opened", of(runtime=[])),
    ("pause.opened", of(requires_review="yes")),
    ("pause.opened", of(side_effect="unknown")),
    ("pause.opened", of(heartbeat_by="")),
    ("pause.opened", of(route=1)),
    ("heartbeat.recorded", {"execution": "run-1"}),
    ("owner.changed", {"execution": "run-1", "from": DANA}),
    ("owner.changed", {"execution": "run-1", "to": OMAR, "from": ""}),
    ("work.moved", {}),
    ("work.moved", {"to": "b", "execution": 1}),
    ("branch.started", {"by": DANA}),
    ("branch.started", {"execution": "run-2", "by": ""}),
    ("inputs.changed", None),
    ("inputs.changed", []),
    ("inputs.changed", "{}"),
    ("inputs.changed", {"pause": ""}),
    ("inputs.rechecked", of(fresh_until="soon")),
    ("inputs.rechecked", of(fresh_until=1_774_688_400)),
    ("review.decided", of()),
    ("review.decided", of(outcome="Approve")),
    ("review.decided", of(outcome="approve", action_digest=1)),
    ("review.decided", of(outcome="edit", pending_action={"kind": "k"})),
    ("resume.requested", of(action_digest=[])),
    ("side_effect.attempted", of(fence="1")),
    ("side_effect.attempted", of(fence=1.5)),
    ("side_effect.attempted", of(fence=True)),
    ("side_effect.observed", of()),
    ("side_effect.observed", of(status="landed")),
    ("side_effect.observed", of(status="happened", settles="0:")),
    ("debt.waived", of(reason=None)),
    ("pause.closed", of()),
    ("pause.closed", of(outcome="rejected")),
    ("note.added", {}),
    ("note.added", {"text": ["x"]}),
)


def bad_data() -> Story:
    s = Story("bad-data", "Data that is not as the tables say, a line each; all before any rule about the work item.")
    for name, data in BAD_DATA:
        s.put("09:00", name, data, "bad-data")
    without = {key: value for key, value in s.event("inputs.changed", None).items() if key != "data"}
    s.line("09:00", json.dumps(without), "bad-data", note="data is an object even where all its members are optional")
    s.put("09:01", "inputs.changed", {}, note="such as here")
    s.ask("09:01")
    return s


def times() -> Story:
    s = Story("times", "RFC 3339 with an offset, microseconds, finer digits cut, and no leap second.")
    good = {
        "2026-03-28T10:30:00Z": "10:30",
        "2026-03-28t10:30:00z": "10:30",
        "2026-03-28T12:30:00+02:00": "10:30",
        "2026-03-27T23:30:00.000-11:00": "10:30",
        "2026-03-28T10:30:00-00:00": "10:30",
        "2026-03-28T10:30:00.0009999Z": "10:30",
        "2026-03-28T10:30:00.9999999Z": "10:30:00.999",
        "9999-12-31T23:59:59.999Z": "9999-12-31T23:59:59.999Z",
        "9999-12-31T23:59:59-23:59": "9999-12-31T23:59:59.999Z",
    }
    for number, (text, until) in enumerate(good.items()):
        subject = f"G-{number}"
        s.put("09:00", "pause.opened", ready(fresh_until=text), subject=subject)
        s.ask("09:00", expect("clear", "fresh held not_happened", until=until), subject=subject)
    bad = (
        "2026-03-28T10:30:00",
        "2026-03-28 10:30:00Z",
        "2026-03-28T10:30Z",
        "2026-03-28",
        "2026-3-28T10:30:00Z",
        "2026-02-29T10:30:00Z",
        "2026-03-28T10:30:00.Z",
        "2026-03-28T10:30:00,5Z",
        "2026-03-28T24:00:00Z",
        "2026-12-31T23:59:60Z",
        "2026-03-28T10:30:00+24:00",
        "2026-03-28T10:30:00+0200",
        " 2026-03-28T10:30:00Z",
        "",
    )
    for text in bad:
        s.put("09:00", "pause.opened", ready(fresh_until=text), "bad-data")
        s.put("09:00", "note.added", {"text": "x"}, "bad-data", time=text)
    s.put(
        "09:01", "pause.opened", ready(fresh_until="0001-01-01T00:00:00+23:00"), note="moved to the edge, and long past"
    )
    s.ask("09:01", expect("stale", "expired held not_happened"))
    return s


def microseconds() -> Story:
    s = Story(
        "microseconds",
        "Deadlines keep microseconds; the log's clock has milliseconds; at the instant itself it is over.",
    )
    s.put("09:00", "pause.opened", ready(fresh_until="2026-03-28T09:30:00.000001Z", heartbeat_timeout="PT30M0.0005S"))
    s.ask("09:29:59.999", expect("clear", "fresh held not_happened", until="09:30"))
    s.ask("09:30", expect("clear", "fresh held not_happened", until="09:30"))
    s.ask("2026-03-28T09:30:00.000001Z", expect("stale", "expired held not_happened", until="09:30"))
    s.ask("2026-03-28T09:30:00.000499Z", expect("stale", "expired held not_happened", until="09:30"))
    s.ask("2026-03-28T09:30:00.0005Z", expect("unowned", "expired lapsed not_happened"))
    s.put("09:31", "inputs.rechecked", of(fresh_for="PT0.0019999S"), actor=DANA, note="cut to 1999 microseconds")
    s.ask("09:31:00.001", expect("clear", "fresh held not_happened", until="09:31:00.001"))
    s.ask("09:31:00.002", expect("stale", "expired held not_happened", until="10:01"))
    s.put("09:32", "heartbeat.recorded", of(), actor=DANA, time="2026-03-28T09:31:30.0001Z")
    s.ask("2026-03-28T10:01:30.000599Z", expect("stale", "expired held not_happened", until="10:01:30"))
    s.ask("2026-03-28T10:01:30.0006Z", expect("unowned", "expired lapsed not_happened"))
    return s


def durations() -> Story:
    s = Story(
        "durations",
        "ISO 8601, positive, of weeks, days, hours, minutes and seconds; the last part may have a fraction.",
    )
    good = {
        "PT15M": "09:15",
        "P1D": "2026-03-29T09:00:00.000Z",
        "P2W": "2026-04-11T09:00:00.000Z",
        "P1DT1H1M1S": "2026-03-29T10:01:01.000Z",
        "PT90M": "10:30",
        "PT0.5H": "09:30",
        "PT0,5S": "09:00:00.500",
        "P0DT1M": "09:01",
        "P0.5D": "21:00",
        "P1W1D": "2026-04-05T09:00:00.000Z",
        "P9999999D": "9999-12-31T23:59:59.999Z",
        "P99999999999999999999D": "9999-12-31T23:59:59.999Z",
    }
    for number, (text, until) in enumerate(good.items()):
        subject = f"G-{number}"
        s.put("09:00", "pause.opened", ready(fresh_for=text), subject=subject)
        s.ask("09:00", expect("clear", "fresh held not_happened", until=until), subject=subject)
    bad = (
        "",
        "P",
        "PT",
        "P1DT",
        "PT0S",
        "P0W",
        "-PT1S",
        "PT-1S",
        "+PT1S",
        "P1Y",
        "P1M",
        "P1Y1D",
        "1H",
        "pt1h",
        "PT1H1",
    )
    for text in (*bad, "PT1S1M", "PT1.5H1M", "PT.5S", "PT1.S", "PT1H ", "PT1e3S"):
        s.put("09:00", "pause.opened", ready(fresh_for=text), "bad-data")
    for member in ("heartbeat_timeout", "reconcile_within"):
        s.put("09:00", "pause.opened", ready(**{member: "P1M"}), "bad-data")
        s.put("09:00", "pause.opened", ready(**{member: 60}), "bad-data")
    return s


def jumping_clock() -> Story:
    s = Story(
        "jumping-clock", "The broker's clock steps back; a work item's instant never does, and time travel goes by it."
    )
    s.put("09:00", "pause.opened", ready(fresh_for="PT30M"))
    s.put("09:25", "note.added", {"text": "five minutes left"})
    s.put("09:05", "inputs.rechecked", of(fresh_for="PT30M"), actor=DANA, note="its instant is 09:25")
    s.put("09:50", "note.added", {"text": 7}, "bad-data", note="malformed: moves no instant")
    s.put("09:10", "resume.requested", of(action_digest=REFUND_DIGEST), fence=4, digest=REFUND_DIGEST, actor=DANA)
    s.put("10:00", "note.added", {"text": "another work item's clock"}, subject="T-2")
    s.put("09:54", "note.added", {"text": "refused ones move it"}, "id-reused", id="e1")
    s.put("09:11", "side_effect.attempted", of(fence=4), fence=4, note="its instant is 09:54, a minute too early")
    s.put("09:55", "side_effect.observed", of(status="not_happened", settles="0:7"))
    s.put("09:12", "resume.requested", of(action_digest=REFUND_DIGEST), "decision-review", actor=DANA)
    s.ask("08:59:59.999")
    s.ask("09:00", expect("clear", "fresh held not_happened", until="09:30"))
    s.ask("09:24:59.999", expect("clear", "fresh held not_happened", until="09:30"))
    lent = {"signals": ["side-effect-unproven"], "fence": 4, "debt": owed(DANA, "09:25")}
    s.ask("09:25", expect("indeterminate", "fresh held indeterminate", until="09:55", **lent))
    s.ask("09:54:59.999", expect("indeterminate", "fresh held indeterminate", until="09:55", **lent))
    s.ask("09:55", expect("stale", "expired held not_happened", fence=4))
    return s


STORIES = (
    binary_mode,
    structured_mode,
    no_event,
    keys_and_partitions,
    bad_data,
    times,
    microseconds,
    durations,
    jumping_clock,
)
