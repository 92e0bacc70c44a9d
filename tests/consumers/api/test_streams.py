"""Server-sent events: each change of a decision, whatever caused it, and none lost by who comes back."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from consumers.api import streams
from tests.consumers.api.conftest import Api, api, bearer, is_problem, publish, token
from tests.faults.lines import DANA, opened
from tests.faults.waiting import until

PAUSE = {"execution": "run-1", "pause": "p1"}


class Listener:
    """What a stream has told, as a browser reads it."""

    def __init__(self, lines: Iterator[str]) -> None:
        self.events: list[dict[str, Any]] = []
        self.last_id: str | None = None
        self.comments = 0
        self.ended = False
        self._lines = lines

    def listen(self) -> None:
        data = None
        for line in self._lines:
            if line.startswith("id: "):
                self.last_id = line[4:]
            elif line.startswith(":"):
                self.comments += 1
            elif line.startswith("data: "):
                data = json.loads(line[6:])
            elif line == "" and data is not None:
                self.events.append(data | {"id": self.last_id})
                data = None
        self.ended = True

    @property
    def told(self) -> list[tuple[str, str, str]]:
        return [(one["decision"]["subject"], one["decision"]["decision"], one["entry"]) for one in self.events]


@contextmanager
def listening(client: Api, path: str = "decisions", last: str | None = None, **headers: str) -> Iterator[Listener]:
    """A stream that is listened to on a thread of its own, from before anything happens."""
    given = headers | ({} if last is None else {"last-event-id": last})
    with client.stream("GET", f"/v1/{path}/stream", headers=given) as answer:
        assert answer.status_code == 200
        assert answer.headers["content-type"].startswith("text/event-stream")
        listener = Listener(answer.iter_lines())
        thread = threading.Thread(target=quietly, args=(listener.listen,), daemon=True)
        thread.start()
        until(lambda: listener.last_id is not None, what="the stream's first id")
        yield listener


def quietly(listen: Any) -> None:
    """A stream that is closed under its reader ends with an error, which is nobody's concern."""
    try:
        listen()
    except Exception:
        return


def story(client: Api, subject: str = "T-1") -> None:
    """A pause that opens, beats its heart, loses its inputs and closes."""
    publish(client, "pause.opened", opened(), id="1", subject=subject)
    publish(client, "heartbeat.recorded", PAUSE, id="2", subject=subject, actor=DANA)
    publish(client, "inputs.changed", {"pause": "p1"}, id="3", subject=subject)
    publish(client, "pause.closed", PAUSE | {"outcome": "abandoned"}, id="4", subject=subject)


TOLD = [("T-1", "resume", "0:0"), ("T-1", "review", "0:2"), ("T-1", "closed", "0:3")]


def test_each_change_is_told_with_the_entry_that_caused_it(client: Api) -> None:
    """A heartbeat changes no decision and is not told; what was before is."""
    with (
        listening(client) as all_of,
        listening(client, "work-items/T-1/decisions") as one,
        listening(client, "work-items/X/decisions") as none,
    ):
        story(client)
        until(lambda: len(all_of.events) == 3 and len(one.events) == 3, what="three events")
        assert all_of.told == one.told == TOLD
        assert [event["before"] for event in one.events] == [None, "resume", "review"]
        assert none.events == []


def test_who_comes_back_misses_nothing(client: Api) -> None:
    """From any event's id on the rest is told again, the same; also what happened while nobody listened."""
    with listening(client) as first:
        start = first.last_id
        story(client)
        until(lambda: len(first.events) == 3, what="three events")
    story(client, "T-2")
    for known in range(4):
        last = start if known == 0 else first.events[known - 1]["id"]
        with listening(client, last=last) as again:
            wanted = 6 - known
            until(lambda again=again, wanted=wanted: len(again.events) >= wanted, what="what was missed")
            assert [one[:2] for one in again.told] == [one[:2] for one in TOLD[known:]] + [
                ("T-2", decision) for _, decision, _ in TOLD
            ]


def test_time_changes_decisions_too(client: Api) -> None:
    """When a plan goes stale and no entry comes, the stream says so, with no entry; once."""
    with listening(client) as told:
        publish(client, "pause.opened", opened(fresh_for="PT4S"))
        until(lambda: len(told.events) >= 2, what="two events")
        assert told.told == [("T-1", "resume", "0:0"), ("T-1", "review", None)]
        last, start = told.last_id, told.events[0]["id"]
    with listening(client, last=start) as again:
        until(lambda: len(again.events) >= 1, what="the turn of time")
        assert again.told == [("T-1", "review", None)]
    with listening(client, last=last) as after:
        publish(client, "note.added", {"text": "x"}, id="n", subject="T-9")
        publish(client, "pause.opened", opened(), id="o", subject="T-9")
        until(lambda: len(after.events) >= 1, what="the next event")
        assert after.told == [("T-9", "resume", "0:2")]


def test_a_stream_shows_what_its_credential_may_see(tmp_path: Path) -> None:
    """Narrowed by prefix or by route it tells of nothing else, and still moves on."""
    file = tmp_path / "tokens"
    everything = bearer(token(file))
    by_prefix, by_route = bearer(token(file, prefixes=("B-",))), bearer(token(file, routes=("mail",)))
    with (
        api(tmp_path, api_tokens=file) as client,
        listening(client, **by_prefix) as near,
        listening(client, **by_route) as routed,
    ):
        for subject, route in (("A-1", "mail"), ("B-1", "payments"), ("A-2", "payments")):
            publish(client, "pause.opened", opened(route=route), everything, subject=subject)
        until(lambda: near.events and routed.events, what="an event each")
        assert [one[0] for one in near.told] == ["B-1"]
        assert [one[0] for one in routed.told] == ["A-1"]


def test_a_stream_tells_no_past_of_what_is_out_of_reach_now(tmp_path: Path) -> None:
    """A work item that another route has come to is not told of, not even as it was before that."""
    file = tmp_path / "tokens"
    everything, by_route = bearer(token(file)), bearer(token(file, routes=("mail",)))
    with api(tmp_path, api_tokens=file) as client:
        publish(client, "pause.opened", opened(route="mail"), everything, subject="A-1", id="1")
        claim = {"execution": "run-1", "owner": DANA, "route": "payments"}
        claimed = publish(client, "execution.claimed", claim, everything, subject="A-1", id="2")
        assert claimed.json()["code"] == "ok", claimed.text
        publish(client, "pause.opened", opened(route="mail"), everything, subject="A-2", id="3")
        with listening(client, last="0@1", **everything) as whole, listening(client, last="0@1", **by_route) as routed:
            until(lambda: len(whole.events) >= 2 and routed.events, what="what has been")
            assert [one[0] for one in whole.told] == ["A-1", "A-2"]
            assert [one[0] for one in routed.told] == ["A-2"]


def test_a_stream_says_that_it_is_alive(client: Api, monkeypatch: pytest.MonkeyPatch) -> None:
    """With nothing to tell it still moves its listener's id on."""
    monkeypatch.setattr(streams, "ALIVE_SECONDS", 0.1)
    with listening(client, "work-items/X/decisions") as told:
        first = told.last_id
        publish(client, "note.added", {"text": "x"})
        until(lambda: told.comments > 2 and told.last_id != first, what="signs of life")
        assert told.last_id is not None
        assert told.last_id.startswith("1@")


def test_a_stream_ends_with_its_token(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Whose token is taken out of the file hears no more."""
    monkeypatch.setattr(streams, "ALIVE_SECONDS", 0.1)
    file = tmp_path / "tokens"
    secret = token(file)
    with api(tmp_path, api_tokens=file) as client, listening(client, **bearer(secret)) as told:
        file.write_text("[]")
        until(lambda: told.ended, what="the end of the stream")


def test_streams_are_limited_and_end_with_the_server(tmp_path: Path) -> None:
    """One too many is refused; when one goes there is room again; the last ends when the server does."""
    with api(tmp_path, api_streams=1) as client:
        with client.stream("GET", "/v1/decisions/stream"):
            assert is_problem(client.get("/v1/decisions/stream"), "too-many-streams")
        until(lambda: client.app.state.room.live.count == 0, what="the end of the stream")
        with client.stream("GET", "/v1/decisions/stream") as answer:
            listener = Listener(answer.iter_lines())
            thread = threading.Thread(target=listener.listen)
            thread.start()
            until(lambda: listener.last_id is not None, what="the stream's first id")
            client.app.state.room.live.stop()
            thread.join(10.0)
            assert listener.ended
        assert is_problem(client.get("/v1/decisions/stream"), "shutting-down")


def test_streams_that_are_opened_at_once_are_limited_too(tmp_path: Path) -> None:
    """Each has its place before it is looked where it starts; of one credential there may be half of all."""
    file = tmp_path / "tokens"
    one, other = bearer(token(file)), bearer(token(file))
    with api(tmp_path, api_tokens=file, api_streams=4) as client, ThreadPoolExecutor(12) as threads:
        room = client.app.state.room
        stop = threading.Event()

        def opened_one(number: int) -> int:
            with client.stream("GET", "/v1/decisions/stream", headers=one if number % 2 else other) as answer:
                if answer.status_code == 200:
                    stop.wait(10.0)
                return int(answer.status_code)

        found = [threads.submit(opened_one, number) for number in range(12)]
        until(lambda: sum(future.done() for future in found) == 8, what="eight refusals")
        assert room.live.count == 4
        assert is_problem(client.get("/v1/decisions/stream", headers=one), "too-many-streams")
        stop.set()
        assert sorted(future.result() for future in found) == [200] * 4 + [429] * 8
        until(lambda: room.live.count == 0, what="the end of the streams")
        held = [client.stream("GET", "/v1/decisions/stream", headers=one) for _ in range(2)]
        with held[0], held[1]:
            refused = client.get("/v1/decisions/stream", headers=one)
            assert is_problem(refused, "too-many-streams")
            assert "of this credential" in refused.json()["detail"]
            with client.stream("GET", "/v1/decisions/stream", headers=other) as answer:
                assert answer.status_code == 200


def test_a_stream_that_is_refused_keeps_no_place(client: Api) -> None:
    """Whatever goes wrong before its first byte, its place is free again."""
    for _ in range(3):
        assert is_problem(client.get("/v1/decisions/stream", params={"last_event_id": "99@1"}), "bad-cursor")
    assert client.app.state.room.live.count == 0


@pytest.mark.parametrize("last", ["", "x", "0-0@1", "99@1", "0@", "-1@1", "0@99999999999999999"])
def test_an_id_that_was_never_given(client: Api, last: str) -> None:
    """Ids of another ledger, or of none, are refused rather than guessed at."""
    answer = client.get("/v1/decisions/stream", params={"last_event_id": last})
    assert is_problem(answer, "bad-parameter" if len(last) > 1_000 else "bad-cursor")
