"""What is read over HTTP: the same as on the command line, of any work item, now and then; errors in one form."""

from __future__ import annotations

import http.client
import json
from pathlib import Path
from typing import Any
from urllib.parse import quote

import pytest

from tests.consumers.api.conftest import Api, api, is_problem, publish
from tests.faults.command import run
from tests.faults.lines import DANA, opened

ODD_NAMES = [
    "a/b",
    "/",
    "a//b",
    "ü",
    "%",
    "%2F",
    "a%2Fb",
    "..",
    ".",
    "a b",
    "?x=1",
    "#",
    "日本",
    "a;b",
    "+",
    "\t",
    "pauses",
]


def read(client: Api, path: str) -> Any:
    """A path as it stands: other clients tidy it up before they send it."""
    connection = http.client.HTTPConnection("127.0.0.1", client.port, timeout=10.0)
    try:
        connection.request("GET", path)
        answer = connection.getresponse()
        return answer.status, json.loads(answer.read())
    finally:
        connection.close()


@pytest.mark.parametrize("name", ODD_NAMES)
def test_any_name_of_a_work_item(client: Api, name: str) -> None:
    """A work item and a pause may be called anything: percent-encoded it is one part of the path."""
    data = opened(name)
    assert publish(client, "pause.opened", data, subject=name).json()["subject"] == name
    item, one = quote(name, safe=""), quote(name, safe="")
    for rest in ("", "/trail", "/decision", f"/pauses/{one}", f"/pauses/{one}/decision"):
        status, content = read(client, f"/v1/work-items/{item}{rest}")
        assert status == 200, content
        first = content[0] if isinstance(content, list) else content
        assert first["subject"] == name
        if "pauses/" in rest:
            assert first["pause"] == name


def test_a_name_that_is_no_text(client: Api) -> None:
    """Bytes that are no UTF-8 name nothing."""
    status, content = read(client, "/v1/work-items/%FF/decision")
    assert (status, content["type"]) == (400, "/problems/bad-parameter")


def test_the_same_json_as_on_the_command_line(tmp_path: Path) -> None:
    """Decision, packet and trail of a past instant are the command's, byte for byte."""
    with api(tmp_path) as client:
        first = publish(client, "pause.opened", opened(heartbeat_timeout="PT1H"), id="o").json()
        publish(client, "heartbeat.recorded", {"execution": "run-1", "pause": "p1"}, id="h", actor=DANA)
        client.post("/v1/events", content=b"{}", headers={"ce-subject": "T-1"})
        at = first["recorded_at"]
        asked = {
            ("decision", "T-1"): "decision",
            ("decision", "T-1", "--pause", "p1"): "pauses/p1/decision",
            ("packet", "T-1", "--pause", "p1"): "pauses/p1",
            ("trail", "T-1"): "trail",
        }
        for command, path in asked.items():
            told = run(*command, "--at", at, "--json", folder=tmp_path, env={"PAUSELEDGER_LOG": "sqlite:///ledger.db"})
            answer = client.get(f"/v1/work-items/T-1/{path}", params={"at": at})
            assert answer.text == told.out.removesuffix("\n")
        whole = run("trail", "T-1", "--json", folder=tmp_path, env={"PAUSELEDGER_LOG": "sqlite:///ledger.db"})
        assert client.get("/v1/work-items/T-1/trail").json() == whole.json
        assert len(whole.json) == 3


def test_a_work_item_in_one_answer(client: Api) -> None:
    """Whose it is, its executions, its pauses."""
    publish(client, "pause.opened", opened())
    content = client.get("/v1/work-items/T-1").json()
    assert (content["canonical"], content["owner"], content["open_pauses"]) == ("run-1", DANA, 1)
    assert [one["execution"] for one in content["executions"]] == ["run-1"]
    assert content["pauses"] == [
        {"pause": "p1", "execution": "run-1", "opened": "0:0", "state": "open", "outcome": None}
    ]


def test_who_has_published_sees_it(client: Api) -> None:
    """Each read holds what was recorded before it was asked, by whichever way."""
    for number in range(30):
        publish(client, "note.added", {"text": "x"}, id=f"n{number}")
        assert client.get("/v1/work-items/T-1").json()["entries"] == number + 1


def test_what_another_process_publishes_is_seen(tmp_path: Path) -> None:
    """The command line and the server share a log and an index, and take turns at both."""
    from tests.faults.lines import note

    with api(tmp_path) as client:
        for number in range(6):
            if number % 2:
                publish(client, "note.added", {"text": "x"}, id=f"n{number}")
            else:
                env = {"PAUSELEDGER_LOG": "sqlite:///ledger.db"}
                assert run("publish", folder=tmp_path, stdin=note(number) + b"\n", env=env).code == 0
            assert client.get("/v1/work-items/T-1").json()["entries"] == number + 1


@pytest.mark.parametrize(
    ("method", "path", "kind"),
    [
        ("GET", "/", "not-found"),
        ("GET", "/v1/events", "method-not-allowed"),
        ("DELETE", "/v1/work-items/T-1", "method-not-allowed"),
        ("GET", "/v1/work-items/", "not-found"),
        ("GET", "/docs", "not-found"),
        ("GET", "/v1/work-items/none-such", "not-found"),
        ("GET", "/v1/work-items/none-such/pauses/p1", "not-found"),
        ("GET", "/v1/work-items/T-1/decision?at=yesterday", "bad-parameter"),
        ("GET", "/v1/work-items/T-1/decision?at=", "bad-parameter"),
        ("GET", "/v1/work-items/T-1/decision?at=2026-03-28T12:00:00", "bad-parameter"),
        ("GET", "/v1/inbox?limit=0", "bad-parameter"),
        ("GET", "/v1/inbox?limt=1", "bad-parameter"),
        ("GET", "/v1/inbox?=1", "bad-parameter"),
        ("GET", "/v1/work-items/T-1/decision?At=2026-03-28T12:00:00Z", "bad-parameter"),
        ("GET", "/v1/inbox?at=2026-03-28T12:00:00Z&at=2026-03-29T12:00:00Z", "bad-parameter"),
        ("POST", "/v1/events?at=2026-03-28T12:00:00Z", "bad-parameter"),
        ("GET", "/v1/status?x", "bad-parameter"),
        ("GET", "/v1/inbox?limit=many", "bad-parameter"),
        ("GET", "/v1/inbox?cursor=%00", "bad-cursor"),
        ("GET", "/v1/decisions?branch=left", "bad-parameter"),
        ("GET", "/v1/decisions/stream?last_event_id=7", "bad-cursor"),
    ],
)
def test_every_error_is_a_problem_document(client: Api, method: str, path: str, kind: str) -> None:
    """Unknown routes, methods and values, pauses that are not there: the same form for all."""
    assert is_problem(client.request(method, path), kind)


def test_a_bug_is_told_to_the_log_only(client: Api, caplog: pytest.LogCaptureFixture) -> None:
    """What fails unforeseen is a problem of its own kind, without a word of where; the log has it all."""
    client.app.state.room.quick = None
    answer = client.get("/v1/work-items/T-1")
    assert is_problem(answer, "internal")
    assert "Attribute" not in answer.text
    assert "AttributeError" in caplog.text


def test_a_log_that_was_replaced_is_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Another file in the log's place halts the reads, and the server says that it is not ready."""
    from consumers.api import desk
    from tests.faults.waiting import until

    monkeypatch.setattr(desk, "RECOGNISE_SECONDS", 0.0)
    monkeypatch.setattr(desk, "FOLLOW_SECONDS", 0.05)
    with api(tmp_path, index=f"sqlite:///{tmp_path}/index.db") as client:
        publish(client, "note.added", {"text": "x"})
        until(lambda: client.get("/readyz").status_code == 200, what="ready")
        (tmp_path / "away").mkdir()
        for path in list(tmp_path.glob("ledger.db*")):
            path.rename(tmp_path / "away" / path.name)
        until(lambda: client.get("/readyz").status_code == 503, what="not ready")
        assert not (tmp_path / "ledger.db").exists()
        run("publish", folder=tmp_path, env={"PAUSELEDGER_LOG": "sqlite:///ledger.db"}, stdin=b"{}\n")
        assert is_problem(client.get("/readyz"), "not-ready")
        until(lambda: is_problem(client.get("/v1/work-items/T-1"), "log-changed"), what="log-changed")
        assert client.get("/healthz").status_code == 200
