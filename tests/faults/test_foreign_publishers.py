"""Publishers that are not ours, through librdkafka: whatever they send is listed, and nothing stops the indexer."""

from __future__ import annotations

import json
import random
from pathlib import Path
from typing import Any

import pytest

from ledger.partitions import partition_of
from tests.broker import Broker
from tests.faults.command import run
from tests.faults.ledgers import caught_up, dump, opened, records_of, url
from tests.faults.lines import event, line, note

pytestmark = pytest.mark.kafka

SUBJECTS = [f"T-{n}" for n in range(40)]


@pytest.fixture
def address(broker: Broker, topic: str) -> str:
    """An empty topic of three partitions."""
    return f"kafka://{broker.address}/{topic}"


def producer(broker: Broker, **settings: Any) -> Any:
    from confluent_kafka import Producer

    # One at a time: what is tried again while a new topic finds its leader must not change places with what follows.
    chosen = {"message.max.bytes": 4_000_000, "max.in.flight.requests.per.connection": 1, **settings}
    return Producer({"bootstrap.servers": broker.address, **chosen})


def rows_of(address: str, folder: Path) -> list[tuple[Any, ...]]:
    """The trail after catching up: one row for every readable record, in two indexes alike."""
    caught_up(address, folder / "index.db")
    caught_up(address, folder / "again.db")
    rows = dump(folder / "index.db", "trail")["trail"]
    assert dump(folder / "index.db") == dump(folder / "again.db")
    with opened(address, folder / "index.db") as ledger:
        assert [(row[0], row[1]) for row in rows] == [(one.partition, one.offset) for one in records_of(ledger.log)]
    return rows


def test_murmur2_producers_are_fine(broker: Broker, topic: str, address: str, tmp_path: Path) -> None:
    """With ``partitioner=murmur2_random`` every entry lies where it belongs."""
    sender = producer(broker, partitioner="murmur2_random")
    for subject in SUBJECTS:
        sender.produce(topic, note(1, subject), subject.encode())
    assert sender.flush(30) == 0
    rows = rows_of(address, tmp_path)
    assert [row[7] for row in rows] == ["ok"] * len(SUBJECTS)
    assert {row[0] for row in rows} == {0, 1, 2}


def test_a_default_librdkafka_producer_sends_some_astray(
    broker: Broker, topic: str, address: str, tmp_path: Path
) -> None:
    """Its own partitioner differs: what lands elsewhere reads wrong-partition, changes nothing, and is on the trail."""
    sender = producer(broker)
    for subject in SUBJECTS:
        sender.produce(topic, note(1, subject), subject.encode())
    assert sender.flush(30) == 0
    rows = rows_of(address, tmp_path)
    assert len(rows) == len(SUBJECTS)
    for partition, _, subject, *_, code, _ in rows:
        assert code == ("ok" if partition == partition_of(subject, 3) else "wrong-partition")
    astray = [row[2] for row in rows if row[7] == "wrong-partition"]
    assert 5 < len(astray) < 35
    addresses = ("--log", address, "--index", url(tmp_path / "index.db"))
    [shown] = run("trail", astray[0], "--json", *addresses, folder=tmp_path).json
    assert (shown["verdict"], shown["code"], shown["event"]["subject"]) == ("malformed", "wrong-partition", astray[0])
    assert run("decision", astray[0], "--json", *addresses, folder=tmp_path).json == []


def binary(content: dict[str, Any]) -> list[tuple[str, bytes]]:
    """The headers of binary mode."""
    attributes = {name: value for name, value in content.items() if name != "data"}
    return [("content-type", b"application/json"), *((f"ce_{name}", str(v).encode()) for name, v in attributes.items())]


def strange_records() -> list[tuple[str, bytes | None, bytes | None, list[tuple[str, bytes | None]]]]:
    """Code expected, key, value and headers: all of the work item T-1's partition."""
    content = event("note.added", {"text": "x"}, id="s")
    structured: list[tuple[str, bytes | None]] = [("content-type", b"application/cloudevents+json; charset=UTF-8")]
    data = json.dumps(content["data"]).encode()
    noise = random.Random(7).randbytes(1024 * 1024)
    return [
        ("ok", b"T-1", line("note.added", {"text": "x"}, id="structured"), structured),
        ("ok", b"T-1", line("note.added", {"text": "x"}, id="no-header"), []),
        ("ok", b"T-1", data, binary(content | {"id": "binary"})),
        ("duplicate", b"T-1", data + b" ", binary(content | {"id": "binary"})),
        ("key-mismatch", None, line("note.added", {"text": "x"}, id="null-key"), structured),
        ("key-mismatch", b"T-2", line("note.added", {"text": "x"}, id="other-key"), structured),
        ("not-cloudevent", b"T-1", None, structured),
        ("not-cloudevent", b"T-1", None, []),
        ("bad-data", b"T-1", None, binary(content | {"id": "no-value"})),
        ("not-cloudevent", b"T-1", noise, structured),
        ("not-cloudevent", b"\xff\x00" * 40, noise, [("x", None), ("", b"\x00"), ("x", b"\xff")]),
        ("not-cloudevent", b"T-1", b"", []),
        ("not-cloudevent", b"T-1", b"[" * 100_000, structured),
        ("unknown-type", b"T-1", line("birds.counted", {}, id="birds"), structured),
        ("not-cloudevent", b"T-1", data, [("ce_id", b"only"), ("ce_subject", b"\xff\xfe")]),
        ("ok", b"T-1", line("note.added", {"text": "the last"}, id="last"), structured),
    ]


def test_whatever_is_sent_is_listed(broker: Broker, topic: str, address: str, tmp_path: Path) -> None:
    """Structured, binary, no header, null key, null value, noise: each has its verdict, and the next one too."""
    sender, home = producer(broker), partition_of("T-1", 3)
    strange = strange_records()
    for _, key, value, headers in strange:
        sender.produce(topic, value, key, partition=home, headers=headers)
    assert sender.flush(30) == 0
    rows = rows_of(address, tmp_path)
    assert [row[7] for row in rows] == [code for code, *_ in strange]
    addresses = ("--log", address, "--index", url(tmp_path / "index.db"))
    shown = run("trail", "T-1", "--json", *addresses, folder=tmp_path)
    assert (shown.code, shown.err) == (0, "")
    named = [row[1] for row in rows if row[2] == "T-1"]
    assert [one["offset"] for one in shown.json] == named
    assert {"key-mismatch", "unknown-type", "bad-data", "duplicate", "ok"} == {one["code"] for one in shown.json}
    assert run("trail", "T-1", *addresses, folder=tmp_path).code == 0


def test_aborted_transactions_leave_gaps_and_nothing_else(
    broker: Broker, topic: str, address: str, tmp_path: Path
) -> None:
    """What was aborted is never read; offsets have gaps, and fences and entries are the log's own."""
    sender, home = producer(broker, **{"transactional.id": f"tx-{topic}"}), partition_of("T-1", 3)
    sender.init_transactions(30)
    for number in range(6):
        sender.begin_transaction()
        for part in range(3):
            sender.produce(topic, note(10 * number + part), b"T-1", partition=home)
        assert sender.flush(30) == 0
        if number % 2:
            sender.abort_transaction(30)
        else:
            sender.commit_transaction(30)
    rows = rows_of(address, tmp_path)
    assert [row[1] for row in rows] == [0, 1, 2, 8, 9, 10, 16, 17, 18]
    assert {row[7] for row in rows} == {"ok"}
    found = run(
        "publish",
        "--json",
        "--log",
        address,
        "--index",
        url(tmp_path / "index.db"),
        folder=tmp_path,
        stdin=note(0) + b"\n" + note(99),
    ).lines
    assert [(one["verdict"], one["offset"]) for one in found] == [("duplicate", 24), ("accepted", 25)]
    assert found[0]["first"]["offset"] == 0


def test_an_open_transaction_holds_readers_back_and_stops_nothing(
    broker: Broker, topic: str, address: str, tmp_path: Path
) -> None:
    """Until it ends nobody reads past it: a publisher behind it is told unknown in time, and its event counts later."""
    sender, home = producer(broker, **{"transactional.id": f"tx-{topic}"}), partition_of("T-1", 3)
    sender.init_transactions(30)
    sender.begin_transaction()
    sender.produce(topic, note(1), b"T-1", partition=home)
    sender.flush(30)
    addresses = ("--json", "--log", address, "--index", url(tmp_path / "index.db"))
    found = run("publish", "--timeout", "2", *addresses, folder=tmp_path, stdin=note(2))
    [said] = found.lines
    assert (found.code, said["verdict"], said["code"], said["offset"]) == (4, "unknown", "unjudged", 1)
    sender.commit_transaction(30)
    assert [one["offset"] for one in run("trail", "T-1", *addresses, folder=tmp_path).json] == [0, 1]
