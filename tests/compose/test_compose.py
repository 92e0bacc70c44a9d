"""``docker-compose.yml`` can't rot: the specification allows it, and all that it starts of ours works together."""

from __future__ import annotations

import json
import re
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any
from urllib.error import URLError

import psycopg
import pytest
from jsonschema import Draft7Validator

from consumers.settings import PREFIX, Settings
from tests.broker import Broker
from tests.compose.stack import ROOT, Stack, compose, ours, stack
from tests.consumers.emitting import committed
from tests.faults.command import run
from tests.faults.waiting import until
from tests.postgres import Postgres

SPECIFICATION = Path(__file__).with_name("compose-spec.json")
"""Of https://github.com/compose-spec/compose-spec, Apache-2.0."""
START_SECONDS = 240.0


def test_the_file_is_what_the_specification_allows() -> None:
    """Against its JSON schema."""
    schema = json.loads(SPECIFICATION.read_text(encoding="utf-8"))
    found = [f"{list(error.path)}: {error.message}" for error in Draft7Validator(schema).iter_errors(compose())]
    assert found == []


def test_the_file_has_all_that_a_ledger_needs() -> None:
    """Broker and database by pinned versions, two indexers, and a service for every other job and for the API."""
    content = compose()
    assert re.fullmatch(r"apache/kafka:\d+\.\d+\.\d+", content["services"]["broker"]["image"])
    assert re.fullmatch(r"postgres:\d+", content["services"]["postgres"]["image"])
    commands = sorted(" ".join(service["command"]) for service in ours(content).values())
    assert commands == [
        "run decisions",
        "run indexer",
        "run indexer",
        "run watcher",
        "serve",
        "topic create --if-missing",
    ]


def test_what_is_named_is_there() -> None:
    """Services that others wait for, volumes, secrets, settings; nothing listens beyond this host."""
    content = compose()
    for service in content["services"].values():
        assert set(service.get("depends_on", ())) <= set(content["services"])
        assert {volume.partition(":")[0] for volume in service.get("volumes", ())} <= set(content["volumes"])
        assert set(service.get("secrets", ())) <= set(content["secrets"])
        assert all(port.startswith("127.0.0.1:") for port in service.get("ports", ()))
    for service in ours(content).values():
        names = {name.removeprefix(PREFIX).lower() for name in service["environment"]}
        assert names <= set(Settings.model_fields)


def test_the_image_has_what_the_services_run() -> None:
    """All that the Dockerfile copies is there and is let through to it; its entry point is the command line."""
    text = (ROOT / "Dockerfile").read_text(encoding="utf-8")
    copied = [name for line in re.findall(r"^COPY (.+)$", text, re.MULTILINE) for name in line.split()[:-1]]
    ignored = (ROOT / ".dockerignore").read_text(encoding="utf-8").split()
    assert all((ROOT / name).exists() and f"!{name}" in ignored for name in copied)
    assert {"ledger", "projections", "consumers", "pyproject.toml", "requirements-all.lock"} <= set(copied)
    assert 'ENTRYPOINT ["pauseledger"]' in text


@pytest.fixture
def database(own_postgres: Postgres) -> Postgres:
    """A server with the user and the database that the file's own PostgreSQL would have."""
    user = compose()["services"]["postgres"]["environment"]
    with psycopg.connect(own_postgres.url, autocommit=True) as connection:
        connection.execute(f"CREATE ROLE {user['POSTGRES_USER']} LOGIN PASSWORD '{user['POSTGRES_PASSWORD']}'")
        connection.execute(f"CREATE DATABASE {user['POSTGRES_DB']} OWNER {user['POSTGRES_USER']}")
    return own_postgres


def opened(number: int) -> bytes:
    """A pause that goes stale in two seconds."""
    until_then = (datetime.now(UTC) + timedelta(seconds=2)).isoformat()
    event = {
        "specversion": "1.0",
        "id": f"e-{number}",
        "source": "/compose",
        "type": "pauseledger.pause.opened",
        "subject": f"T-{number}",
        "data": {"execution": "run", "pause": "p", "owner": "user:me", "fresh_until": until_then},
    }
    return json.dumps(event).encode()


@pytest.mark.kafka
def test_all_of_it_works_together(own_broker: Broker, database: Postgres, tmp_path: Path) -> None:
    """Every command with its environment: events come in by HTTP, go out as decisions and alerts, and all end well."""
    with stack(own_broker, database, tmp_path) as made:
        try:
            works_together(made)
        except BaseException:
            print(made.logs())
            raise


def works_together(made: Stack) -> None:
    arguments = ("token", "new", "--actor", "user:me", "--json", "--file", str(made.tokens))
    scopes = ("--scope", "publish", "--scope", "read", "--scope", "review")
    token = run(*arguments, *scopes, folder=made.folder).json["token"]
    topic, *lasting = sorted(made.services.values(), key=lambda service: service.name != "topic")
    for _ in range(2):  # as often as one says "up"
        topic.start()
        assert topic.ended(START_SECONDS) == 0, topic.log
        topic.kill()
    for service in lasting:
        service.start()
    for service in lasting:
        until(service.is_healthy, seconds=START_SECONDS, what=f"the health of {service.name}")
    verdicts = [json.loads(made.asked("/v1/events", token, opened(number))) for number in range(20)]
    assert {one["verdict"] for one in verdicts} == {"accepted"}
    decisions = json.loads(made.asked("/v1/work-items/T-7/decision", token))
    assert [one["pause"] for one in decisions] == ["p"]
    until(lambda: len(told(made, "verdicts")) == 20, seconds=START_SECONDS, what="the verdicts' topic")
    until(lambda: len(told(made, "alerts")) == 20, seconds=START_SECONDS, what="the alerts' topic")
    assert {one["type"] for one in told(made, "alerts")} == {"pauseledger.alert.freshness_expired"}
    assert {one["subject"] for one in told(made, "decisions") if "decision" in one} == {f"T-{n}" for n in range(20)}
    assert [service.stop() for service in lasting] == [0] * len(lasting)
    with pytest.raises(URLError):
        made.asked("/healthz", token)


def told(made: Stack, suffix: str) -> list[dict[str, Any]]:
    """What is on a topic beside the ledger."""
    return [json.loads(record.value) for record in committed(made.broker.address, f"pauses.{suffix}", partitions=6)]
