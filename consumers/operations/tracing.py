"""OpenTelemetry: the judging of an entry continues the trace that its publisher began, by the attribute traceparent.

A span a batch, and in the publisher's own trace a span for each entry with a traceparent, linked to the batch's. The
extra ``tracing`` is imported only where tracing is on. A traceparent that is not as W3C Trace Context says is ignored.
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterator
from importlib import import_module
from typing import Any, NamedTuple

from consumers.indexer import Folded
from consumers.operations.metrics import short_type
from consumers.settings import Settings
from ledger.cloudevents import known_event
from ledger.errors import WrongUsage
from ledger.record import Record
from ledger.verdict import Verdict

_FORM = re.compile(r"([0-9a-f]{2})-([0-9a-f]{32})-([0-9a-f]{16})-([0-9a-f]{2})(-.*)?")
_ENDPOINTS = ("OTEL_EXPORTER_OTLP_ENDPOINT", "OTEL_EXPORTER_OTLP_TRACES_ENDPOINT")
_NAME = b"traceparent"
_TELL_MS = 3_000


class Parent(NamedTuple):
    """The span that an entry's publisher was in."""

    trace_id: int
    span_id: int
    flags: int


def parent_of(traceparent: str) -> Parent | None:
    """What a traceparent says (W3C Trace Context, level 1); null where it is malformed."""
    match = _FORM.fullmatch(traceparent)
    if match is None:
        return None
    version, trace_id, span_id, flags, more = match.groups()
    if version == "ff" or (version == "00" and more) or not int(trace_id, 16) or not int(span_id, 16):
        return None
    return Parent(int(trace_id, 16), int(span_id, 16), int(flags, 16))


def is_on(settings: Settings) -> bool:
    """Whether spans are to be made: as the setting says, else where OpenTelemetry's own says where they go."""
    if settings.tracing is not None:
        return settings.tracing
    return any(os.environ.get(name) for name in _ENDPOINTS)


class Tracing:
    """Makes the spans of batches, for an OpenTelemetry ``TracerProvider``."""

    def __init__(self, provider: Any) -> None:
        self._api = import_module("opentelemetry.trace")
        self._provider = provider
        self._tracer = provider.get_tracer("pauseledger")

    def tell(self, batch: Folded, began_ns: int, ended_ns: int) -> None:
        """Make the spans of a batch that is in the index; times in nanoseconds since 1970."""
        if not batch.verdicts:
            return
        attributes = {
            "pauseledger.partition": batch.partition,
            "pauseledger.offset": batch.read.records[0].offset,
            "pauseledger.next_offset": batch.read.next_offset,
            "pauseledger.entries": len(batch.verdicts),
        }
        span = self._tracer.start_span("pauseledger.batch", start_time=began_ns, attributes=attributes)
        link = self._api.Link(span.get_span_context())
        for parent, verdict in _traced(batch):
            self._judged(parent, verdict, link, began_ns, ended_ns)
        span.end(ended_ns)

    def _judged(self, parent: Parent, verdict: Verdict, link: Any, began_ns: int, ended_ns: int) -> None:
        flags = self._api.TraceFlags(parent.flags)
        remote = self._api.SpanContext(parent.trace_id, parent.span_id, is_remote=True, trace_flags=flags)
        attributes = {
            "pauseledger.partition": verdict.partition,
            "pauseledger.offset": verdict.offset,
            "pauseledger.type": short_type(verdict.type),
            "pauseledger.verdict": verdict.verdict,
            "pauseledger.code": verdict.code,
        }
        self._tracer.start_span(
            "pauseledger.judge",
            context=self._api.set_span_in_context(self._api.NonRecordingSpan(remote)),
            kind=self._api.SpanKind.CONSUMER,
            attributes=attributes,
            links=[link],
            start_time=began_ns,
        ).end(ended_ns)

    def close(self) -> None:
        """Send what waits to be sent, for some seconds at most."""
        self._provider.force_flush(_TELL_MS)
        self._provider.shutdown()


def _traced(batch: Folded) -> Iterator[tuple[Parent, Verdict]]:
    """The entries that go on with a trace."""
    for record, verdict in zip(batch.read.records, batch.verdicts, strict=True):
        if verdict.verdict == "malformed" or not _may_have_one(record):
            continue
        parent = parent_of(known_event(record).traceparent or "")
        if parent is not None:
            yield parent, verdict


def _may_have_one(record: Record) -> bool:
    return _NAME in (record.value or b"") or any(name == "ce_traceparent" for name, _ in record.headers)


def open_tracing(settings: Settings) -> Tracing | None:
    """Tracing to the collector that OpenTelemetry's own settings name; null where it's off. Raises ``WrongUsage``."""
    if not is_on(settings):
        return None
    try:
        from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
        from opentelemetry.sdk.resources import Resource
        from opentelemetry.sdk.trace import TracerProvider
        from opentelemetry.sdk.trace.export import BatchSpanProcessor
    except ImportError as error:
        raise WrongUsage(f"Tracing needs {error.name}.", "Run: pip install 'pauseledger[tracing]'") from None
    resource = Resource.create({"service.name": os.environ.get("OTEL_SERVICE_NAME") or "pauseledger"})
    provider = TracerProvider(resource=resource, shutdown_on_exit=False)
    provider.add_span_processor(BatchSpanProcessor(OTLPSpanExporter(timeout=_TELL_MS / 1000)))
    return Tracing(provider)
