"""Export and verify of a ledger on Kafka: three partitions, foreign publishers, and offsets that hold no record."""

from __future__ import annotations

from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

from ledger.cloudevents import STRUCTURED_HEADERS
from ledger.log import Draft
from ledger.logs.kafka import KafkaLog
from ledger.partitions import partition_of
from tests.broker import Broker
from tests.consumers.evidence.test_export import done
from tests.ledger.evidence.ledgers import SUBJECTS, life, lines_of

pytestmark = pytest.mark.kafka

WAIT_SECONDS = 30.0


def abandoned(servers: str, topic: str) -> None:
    """A transaction that its publisher gave up: its offsets hold no readable record. One more is committed."""
    from confluent_kafka import Producer

    producer: Any = Producer({"bootstrap.servers": servers, "transactional.id": topic})
    producer.init_transactions(WAIT_SECONDS)
    for end in ("abort", "commit"):
        producer.begin_transaction()
        producer.produce(topic, b"by somebody else", b"T-1", partition=0)
        producer.flush(WAIT_SECONDS)
        getattr(producer, f"{end}_transaction")(WAIT_SECONDS)


def test_a_ledger_on_kafka_is_exported(
    broker: Broker, topic: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """All, one work item, and one under --until: each verifies, with the gaps that foreign transactions leave."""
    monkeypatch.setenv("PAUSELEDGER_LOG", f"kafka://{broker.address}/{topic}")
    monkeypatch.setenv("PAUSELEDGER_KEYS", str(tmp_path / "keys"))
    with closing(KafkaLog(broker.address, topic)) as log:
        for step in range(8):
            drafts = [
                Draft(partition_of(name, 3), name.encode(), life(name)[step], STRUCTURED_HEADERS) for name in SUBJECTS
            ]
            for future in log.append(drafts):
                future.result(WAIT_SECONDS)
    abandoned(broker.address, topic)
    vkey = done("keys", "new", "acme").split()[0]
    done("checkpoint")
    done("export", "--all", "--out", str(tmp_path / "all"))
    entries = lines_of(tmp_path / "all", "entries.jsonl")
    assert len(entries) == 8 * len(SUBJECTS) + 1
    told = done("verify", str(tmp_path / "all"), "--key", vkey)
    assert "3 offsets held no readable record" in told
    until = lines_of(tmp_path / "all", "verdicts.jsonl")[0]["recorded_at"]
    done("export", "--subject", "T-1", "--subject", "T-2", "--out", str(tmp_path / "two.zip"))
    done("verify", str(tmp_path / "two.zip"), "--key", vkey)
    done("export", "--all", "--until", until, "--ocsf", "--out", str(tmp_path / "early"))
    done("verify", str(tmp_path / "early"), "--key", vkey)
    assert len(lines_of(tmp_path / "early", "verdicts.jsonl")) < len(entries)
