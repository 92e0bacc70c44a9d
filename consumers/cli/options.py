"""Options that several commands share, and what they mean."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import datetime
from typing import TYPE_CHECKING, Annotated, Any, TextIO, cast

import typer

from ledger.errors import WrongUsage
from ledger.evidence.visible import as_text
from ledger.json_text import write_json
from ledger.times import parse_instant

if TYPE_CHECKING:  # what draws on terminals is imported when there is something to draw: scripts don't wait for it
    from rich.console import Console

LogUrl = Annotated[
    str | None,
    typer.Option(
        "--log",
        metavar="URL",
        help="sqlite:///FILE, kafka://HOST:PORT[,HOST:PORT]/TOPIC or kafka+confluent://…, the same through librdkafka."
        " Else PAUSELEDGER_LOG, else sqlite:///pauseledger.db.",
    ),
]
IndexUrl = Annotated[
    str | None,
    typer.Option(
        "--index",
        metavar="URL",
        help="sqlite:///FILE or postgresql://USER@HOST/DATABASE (docs/operations.md). Else PAUSELEDGER_INDEX, else the"
        " log's own file, beside a Kafka log sqlite:///pauseledger.db.",
    ),
]
AsJson = Annotated[bool, typer.Option("--json", help="JSON on stdout and nothing else, for scripts.")]
At = Annotated[
    str | None,
    typer.Option(
        "--at", metavar="TIME", help="Time travel: what the ledger said then. RFC 3339, such as 2026-03-28T12:00:00Z."
    ),
]
Subject = Annotated[str, typer.Argument(metavar="SUBJECT", help="The work item: a ticket, task or order.")]

_WIDEST = 10_000


def console(*, stderr: bool = False) -> Console:
    """A console that is plain where it isn't a terminal; text is never wrapped for a pipe."""
    from consumers.cli.drawing import VisibleConsole

    made = VisibleConsole(stderr=stderr, highlight=False)
    if made.is_terminal:
        return made
    stream = sys.stderr if stderr else sys.stdout
    return VisibleConsole(file=cast(TextIO, _Unpadded(stream)), highlight=False, width=_WIDEST)


class _Unpadded:
    """A stream that drops the blanks with which columns are filled up to the right."""

    def __init__(self, stream: TextIO) -> None:
        self._stream = stream

    def write(self, text: str) -> int:
        return self._stream.write("\n".join(line.rstrip(" ") for line in text.split("\n")))

    def __getattr__(self, name: str) -> object:
        return getattr(self._stream, name)


def instant(at: str | None, option: str = "--at") -> datetime | None:
    """The time given with an option. Raises ``WrongUsage``."""
    if at is None:
        return None
    try:
        return parse_instant(at)
    except ValueError as error:
        raise WrongUsage(
            f"{option} {at} is {error}.", "Give a time with its offset, such as 2026-03-28T12:00:00Z."
        ) from None


def say(text: str, *, err: bool = False) -> None:
    """One line for people. Whatever others wrote in it stays in that line, and is visible."""
    typer.echo(as_text(text), err=err)


def copy_out(text: str, *, err: bool = False) -> None:
    """A signed note, a proof or an entry for a file, to the byte as it must be stored."""
    typer.echo(text, nl=False, err=err)


def print_json(value: Any) -> None:
    """One JSON text on stdout, for scripts."""
    typer.echo(write_json(value).decode())


@contextmanager
def counting(what: str, total: int | None = None) -> Iterator[Callable[[int], None]]:
    """A progress line on stderr, on a terminal only: what is counted, how many, how long. Gives what counts on."""
    if not sys.stderr.isatty():
        yield lambda _: None
        return
    from rich.progress import BarColumn, Progress, SpinnerColumn, TextColumn, TimeElapsedColumn

    columns = [SpinnerColumn(), TextColumn("{task.description}"), TextColumn("{task.completed:,.0f}")]
    bar = [BarColumn(), TextColumn("of {task.total:,.0f}")] if total else []
    err = console(stderr=True)
    shown = Progress(*columns, *bar, TimeElapsedColumn(), console=err, transient=True, disable=not err.is_terminal)
    with shown as progress:
        task = progress.add_task(what, total=total)
        yield lambda count: progress.advance(task, count)
