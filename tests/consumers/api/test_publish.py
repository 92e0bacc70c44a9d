"""``POST /v1/events``: the three modes, whose name stands on an event, and that its bytes stay as they came."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from consumers.api import pressroom
from consumers.api.binding import attribute_value
from consumers.api.splice import elements
from ledger.cloudevents import STRUCTURED_HEADERS
from ledger.errors import DiskFailed
from ledger.logs.sqlite import SqliteLog
from ledger.record import Record
from tests.consumers.api.conftest import BATCH, STRUCTURED, Api, api, bearer, is_problem, publish, token
from tests.faults.ledgers import records_of
from tests.faults.lines import event, line, note, opened, pause
from tests.faults.waiting import until


@pytest.fixture
def narrow(tmp_path: Path) -> Iterator[tuple[Api, dict[str, str]]]:
    """An API that knows user:dana, who holds two roles; and her header."""
    secret = token(tmp_path / "tokens", roles=("role:ops", "role:lead"))
    with api(tmp_path, api_tokens=tmp_path / "tokens", api_batch_events=5, api_body_bytes=20_000) as client:
        yield client, bearer(secret)


def recorded(folder: Path) -> list[Record]:
    """Every record of the embedded log in a folder."""
    log = SqliteLog(folder / "ledger.db", create=False)
    try:
        return records_of(log)
    finally:
        log.close()


def post(client: Api, body: bytes, headers: dict[str, str]) -> Any:
    return client.post("/v1/events", content=body, headers=headers)


ODD = (
    rb' { "data" : {"text":"a\u00fc\/","big":123456789012345678901234567890,"one":1.0,"long":0.10000000000000000555},'
    rb' "subject":"T-1","id":"odd","source":"/s","specversion":"1.0","type":"pauseledger.note.added" } '
)
SIGNED = b',"actor":"user:dana","actorroles":"role:ops,role:lead"'


def test_an_event_gets_its_actor_and_keeps_its_bytes(narrow: tuple[Api, dict[str, str]], tmp_path: Path) -> None:
    """Two members are put before the closing brace; not one other byte is changed."""
    client, dana = narrow
    assert post(client, ODD, STRUCTURED | dana).json()["verdict"] == "accepted"
    (record,) = recorded(tmp_path)
    at = ODD.rindex(b"}")
    assert record.value == ODD[:at] + SIGNED + ODD[at:]
    assert record.headers == STRUCTURED_HEADERS


def test_each_event_of_a_batch_keeps_its_bytes(narrow: tuple[Api, dict[str, str]], tmp_path: Path) -> None:
    """Elements are cut out of the array where they begin and end, and answered in order."""
    client, dana = narrow
    tricky = line("note.added", {"text": 'a "],[{" \\" b'}, id="tricky")
    body = b"[ " + ODD.strip() + b" ,\n" + tricky + b"\t, {} ]"
    answer = post(client, body, BATCH | dana).json()
    assert [one["verdict"] for one in answer] == ["accepted", "accepted", "malformed"]
    assert [record.value for record in recorded(tmp_path)] == [
        ODD.strip()[:-1] + SIGNED + b"}",
        tricky[:-1] + SIGNED + b"}",
        b"{" + SIGNED[1:] + b"}",
    ]
    assert post(client, b" [ ] ", BATCH | dana).json() == []


@pytest.mark.parametrize("text", [b"[]", b"[1]", b'["a,b]"]', b'[{"a":[1,{"b":"\\\\"}]},{},[]]', b"[ {} , {} ]"])
def test_elements_are_those_of_the_array(text: bytes) -> None:
    """The cut parts are the array's elements, read one by one."""
    assert [json.loads(one) for one in elements(text)] == json.loads(text)


@pytest.mark.parametrize(
    "claimed",
    [
        {"actor": "user:eve"},
        {"actor": ""},
        {"actor": 7},
        {"actorroles": "role:admin"},
        {"actorroles": "role:ops"},
        {"actorroles": ["role:ops", "role:lead"]},
        {"actor": "user:dana", "actorroles": "role:ops,role:lead,role:admin"},
    ],
)
def test_nobody_claims_to_be_another(
    narrow: tuple[Api, dict[str, str]], tmp_path: Path, claimed: dict[str, Any]
) -> None:
    """Another actor or other roles than the credential's are refused, in every mode, and nothing is recorded."""
    client, dana = narrow
    body = line("note.added", {"text": "x"}, **claimed)
    assert is_problem(post(client, body, STRUCTURED | dana), "another-actor")
    answer = post(client, b"[" + note(1) + b"," + body + b"]", BATCH | dana)
    assert is_problem(answer, "another-actor")
    assert answer.json()["index"] == 1
    if all(isinstance(value, str) for value in claimed.values()):
        attributes = event("note.added", None, **claimed)
        headers = {f"ce-{name}": value for name, value in attributes.items() if name != "data"}
        assert is_problem(post(client, b"{}", headers | dana), "another-actor")
    assert recorded(tmp_path) == []


def test_a_member_that_is_there_twice_does_not_help(narrow: tuple[Api, dict[str, str]], tmp_path: Path) -> None:
    """The last of a repeated member counts: a claim hidden behind null or an escape is overruled, or seen."""
    client, dana = narrow
    head = line("note.added", {"text": "x"}, actor="user:eve")[:-1]
    mine = line("note.added", {"text": "y"}, actor="user:dana", id="mine")
    assert post(client, head + b',"actor":null}', STRUCTURED | dana).json()["verdict"] == "accepted"
    assert is_problem(post(client, mine[:-1] + rb',"\u0061ctor":"user:eve"}', STRUCTURED | dana), "another-actor")
    (line_told,) = client.get("/v1/work-items/T-1/trail", headers=dana).json()
    assert line_told["event"]["actor"] == "user:dana"


def test_who_says_the_truth_is_recorded_as_he_said_it(narrow: tuple[Api, dict[str, str]], tmp_path: Path) -> None:
    """An event that names its own credential's actor and roles, in any order, is not touched at all."""
    client, dana = narrow
    body = line("note.added", {"text": "x"}, actor="user:dana", actorroles="role:lead , role:ops")
    assert post(client, body, STRUCTURED | dana).json()["verdict"] == "accepted"
    assert recorded(tmp_path)[0].value == body


def test_the_actor_counts_for_the_rules(narrow: tuple[Api, dict[str, str]]) -> None:
    """What needs authority is judged by the credential's actor and roles."""
    client, dana = narrow
    data = opened(owner="role:lead", fresh_for="PT1H")
    assert publish(client, "pause.opened", data, dana, id="o").json()["code"] == "ok"
    packet = client.get("/v1/work-items/T-1/pauses/p1", headers=dana).json()
    asked = {"execution": "run-1", "pause": "p1", "action_digest": packet["action_digest"]}
    granted = publish(client, "resume.requested", asked, dana, id="r").json()
    assert granted["code"] == "ok"
    assert granted["fence"] == 1


def test_binary_mode(narrow: tuple[Api, dict[str, str]], tmp_path: Path) -> None:
    """Attributes come from ce- headers, percent-decoded; the record has ce_ headers, the body as its value."""
    client, dana = narrow
    headers = {
        "CE-SpecVersion": "1.0",
        "ce-id": "gr%C3%BC%C3%9Fe%20%22",
        "ce-source": '"/s \\"quoted\\""',
        "ce-type": "pauseledger.note.added",
        "ce-subject": "T%2F1",
        "content-type": "application/json; charset=utf-8",
    }
    body = b'{ "text" : "\\u00fc" }'
    answer = post(client, body, headers | dana).json()
    assert (answer["verdict"], answer["subject"], answer["id"]) == ("accepted", "T/1", 'grüße "')
    (record,) = recorded(tmp_path)
    assert record.value == body
    assert dict(record.headers) == {
        "ce_specversion": b"1.0",
        "ce_id": 'grüße "'.encode(),
        "ce_source": b'/s "quoted"',
        "ce_type": b"pauseledger.note.added",
        "ce_subject": b"T/1",
        "content-type": b"application/json; charset=utf-8",
        "ce_actor": b"user:dana",
        "ce_actorroles": b"role:ops,role:lead",
    }
    (told,) = client.get("/v1/work-items/T%2F1/trail", headers=dana).json()
    assert told["event"]["actorroles"] == "role:ops,role:lead"


def test_binary_mode_that_can_not_be_read(narrow: tuple[Api, dict[str, str]], tmp_path: Path) -> None:
    """An attribute that is no UTF-8 or is there twice is refused; one that is missing makes the entry malformed."""
    client, dana = narrow
    assert is_problem(post(client, b"{}", {"ce-id": "%FF"} | dana), "bad-event")
    twice = [("ce-id", "a"), ("ce-id", "b"), *dana.items()]
    assert is_problem(client.post("/v1/events", content=b"{}", headers=twice), "bad-event")
    assert recorded(tmp_path) == []
    assert post(client, b"{}", {"ce-id": "a"} | dana).json()["verdict"] == "malformed"
    headers = {"ce-id": "b", "ce-specversion": "1.0", "ce-source": "s", "ce-type": "pauseledger.note.added"}
    answer = post(client, b"plain", headers | {"ce-subject": "T-1", "content-type": "text/plain"} | dana)
    assert (answer.json()["verdict"], answer.json()["code"]) == ("malformed", "bad-data")


@pytest.mark.parametrize(
    ("header", "value"), [("a%20b", "a b"), ('"a\\"b"', 'a"b'), ("%25%32%30", "%20"), ("a%", "a%"), ("", "")]
)
def test_the_value_of_a_header(header: str, value: str) -> None:
    """Quotes are undone, percent signs once."""
    assert attribute_value(header) == value


@pytest.mark.parametrize(
    "body", [b"", b"nonsense", b"[]", b"7", b"\xff", b'{"a":NaN}', b"{}{}", b"[" * 300 + b"]" * 300]
)
def test_what_is_no_object_is_not_recorded(narrow: tuple[Api, dict[str, str]], tmp_path: Path, body: bytes) -> None:
    """A body that could get no actor is refused; as an element of a batch it spoils the batch."""
    client, dana = narrow
    assert is_problem(post(client, body, STRUCTURED | dana), "bad-event")
    assert is_problem(post(client, b"[" + note(1) + b", 7]", BATCH | dana), "bad-event")
    assert recorded(tmp_path) == []


def test_an_object_that_is_no_cloudevent_is_recorded(narrow: tuple[Api, dict[str, str]], tmp_path: Path) -> None:
    """As on the command line its verdict is malformed, and it is answered with 200 like every verdict."""
    client, dana = narrow
    answer = post(client, b'{"subject":"T-1"}', STRUCTURED | dana)
    assert (answer.status_code, answer.json()["code"]) == (200, "not-cloudevent")
    assert len(recorded(tmp_path)) == 1


def test_limits(narrow: tuple[Api, dict[str, str]], tmp_path: Path) -> None:
    """A body too large, said or not, a batch too long and a type that is none: each with its own problem."""
    client, dana = narrow
    assert is_problem(post(client, b" " * 20_001, STRUCTURED | dana), "body-too-large")
    chunks = (b" " * 5_000 for _ in range(5))
    answer = client.post("/v1/events", content=chunks, headers=STRUCTURED | dana)
    assert is_problem(answer, "body-too-large")
    assert is_problem(post(client, b"[" + b",".join([b"{}"] * 6) + b"]", BATCH | dana), "batch-too-large")
    for kind in ("application/json", "application/cloudevents+xml", "application/cloudevents+json; charset=utf-16"):
        answer = post(client, pause(), {"content-type": kind, "ce-id": ""}.__class__({"content-type": kind}) | dana)
        assert is_problem(answer, "unsupported-media-type")
    packed = STRUCTURED | {"content-encoding": "gzip"} | dana
    assert is_problem(post(client, pause(), packed), "unsupported-media-type")
    assert recorded(tmp_path) == []


def test_a_duplicate_and_a_refusal_are_verdicts(client: Api) -> None:
    """What the ledger refuses is answered with 200; without authentication the claimed actor stands."""
    assert post(client, pause(), STRUCTURED).json()["verdict"] == "accepted"
    again = post(client, pause(), STRUCTURED)
    assert (again.status_code, again.json()["verdict"]) == (200, "duplicate")
    refused = publish(client, "heartbeat.recorded", {"execution": "run-1", "pause": "p1"}, id="h", actor="user:eve")
    assert (refused.status_code, refused.json()["code"]) == (200, "not-owner")


def test_a_log_that_does_not_answer(tmp_path: Path) -> None:
    """An event whose deadline passes is answered 202 with the word unknown, and in a batch as one of the list."""
    with api(tmp_path, api_publish_seconds=0.0) as client:
        answer = post(client, note(1), STRUCTURED)
        assert answer.status_code in (200, 202)
        batch = post(client, b"[" + note(2) + b"]", BATCH)
        assert batch.status_code == 200
        if answer.status_code == 202:
            assert answer.json()["verdict"] == "unknown"
            assert answer.headers["retry-after"]


def test_a_disk_that_fails_once_ends_no_server(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """The error is told, the server is not ready, and when the disk is there again it records, without a restart."""
    append = SqliteLog.append

    def full(*_: Any) -> Any:
        raise DiskFailed("/var/secret/ledger.db can't grow: the disk is full.", "Make room.")

    monkeypatch.setattr(pressroom, "OPEN_AGAIN_SECONDS", 0.5)
    with api(tmp_path) as client:
        assert post(client, note(1), STRUCTURED).json()["verdict"] == "accepted"
        until(lambda: client.get("/readyz").status_code == 200, what="ready")
        monkeypatch.setattr(SqliteLog, "append", full)
        answer = post(client, note(2), STRUCTURED)
        assert is_problem(answer, "disk-failed")
        assert "secret" not in answer.text  # which files it has, and where, is the server's own business
        assert "secret" in caplog.text
        assert is_problem(client.get("/readyz"), "not-ready")
        assert is_problem(post(client, note(3), STRUCTURED), "disk-failed")
        batch = post(client, b"[" + note(5) + b"]", BATCH)
        assert "disk-failed" in batch.text
        assert "secret" not in batch.text
        monkeypatch.setattr(SqliteLog, "append", append)
        until(lambda: client.get("/readyz").status_code == 200, what="ready again")
        assert post(client, note(4), STRUCTURED).json()["verdict"] == "accepted"
        assert len(recorded(tmp_path)) == 2


@pytest.mark.parametrize(
    ("roles", "is_own"),
    [
        ("role:lead, role:ops", True),
        (" role:ops ,role:lead,", True),
        ("role:ops,\trole:lead", False),
        ("\u00a0", False),
    ],
)
def test_roles_are_read_as_the_fold_reads_them(narrow: tuple[Api, dict[str, str]], roles: str, is_own: bool) -> None:
    """Around a role only spaces don't count: with anything else it is another role."""
    client, dana = narrow
    answer = publish(client, "note.added", {"text": "x"}, dana, actor="user:dana", actorroles=roles)
    assert answer.status_code == 200 if is_own else is_problem(answer, "another-actor")
