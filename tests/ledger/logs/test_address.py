"""Addresses of logs: the two forms, everything else refused, and nothing imported that isn't needed."""

from __future__ import annotations

import subprocess
import sys
from contextlib import closing
from pathlib import Path

import pytest

from ledger.errors import UnusableLog, WrongUsage
from ledger.logs.address import KafkaAddress, index_url_for, log_address, log_name, open_log


@pytest.mark.parametrize(
    ("url", "address"),
    [
        ("sqlite:///pauseledger.db", Path("pauseledger.db")),
        ("sqlite:///data/log.db", Path("data/log.db")),
        ("sqlite:////var/lib/log.db", Path("/var/lib/log.db")),
        ("sqlite:///my%20log.db", Path("my log.db")),
        ("kafka://k1:9092/ledger", KafkaAddress(("k1:9092",), "ledger")),
        ("kafka+confluent://k1:9092/ledger", KafkaAddress(("k1:9092",), "ledger", "confluent-kafka")),
        (
            "kafka://k1:9092,10.0.0.2:9093,[::1]:9/a.b_c-d",
            KafkaAddress(("k1:9092", "10.0.0.2:9093", "[::1]:9"), "a.b_c-d"),
        ),
    ],
)
def test_both_forms_are_understood(url: str, address: Path | KafkaAddress) -> None:
    """Three slashes and a relative path, four and an absolute one; one broker or several."""
    assert log_address(url) == address


@pytest.mark.parametrize(
    "url",
    [
        "", "ledger.db", "sqlite://", "sqlite:///", "sqlite:////", "sqlite://host/file", "sqlite:///:memory:?mode=memory",
        "sqlite:///:memory:", "SQLITE:///x", "kafka://", "kafka://host/topic", "kafka://host:9092", "kafka://host:9092/",
        "kafka://host:9092/a/b", "kafka://host:9092/a b", "kafka://h:1,/t", "confluent://h:1/t", "http://host:80/x", "postgresql://h/x",
    ],
)  # fmt: skip
def test_anything_else_is_wrong_usage_that_names_both_forms(url: str) -> None:
    """The error is a usage error (exit code 2) and shows what would be right."""
    with pytest.raises(WrongUsage) as caught:
        open_log(url)
    assert "sqlite:///FILE" in str(caught.value)
    assert "kafka://HOST:PORT" in str(caught.value)


def test_an_embedded_log_is_made_only_where_that_was_asked_for(tmp_path: Path) -> None:
    """Reading commands refuse a file that isn't there, and leave nothing behind."""
    url = f"sqlite:///{tmp_path}/log.db"
    with pytest.raises(UnusableLog, match="no ledger at"):
        open_log(url)
    assert list(tmp_path.iterdir()) == []
    with closing(open_log(url, create=True)) as log:
        assert log.partitions == 1
    open_log(url).close()


def test_the_index_lies_in_the_embedded_logs_file_or_beside_kafka_in_the_default() -> None:
    """Protocol, section 9."""
    assert index_url_for("sqlite:////srv/log.db") == "sqlite:////srv/log.db"
    assert index_url_for("kafka://h:1/t") == "sqlite:///pauseledger.db"


def test_a_log_has_one_name_whichever_client() -> None:
    """What waits in an outbox for a log waits for it through either client."""
    assert log_name("kafka+confluent://h:1/t") == log_name("kafka://h:1/t") == "kafka://h:1/t"


def test_a_client_that_is_not_installed_is_said_with_what_to_do(monkeypatch: pytest.MonkeyPatch) -> None:
    """The error names the extra, before any broker is asked."""
    monkeypatch.setitem(sys.modules, "confluent_kafka", None)
    with pytest.raises(WrongUsage, match=r"pip install 'pauseledger\[confluent\]'"):
        open_log("kafka+confluent://127.0.0.1:1/t")


def test_the_embedded_log_needs_no_kafka(tmp_path: Path) -> None:
    """Opening it imports nothing of kafka-python, which takes longer than everything else."""
    code = (
        "import sys; from ledger.logs.address import open_log;"
        f"open_log('sqlite:///{tmp_path}/log.db', create=True).close();"
        "sys.exit(any(name.split('.')[0] in ('kafka', 'confluent_kafka') for name in sys.modules))"
    )
    assert subprocess.run([sys.executable, "-c", code]).returncode == 0
