"""``pauseledger serve`` as a process: what it binds and says, how it ends, what a kill leaves, and a log on Kafka."""

from __future__ import annotations

import json
import re
import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import httpx
import pytest

from tests.broker import Broker, free_port
from tests.consumers.api.conftest import BATCH, STRUCTURED, is_problem, publish, token
from tests.faults.command import Result, run, start
from tests.faults.lines import DANA, note, opened
from tests.faults.waiting import until


class Served(httpx.Client):
    """A server in a process of its own, and a client of it."""

    process: Any
    said: Path


@contextmanager
def served(folder: Path, *options: str, **env: str) -> Iterator[Served]:
    """``pauseledger serve`` in a folder, up; killed afterwards, if it has not ended."""
    port, said = free_port(), folder / "stderr"
    settings = {"PAUSELEDGER_LOG": "sqlite:///ledger.db", **env}
    with said.open("wb") as stream:
        process = start("serve", "--port", str(port), *options, folder=folder, env=settings, stderr=stream)
        try:
            with Served(base_url=f"http://127.0.0.1:{port}", timeout=20.0) as client:
                client.process, client.said = process, said
                until(lambda: process.poll() is not None or answers(client), what="the server")
                yield client
        finally:
            process.kill()
            process.communicate()


def answers(client: httpx.Client) -> bool:
    try:
        return client.get("/readyz").status_code == 200
    except httpx.TransportError:
        return False


def test_it_says_that_nobody_is_asked(tmp_path: Path) -> None:
    """Without configuration it binds 127.0.0.1 and says so on stderr; stdout stays empty; SIGTERM is an orderly end."""
    with served(tmp_path) as client:
        assert publish(client, "note.added", {"text": "x"}, actor="user:anybody").json()["verdict"] == "accepted"
        client.process.send_signal(signal.SIGTERM)
        out, _ = client.process.communicate(timeout=20.0)
        assert (client.process.returncode, out) == (0, b"")
        assert "answers only on 127.0.0.1" in client.said.read_text()


@pytest.mark.parametrize("host", ["0.0.0.0", "::", "192.0.2.7", "localhost.evil.example"])
def test_it_binds_nothing_else_without_authentication(tmp_path: Path, host: str) -> None:
    """Wrong usage, with what to set; nothing is opened."""
    refused = run("serve", "--host", host, folder=tmp_path)
    assert refused.code == 2
    assert "PAUSELEDGER_API_TOKENS" in refused.err
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("env", "says"),
    [
        ({"PAUSELEDGER_API_TOKENS": "none.json"}, "can't be read"),
        ({"PAUSELEDGER_API_ISSUER": "https://login.example"}, "PAUSELEDGER_API_AUDIENCE"),
        ({"PAUSELEDGER_API_JWKS": "keys.json"}, "PAUSELEDGER_API_ISSUER"),
        ({"PAUSELEDGER_API_ISSUER": "http://login.example", "PAUSELEDGER_API_AUDIENCE": "x"}, "no address to fetch"),
        ({"PAUSELEDGER_API_PORT": "99999"}, "PAUSELEDGER_API_PORT"),
    ],
)
def test_half_a_configuration_is_none(tmp_path: Path, env: dict[str, str], says: str) -> None:
    """What can't be meant ends it before it binds, in one line: it never falls back to asking nobody."""
    refused: Result = run("serve", folder=tmp_path, env=env)
    assert refused.code == 2
    assert says in refused.err
    assert refused.err.count("\n") == 1


def test_sigterm_ends_streams_and_finishes_requests(tmp_path: Path) -> None:
    """A stream ends, a request under way gets its answer, and the process ends with 0 in good time."""
    with served(tmp_path) as client, client.stream("GET", "/v1/decisions/stream") as stream:
        lines = stream.iter_lines()
        assert next(lines).startswith(":")
        begun, slow = threading.Event(), threading.Event()
        answer: list[httpx.Response] = []

        def body() -> Iterator[bytes]:
            yield note(1)[:10]
            begun.set()
            slow.wait(20.0)
            yield note(1)[10:]

        def ask() -> None:
            with httpx.Client(base_url=client.base_url, timeout=20.0) as other:
                answer.append(other.post("/v1/events", content=body(), headers=STRUCTURED))

        asking = threading.Thread(target=ask)
        asking.start()
        assert begun.wait(60.0)  # connected, and then this one, which connects later, is answered
        until(lambda: publish(client, "note.added", {"text": "y"}, id="y").status_code == 200)
        client.process.send_signal(signal.SIGTERM)
        assert [line for line in lines if line.startswith("data")] == []
        slow.set()
        asking.join(20.0)
        assert answer[0].json()["verdict"] in ("accepted", "unknown")
        assert client.process.wait(20.0) == 0


def test_a_kill_loses_nothing_that_was_answered(tmp_path: Path) -> None:
    """Killed while many publish, started again: each event that had a verdict is on the ledger, once."""
    accepted: list[str] = []
    with served(tmp_path) as client:

        def work(worker: int) -> None:
            with httpx.Client(base_url=client.base_url, timeout=20.0) as own:
                for number in range(10_000):
                    name = f"w{worker}-{number}"
                    try:
                        told = publish(own, "note.added", {"text": name}, id=name, subject=f"K-{worker}")
                    except httpx.TransportError:
                        return
                    if told.json()["verdict"] == "accepted":
                        accepted.append(name)

        workers = [threading.Thread(target=work, args=(number,)) for number in range(4)]
        for worker in workers:
            worker.start()
        until(lambda: len(accepted) > 100, what="a hundred answers")
        client.process.kill()
        for worker in workers:
            worker.join(30.0)
    with served(tmp_path) as again:
        found = [
            line["id"]
            for worker in range(4)
            for line in again.get(f"/v1/work-items/K-{worker}/trail").json()
            if line["verdict"] == "accepted"
        ]
        assert len(found) == len(set(found))
        assert set(accepted) <= set(found)


def test_two_servers_on_one_ledger(tmp_path: Path) -> None:
    """They share log and index: what one records the other shows at once, and both go on."""
    with served(tmp_path) as one, served(tmp_path) as other:
        for number in range(20):
            publish(one if number % 2 else other, "note.added", {"text": "x"}, id=f"n{number}")
            for client in (one, other):
                assert client.get("/v1/work-items/T-1").json()["entries"] == number + 1


def test_with_authentication_it_binds_what_it_is_told(tmp_path: Path) -> None:
    """And says nothing of everybody."""
    file = tmp_path / "tokens.json"
    secret = token(file)
    with served(tmp_path, "--host", "0.0.0.0", PAUSELEDGER_API_TOKENS=str(file)) as client:
        assert is_problem(client.get("/v1/inbox"), "unauthenticated")
        assert client.get("/v1/inbox", headers={"authorization": f"Bearer {secret}"}).status_code == 200
        assert "everybody" not in client.said.read_text()
        assert re.search(r"running on http://0\.0\.0\.0", client.said.read_text())


@pytest.mark.kafka
def test_a_log_on_kafka(tmp_path: Path, broker: Broker, topic: str) -> None:
    """Publish in all modes, read, list and listen: all as on the embedded log, over three partitions."""
    with served(tmp_path, PAUSELEDGER_LOG=f"kafka://{broker.address}/{topic}") as client:
        with client.stream("GET", "/v1/decisions/stream") as stream:
            lines = stream.iter_lines()
            assert next(lines).startswith(":")
            for number in range(6):
                answer = publish(client, "pause.opened", opened(), id="o", subject=f"T-{number}")
                assert answer.json()["verdict"] == "accepted"
                (decision,) = client.get(f"/v1/work-items/T-{number}/decision").json()
                assert decision["decision"] == "resume"
            told: list[dict[str, Any]] = []
            for line in lines:
                if line.startswith("data: "):
                    told.append(json.loads(line[6:]))
                if len(told) == 6:
                    break
        assert {one["decision"]["subject"] for one in told} == {f"T-{number}" for number in range(6)}
        beat = {"execution": "run-1", "pause": "p1"}
        headers = {"ce-specversion": "1.0", "ce-id": "b", "ce-source": "/s", "ce-subject": "T-1", "ce-actor": DANA}
        headers |= {"ce-type": "pauseledger.heartbeat.recorded", "content-type": "application/json"}
        assert client.post("/v1/events", json=beat, headers=headers).json()["code"] == "ok"
        batch = b"[" + b",".join(note(number, f"B-{number}") for number in range(20)) + b"]"
        verdicts = client.post("/v1/events", content=batch, headers=BATCH).json()
        assert [one["verdict"] for one in verdicts] == ["accepted"] * 20
        assert {one["partition"] for one in verdicts} == {0, 1, 2}
        assert len(client.get("/v1/work-items?limit=500").json()["items"]) == 26
        env = {"PAUSELEDGER_LOG": f"kafka://{broker.address}/{topic}"}
        told_trail = run("trail", "T-1", "--json", folder=tmp_path, env=env)
        assert client.get("/v1/work-items/T-1/trail").json() == told_trail.json
        client.process.send_signal(signal.SIGTERM)
        assert client.process.wait(30.0) == 0


@pytest.mark.kafka
def test_a_broker_that_goes_away(tmp_path: Path, own_broker: Broker) -> None:
    """Events become unknown with 202, reads 503 with Retry-After; when it is back, so is everything, with the facts."""
    from ledger.logs.topic import create_topic

    create_topic(own_broker.address, "ledger", partitions=1)
    env = {"PAUSELEDGER_LOG": f"kafka://{own_broker.address}/ledger", "PAUSELEDGER_API_PUBLISH_SECONDS": "2"}
    with served(tmp_path, PAUSELEDGER_API_READ_SECONDS="12", **env) as client:
        assert publish(client, "note.added", {"text": "x"}, id="before").json()["verdict"] == "accepted"
        own_broker.kill()
        answer = publish(client, "note.added", {"text": "x"}, id="during")
        assert (answer.status_code, answer.json()["verdict"]) == (202, "unknown")
        assert answer.headers["retry-after"]
        read = client.get("/v1/work-items/T-1")
        assert read.status_code == 503
        assert read.headers["retry-after"]
        assert is_problem(read, "log-unavailable") or is_problem(read, "not-caught-up")
        own_broker.start()

        def facts() -> set[str]:
            told = client.get("/v1/work-items/T-1/trail")
            return {line["id"] for line in told.json()} if told.status_code == 200 else set()

        until(lambda: facts() == {"before", "during"}, seconds=60.0, what="the fact from the outbox")
        until(lambda: client.get("/readyz").status_code == 200, what="ready again")
