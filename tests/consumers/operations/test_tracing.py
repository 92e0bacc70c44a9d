"""A trace that a publisher began goes on through the judging of its entry, and no malformed one does."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter

from consumers.indexing import IndexerJob, open_job
from consumers.operations.tracing import Parent, Tracing, is_on, parent_of
from consumers.settings import Settings
from ledger.errors import WrongUsage
from ledger.log import Draft
from tests.faults.ledgers import put, url
from tests.faults.lines import line

TRACE, SPAN = "4bf92f3577b34da6a3ce929d0e0e4736", "00f067aa0ba902b7"
TRACEPARENT = f"00-{TRACE}-{SPAN}-01"


@pytest.mark.parametrize("text", [TRACEPARENT, f"00-{TRACE}-{SPAN}-00", f"cc-{TRACE}-{SPAN}-01-what-comes-later"])
def test_sound_ones_are_read(text: str) -> None:
    """Version 00, and later ones with more behind."""
    assert parent_of(text) == Parent(int(TRACE, 16), int(SPAN, 16), int(text[53:55], 16))


@pytest.mark.parametrize(
    "text",
    [
        "",
        "nonsense",
        TRACEPARENT.upper(),
        f"{TRACEPARENT}-more",
        f"ff-{TRACE}-{SPAN}-01",
        f"00-{'0' * 32}-{SPAN}-01",
        f"00-{TRACE}-{'0' * 16}-01",
        f"00-{TRACE[1:]}-{SPAN}-01",
        f"00-{TRACE}-{SPAN}-1",
        f" {TRACEPARENT}",
        f"{TRACEPARENT}\n",
    ],
)
def test_malformed_ones_are_ignored(text: str) -> None:
    """What W3C Trace Context refuses has no parent."""
    assert parent_of(text) is None


def traced_note(number: int, traceparent: str | None, text: object = "hello") -> bytes:
    return line("note.added", {"text": text}, id=f"n{number}", **({"traceparent": traceparent} if traceparent else {}))


def test_the_publishers_trace_is_continued(tmp_path: Path) -> None:
    """Each sound entry has a span in its publisher's trace, by structured and by binary mode, linked to the batch's."""
    exporter = InMemorySpanExporter()
    provider = TracerProvider()
    provider.add_span_processor(SimpleSpanProcessor(exporter))
    ledger = Settings.read(url(tmp_path / "log.db"), url(tmp_path / "index.db")).open(create=True)
    lines = [traced_note(1, TRACEPARENT), traced_note(2, None), traced_note(3, "bad"), traced_note(4, TRACEPARENT, 7)]
    put(ledger.log, [("T-1", value) for value in lines])
    plain = {"specversion": "1.0", "id": "n5", "source": "/s", "type": "pauseledger.note.added", "subject": "T-1"}
    headers = [
        *((f"ce_{name}", value.encode()) for name, value in plain.items()),
        ("ce_traceparent", TRACEPARENT.encode()),
    ]
    [done] = ledger.log.append([Draft(0, b"T-1", b'{"text":"x"}', (*headers, ("content-type", b"application/json")))])
    done.result(10)
    job = IndexerJob(ledger, Tracing(provider))
    job.take({0})
    assert job.step() == 5
    spans = exporter.get_finished_spans()
    job.close()
    judged = [span for span in spans if span.name == "pauseledger.judge"]
    [batch] = [span for span in spans if span.name == "pauseledger.batch"]
    assert [span.attributes["pauseledger.offset"] for span in judged if span.attributes] == [0, 4]
    assert dict(batch.attributes or {})["pauseledger.entries"] == 5
    for span in judged:
        assert span.parent is not None
        assert (span.context.trace_id, span.parent.span_id) == (int(TRACE, 16), int(SPAN, 16))
        assert span.parent.is_remote
        assert [link.context.span_id for link in span.links] == [batch.context.span_id]
        told = dict(span.attributes or {})
        assert (told["pauseledger.type"], told["pauseledger.verdict"]) == ("note.added", "accepted")


def test_it_is_off_unless_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The setting decides, else OpenTelemetry's own address of a collector; where it's off nothing is imported."""
    for name in ("OTEL_EXPORTER_OTLP_ENDPOINT", "OTEL_EXPORTER_OTLP_TRACES_ENDPOINT"):
        monkeypatch.delenv(name, raising=False)
    assert not is_on(Settings.read())
    assert is_on(Settings.read(tracing=True))
    monkeypatch.setenv("OTEL_EXPORTER_OTLP_ENDPOINT", "http://127.0.0.1:4318")
    assert is_on(Settings.read())
    assert not is_on(Settings.read(tracing=False))
    program = "import consumers.indexing, sys; sys.exit('opentelemetry' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", program], cwd=Path(__file__).parents[3]).returncode == 0


def test_without_the_extra_it_says_which(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Where tracing is on and OpenTelemetry is not installed, the command that installs it is told."""
    monkeypatch.setitem(sys.modules, "opentelemetry.sdk.trace", None)
    settings = Settings.read(url(tmp_path / "log.db"), url(tmp_path / "index.db"), tracing=True)
    settings.open(create=True).close()
    with pytest.raises(WrongUsage, match=r"pauseledger\[tracing\]"):
        open_job(settings)
