"""``pauseledger publish``: CloudEvents from a file or stdin onto the log, and their verdicts in the order read.

It streams: one thread reads and submits, another prints what is answered; what lies between is bounded.
"""

from __future__ import annotations

import queue
import sys
import threading
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import wait
from contextlib import contextmanager
from io import BufferedReader
from pathlib import Path
from typing import Annotated, cast

import typer

from consumers.cli.options import AsJson, IndexUrl, LogUrl, console, counting, say
from consumers.cli.words import verdict_line
from consumers.personal.opening import open_sealing
from consumers.publishing import IndexCourt
from consumers.settings import Settings
from ledger.errors import LedgerError, WrongUsage
from ledger.json_text import write_json
from ledger.parcels import Answers
from ledger.publisher import Publisher
from ledger.record import MOST_RECORD_BYTES
from ledger.sending import Answer, Outcome

_BETWEEN = 8
"""Chunks that wait to be printed."""
_READ_BYTES = 256 * 1024
_PATIENCE_SECONDS = 0.2
_NOT_ACCEPTED = 3
_UNKNOWN = 4

File = Annotated[Path | None, typer.Argument(metavar="[FILE]", help="A CloudEvent in JSON a line; stdin without.")]


def publish(
    file: File = None,
    timeout: Annotated[float, typer.Option("--timeout", min=0.0, help="Seconds to wait for each verdict.")] = 30.0,
    strict: Annotated[bool, typer.Option("--strict", help="Exit with 3 when an event was not accepted.")] = False,
    as_json: AsJson = False,
    log: LogUrl = None,
    index: IndexUrl = None,
) -> None:
    """Record CloudEvents, one JSON a line, and print their verdicts."""
    settings = Settings.read(log, index)
    sealing = open_sealing(settings)
    with _opened(file) as lines:
        ledger = settings.open(create=True)
        with Publisher(
            lambda: IndexCourt(ledger.log, ledger.indexer), sealing=sealing, deadline_seconds=timeout
        ) as publisher:
            printed = _stream(publisher, lines, as_json)
    if not as_json:
        from consumers.cli import show

        show.tally(console(stderr=True), printed)
    if printed["unknown"]:
        problem = (
            f"{printed['unknown']:,} of these events got no verdict within {timeout:g} s: they may or may not be there."
        )
        say(f"pauseledger: {problem} Send the same lines again: what is there counts once.", err=True)
        raise typer.Exit(_UNKNOWN)
    if strict and printed["not accepted"]:
        raise typer.Exit(_NOT_ACCEPTED)


@contextmanager
def _opened(file: Path | None) -> Iterator[BufferedReader]:
    if file is None or str(file) == "-":
        yield cast(BufferedReader, sys.stdin.buffer)
        return
    try:
        stream = file.open("rb")
    except OSError as error:
        raise WrongUsage(
            f"{file} can't be read: {error.strerror}.", "Name a file of CloudEvents, one a line."
        ) from None
    with stream:
        yield stream


def _chunks(stream: BufferedReader) -> Iterator[list[bytes]]:
    """The lines that aren't white space, without their line feed: those together that came together.

    Raises ``WrongUsage`` where one is too long, after all that came before it.
    """
    number, begun = 1, b""
    while came := stream.read1(_READ_BYTES):
        *lines, begun = (begun + came).split(b"\n")
        if lines:
            yield [line for line in lines if line.strip()]
            number += len(lines)
        if len(begun) > MOST_RECORD_BYTES:
            raise WrongUsage(
                f"Line {number} is longer than a record may be ({MOST_RECORD_BYTES} bytes).",
                "What came before it is recorded; record where the large part is kept, and its digest.",
            )
    if begun.strip():
        yield [begun]


def _stream(publisher: Publisher, stream: BufferedReader, as_json: bool) -> Counter[str]:
    """Submit chunk by chunk, while the printer prints; what was printed, by verdict."""
    with counting("published") as count_on:
        printer = _Printer(_json_line if as_json else verdict_line, count_on)
        try:
            for lines in _chunks(stream):
                if not all(printer.put(answers) for answers in _submitted(publisher, lines)):
                    break
        finally:
            printed = printer.finish()
    return printed


def _submitted(publisher: Publisher, lines: Sequence[bytes]) -> Iterator[Answers]:
    """Submit lines together; one by one where one of them can't be, so that those before it are recorded."""
    try:
        together = publisher.submit_all(lines)
    except WrongUsage:
        yield from (publisher.submit_all([line]) for line in lines)
    else:
        yield together


class _Printer:
    """Prints answers in the order submitted, on a thread of its own, as soon as each is there."""

    def __init__(self, line: Callable[[Answer], bytes], advance: Callable[[int], None]) -> None:
        self._line = line
        self._advance = advance
        self._answers: queue.Queue[Answers | None] = queue.Queue(_BETWEEN)
        self._failed: BaseException | None = None
        self.printed: Counter[str] = Counter()
        self._thread = threading.Thread(target=self._run, name="pauseledger-printer", daemon=True)
        self._thread.start()

    def put(self, answers: Answers) -> bool:
        """Take answers to come; false when printing has failed and there is no use in going on."""
        while self._failed is None:
            try:
                self._answers.put(answers, timeout=0.1)
            except queue.Full:
                continue
            return True
        return False

    def finish(self) -> Counter[str]:
        """Print what is left. Raises what made printing, or the publisher, fail."""
        while self._thread.is_alive() and self._failed is None:
            try:
                self._answers.put(None, timeout=0.1)
            except queue.Full:
                continue
            break
        self._thread.join()
        if self._failed is not None:
            raise self._failed
        return self.printed

    def _run(self) -> None:
        try:
            while (answers := self._answers.get()) is not None:
                self._print_as_they_come(answers)
        except Exception as error:  # told by finish()
            self._failed = error

    def _print_as_they_come(self, answers: Answers) -> None:
        """What is there does not wait for long for what isn't."""
        printed, is_last = 0, False
        while not is_last:
            is_last = not wait([answers], timeout=_PATIENCE_SECONDS).not_done
            outcomes = answers.so_far()
            self._print(outcomes[printed:])
            printed = len(outcomes)

    def _print(self, outcomes: Sequence[Outcome]) -> None:
        """Print answers at once, up to the first that is an error, which is raised."""
        answers: list[Answer] = []
        error = None
        for outcome in outcomes:
            if isinstance(outcome, LedgerError):
                error = outcome
                break
            answers.append(outcome)
        sys.stdout.buffer.write(b"".join(map(self._line, answers)))
        sys.stdout.buffer.flush()
        self.printed.update(one.verdict for one in answers)
        self.printed["not accepted"] += sum(one.verdict != "unknown" and not one.accepted for one in answers)
        self._advance(len(answers))
        if error is not None:
            raise error


def _json_line(answer: Answer) -> bytes:
    return write_json(answer.as_dict()) + b"\n"
