"""``pauseledger run indexer`` on a real broker: shared out, killed, drained, without its broker, and with poison."""

from __future__ import annotations

import json
import signal
import time
import uuid
from itertools import chain
from pathlib import Path

import pytest
from confluent_kafka import Producer
from kafka import KafkaProducer

from ledger.logs.topic import create_topic
from tests.broker import Broker, free_port
from tests.consumers.processes import SESSION_SECONDS, Process, asked, processes
from tests.faults.command import run
from tests.faults.ledgers import caught_up, dump, opened, put, url
from tests.faults.lines import day, note
from tests.faults.waiting import until

ENTRIES = 600


def fill(log_url: str, folder: Path, values: list[bytes]) -> int:
    """Record lines; how many offsets the log has then."""
    with opened(log_url, folder / "unused.db") as ledger:
        put(ledger.log, [(json.loads(value)["subject"], value) for value in values])
        return sum(end for _, end in ledger.log.all_bounds())


def check_whole(log_url: str, folder: Path) -> None:
    """The index is row for row what a fresh one would be."""
    caught_up(log_url, folder / "fresh.db")
    assert dump(folder / "index.db") == dump(folder / "fresh.db")


@pytest.fixture
def log_url(broker: Broker, topic: str) -> str:
    return f"kafka://{broker.address}/{topic}"


def shared_out(*members: Process) -> bool:
    """Whether each has a part of the three partitions, and together they have all."""
    shares = [member.share or [] for member in members]
    return all(shares) and sorted(chain(*shares)) == [0, 1, 2]


@pytest.mark.kafka
def test_two_share_the_partitions_and_one_takes_over(log_url: str, tmp_path: Path) -> None:
    """Killed, one is replaced by the other after its session; SIGTERM then drains, and the index is whole."""
    with processes(tmp_path, log_url, url(tmp_path / "index.db")) as fleet:
        first = fleet.start()
        first.has_share()
        second = fleet.start()
        until(lambda: shared_out(first, second), what="two shares")
        values = list(day(ENTRIES))
        fleet.caught_up(fill(log_url, tmp_path, values[: ENTRIES // 2]))
        first.kill()
        began = time.monotonic()
        end = fill(log_url, tmp_path, values[ENTRIES // 2 :])
        until(lambda: second.share == [0, 1, 2], what="all partitions for the one that is left")
        assert time.monotonic() - began > SESSION_SECONDS / 3
        fleet.caught_up(end)
        began = time.monotonic()
        assert second.drained() == 0
        assert time.monotonic() - began < 30.0
        assert [line["event"] for line in second.lines()][-2:] == ["draining", "stopped"]
    check_whole(log_url, tmp_path)


@pytest.mark.kafka
def test_one_that_leaves_is_replaced_at_once(log_url: str, tmp_path: Path) -> None:
    """Whoever drains leaves the group: with a session of a minute the other has its partitions within seconds."""
    with processes(tmp_path, log_url, url(tmp_path / "index.db"), session_seconds="60") as fleet:
        first = fleet.start()
        first.has_share()
        second = fleet.start()
        until(lambda: shared_out(first, second), what="two shares")
        assert first.drained() == 0
        until(lambda: second.share == [0, 1, 2], seconds=40.0, what="all partitions for the one that is left")
        assert second.drained() == 0


@pytest.mark.kafka
def test_a_broker_that_goes_away_is_waited_for(own_broker: Broker, tmp_path: Path) -> None:
    """Started before it is up, and while it is killed and started again: said, waited for, and gone on from."""
    name = f"ledger-{uuid.uuid4()}"
    create_topic(own_broker.address, name, partitions=3)
    log_url = f"kafka://{own_broker.address}/{name}"
    values = list(day(ENTRIES))
    end = fill(log_url, tmp_path, values[: ENTRIES // 2])
    own_broker.stop()
    with processes(tmp_path, log_url, url(tmp_path / "index.db"), metrics=str(port := free_port())) as fleet:
        process = fleet.start()
        process.says("waiting")
        assert asked(port, "/healthz")[0] == 200
        status, body = asked(port, "/readyz")
        assert (status, json.loads(body)["jobs"]["indexer"]["phase"]) == (503, "waiting")
        assert "broker" in json.loads(body)["jobs"]["indexer"]["problem"]
        own_broker.start()
        process.says("going on")
        fleet.caught_up(end)
        until(lambda: asked(port, "/readyz")[0] == 200, what="readiness")
        own_broker.kill()
        until(lambda: asked(port, "/readyz")[0] == 503, what="no readiness without a broker")
        process.says("waiting", times=2)
        own_broker.start()
        process.says("going on", times=2)
        fleet.caught_up(fill(log_url, tmp_path, values[ENTRIES // 2 :]))
        until(lambda: asked(port, "/readyz")[0] == 200, what="readiness again")
        assert process.drained() == 0
        assert process.said("halted") == []
    check_whole(log_url, tmp_path)


class _NoText(str):
    """A header name that is sent as bytes which are no UTF-8."""

    def encode(self, encoding: str = "utf-8", errors: str = "strict") -> bytes:
        return b"\xff\xfe" + super().encode()


POISON: list[tuple[bytes | None, bytes | None, list[tuple[str, bytes | None]]]] = [
    (b"T-1", b"\x00\xff garbage", []),
    (b"T-1", None, []),
    (None, note(1), []),
    (b"T-2", note(2, "T-3"), []),
    (b"T-1", b'{"a":' * 20_000 + b"1" + b"}" * 20_000, []),
    (b"T-1", b'"' + b"x" * 900_000 + b'"', []),
    (b"T-1", note(3), [("content-type", b"\xff\xfe/nonsense"), ("ce_", None), ("", b"")]),
    (b"\xff\xfe", note(4), []),
]


@pytest.mark.kafka
def test_poison_stops_no_partition(broker: Broker, log_url: str, tmp_path: Path) -> None:
    """Garbage, wrong keys, huge JSON and headers whose names are no text: each is judged, and what follows as well."""
    topic = log_url.rpartition("/")[2]
    producer = Producer({"bootstrap.servers": broker.address})
    odd = KafkaProducer(bootstrap_servers=broker.address)
    for partition in range(3):
        for key, value, headers in POISON:
            producer.produce(topic, value, key, partition=partition, headers=headers)
        odd.send(topic, note(6), b"T-1", headers=[(_NoText("x"), b"h")], partition=partition).get(30)
    assert producer.flush(30) == 0
    odd.close()
    end = fill(log_url, tmp_path, list(day(60, 20)))
    with processes(tmp_path, log_url, url(tmp_path / "index.db")) as fleet:
        process = fleet.start()
        fleet.caught_up(end)
        assert process.drained() == 0
        told = process.said("malformed entry")
    assert {"not-cloudevent", "key-mismatch"} <= {line["code"] for line in told}
    assert all(line["level"] == "warning" and line["job"] == "indexer" for line in told)
    assert all({"partition", "offset", "reason"} <= set(line) for line in told)
    assert len(told) == len({line["code"] for line in told})
    rows = dump(tmp_path / "index.db", "trail")["trail"]
    assert len(rows) == end
    check_whole(log_url, tmp_path)


@pytest.mark.kafka
def test_another_log_halts_with_one_line(broker: Broker, log_url: str, tmp_path: Path) -> None:
    """A topic that is deleted and made again while the indexer is idle: exit code 1, said once, nothing reset."""
    from kafka import KafkaAdminClient

    topic = log_url.rpartition("/")[2]
    end = fill(log_url, tmp_path, list(day(100)))
    with processes(tmp_path, log_url, url(tmp_path / "index.db")) as fleet:
        process = fleet.start()
        fleet.caught_up(end)
        before = dump(tmp_path / "index.db")
        admin = KafkaAdminClient(bootstrap_servers=broker.address)
        admin.delete_topics([topic])
        admin.close()
        until(lambda: made_again(broker, topic) or process.process.poll() is not None, what="the topic, made again")
        assert process.ended() == 1
        [halted] = process.said("halted")
        assert halted["error"] in ("LogChanged", "UnusableLog")
        again = fleet.start()
        assert again.ended() == 1
        [halted] = again.said("halted")
        assert (halted["error"], halted["job"], halted["level"]) == ("LogChanged", "indexer", "error")
        assert "made again" in halted["problem"]
        assert "rebuild" in halted["advice"]
    assert dump(tmp_path / "index.db") == before


def made_again(broker: Broker, topic: str) -> bool:
    """Make a topic; whether it could be made yet."""
    from ledger.errors import LedgerError

    try:
        create_topic(broker.address, topic, partitions=3)
    except LedgerError:
        return False
    return True


@pytest.mark.kafka
def test_metrics_say_what_was_indexed(log_url: str, tmp_path: Path) -> None:
    """After known entries every figure that is scraped is the one that can be counted by hand."""
    values = [*day(400, 100), note(1), note(1), note(2, "T-2").replace(b'"text"', b'"tixt"')]
    values.append(note(3).replace(b"note.added", b"note.invented"))
    end = fill(log_url, tmp_path, values)
    port = free_port()
    with processes(tmp_path, log_url, url(tmp_path / "index.db"), metrics=str(port), measure_seconds="0.2") as fleet:
        process = fleet.start()
        fleet.caught_up(end)

        def figures() -> dict[str, float]:
            lines = asked(port, "/metrics")[1].decode().splitlines()
            return {
                name: float(value) for name, _, value in (line.rpartition(" ") for line in lines) if name[:1] != "#"
            }

        def is_counted() -> bool:
            found = figures()
            lag = [found.get(f'pauseledger_lag_entries{{partition="{partition}"}}') for partition in range(3)]
            if lag != [0.0] * 3 or found.get('pauseledger_batch_entries_sum{job="indexer"}') != end:
                return False
            # These are measured more rarely than the lag is, the longer a measurement took.
            return (
                found.get('pauseledger_decisions{decision="resume"}') == 100
                and "pauseledger_expired_undecided" in found
            )

        until(is_counted, what="all entries, counted")
        found = figures()
        verdicts = {name: value for name, value in found.items() if name.startswith("pauseledger_verdicts_total")}
        assert sum(verdicts.values()) == end == 404
        assert found['pauseledger_verdicts_total{code="ok",type="pause.opened",verdict="accepted"}'] == 100
        assert found['pauseledger_verdicts_total{code="duplicate",type="note.added",verdict="duplicate"}'] == 1
        assert found['pauseledger_verdicts_total{code="bad-data",type="note.added",verdict="malformed"}'] == 1
        assert found['pauseledger_verdicts_total{code="unknown-type",type="unknown",verdict="malformed"}'] == 1
        assert found['pauseledger_decisions{decision="resume"}'] == 100
        assert [found[f'pauseledger_debts{{state="{state}"}}'] for state in ("open", "overdue")] == [0, 0]
        assert found["pauseledger_expired_undecided"] == 0
        assert [found[f'pauseledger_{name}{{job="indexer"}}'] for name in ("partitions", "waiting")] == [3, 0]
        assert found['pauseledger_fenced_batches_total{job="indexer"}'] == 0
        assert asked(port, "/healthz")[0] == asked(port, "/readyz")[0] == 200
        assert asked(port, "/nothing")[0] == 404
        assert process.drained() == 0
        assert all({"event", "level", "timestamp"} <= set(line) for line in process.lines())


def test_the_embedded_log_is_followed(tmp_path: Path) -> None:
    """On one file one process has the one partition: what is published is indexed, and SIGINT drains as well."""
    log_url = url(tmp_path / "log.db")
    end = fill(log_url, tmp_path, list(day(100)))
    with processes(tmp_path, log_url, url(tmp_path / "index.db")) as fleet:
        process = fleet.start()
        fleet.caught_up(end)
        fleet.caught_up(fill(log_url, tmp_path, [note(1)]))
        process.send(signal.SIGINT)
        assert process.ended() == 0
    check_whole(log_url, tmp_path)


@pytest.mark.parametrize(
    ("arguments", "env", "says"),
    [
        (("nonsense",), {}, "Jobs are: indexer, decisions, watcher"),
        (("indexer",), {"PAUSELEDGER_METRICS": "here:there"}, "[HOST:]PORT"),
        (("indexer",), {"PAUSELEDGER_SESSION_SECONDS": "0"}, "PAUSELEDGER_SESSION_SECONDS"),
    ],
)
def test_what_cant_be_meant_is_refused(
    tmp_path: Path, arguments: tuple[str, ...], env: dict[str, str], says: str
) -> None:
    """A job that there isn't and settings that can't be meant: exit code 2, with what would do."""
    found = run("run", *arguments, folder=tmp_path, env=env)
    assert (found.code, found.out) == (2, "")
    assert says in found.err
    assert found.err.count("\n") == 1
