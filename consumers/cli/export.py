"""``pauseledger export``: evidence that proves itself, for whoever does not trust us."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from consumers.cli.options import AsJson, LogUrl, counting, instant, print_json, say
from consumers.settings import Settings
from ledger.errors import WrongUsage

if TYPE_CHECKING:  # other commands don't wait for what makes a bundle
    from ledger.evidence.bundle import Format, Manifest, Query

Names = Annotated[
    list[str] | None, typer.Option("--subject", metavar="S", help="A work item, with its whole history. Repeatable.")
]
Out = Annotated[Path, typer.Option("--out", metavar="PATH", help="A folder that isn't there yet, or a file NAME.zip.")]
Partitions = Annotated[
    list[int] | None, typer.Option("--partition", min=0, metavar="P", help="With --all: this partition. Repeatable.")
]
When = Annotated[str | None, typer.Option(metavar="TIME", help="Work items with an entry recorded from then on.")]
Before = Annotated[str | None, typer.Option(metavar="TIME", help="Work items with an entry recorded before then.")]
Until = Annotated[
    str | None,
    typer.Option(
        "--until",
        metavar="TIME",
        help="What had happened by then, and of each work item the first later record, not judged: it shows that none"
        " before it is missing. Else all that is signed.",
    ),
]
Ours = Annotated[str | None, typer.Option("--owner", metavar="NAME", help="Work items of which NAME owns a run.")]
Ruled = Annotated[
    str | None,
    typer.Option("--verdict", metavar="V", help="Work items with an entry of this verdict or code."),
]


def export(
    out: Out,
    subject: Names = None,
    all_: Annotated[bool, typer.Option("--all", help="Everything under the checkpoints.")] = False,
    owner: Ours = None,
    verdict: Ruled = None,
    active_from: When = None,
    active_to: Before = None,
    until: Until = None,
    partition: Partitions = None,
    csv: Annotated[bool, typer.Option("--csv", help="Tables for spreadsheets, too.")] = False,
    parquet: Annotated[bool, typer.Option("--parquet", help="The same tables as Parquet, too.")] = False,
    ocsf: Annotated[bool, typer.Option("--ocsf", help="The entries as OCSF events for a SIEM, too.")] = False,
    as_json: AsJson = False,
    log: LogUrl = None,
) -> None:
    """Export work items, or all, as a bundle that anybody verifies offline: pauseledger verify.

    It goes as far as the newest checkpoints. By owner, verdict or time whole work items are chosen.
    """
    from consumers.evidence.export import export as exported

    wanted: dict[Format, bool] = {"csv": csv, "ocsf": ocsf, "parquet": parquet}
    query = _query(
        all=all_,
        subjects=tuple(sorted({_subject(one) for one in subject or []})),
        partitions=tuple(sorted(set(partition or []))),
        owner=owner,
        verdict=verdict,
        active_from=_time("--active-from", active_from),
        active_to=_time("--active-to", active_to),
        until=_time("--until", until),
        formats=tuple(name for name, asked in wanted.items() if asked),
    )
    absent: list[str] = []
    with _progress() as progress:
        manifest = exported(Settings.read(log), query, out, progress, absent.append)
    if as_json:
        print_json(manifest.as_dict())
    else:
        _show(out, manifest, absent)


def _query(**members: Any) -> Query:
    from pydantic import ValidationError

    from ledger.evidence.bundle import Query

    try:
        return Query(**members)
    except ValidationError as error:
        found = error.errors(include_url=False, include_input=False)[0]
        raise WrongUsage(
            f"{'.'.join(map(str, found['loc']))}: {found['msg']}.", "See: pauseledger export --help"
        ) from None


def _subject(given: str) -> str:
    if not 0 < len(given) <= 256 or any(0xD800 <= ord(one) <= 0xDFFF for one in given):
        raise WrongUsage(f"--subject {given!r} is no work item.", "A name has 1 to 256 characters.")
    return given


def _time(option: str, given: str | None) -> str | None:
    """A time as it is written into the query."""
    from ledger.evidence.bundle import written_time

    at = instant(given, option)
    return None if at is None else written_time(at)


@contextmanager
def _progress() -> Iterator[Callable[[int | None], Callable[[int], None]]]:
    with ExitStack() as shown:
        yield lambda total: shown.enter_context(counting("entries read and judged", total))


def _show(out: Path, manifest: Manifest, absent: Sequence[str]) -> None:
    from ledger.evidence.failures import shown
    from ledger.evidence.statements import counted, records

    counts = manifest.counts
    say(
        f"{out}: {records(manifest)}, of {counted(counts.work_items, 'work item')}; "
        f"{counted(counts.verdicts, 'verdict')} and {counted(counts.decisions, 'decision')} "
        f"as of {manifest.as_of or 'the beginning'}."
    )
    for one in manifest.partitions:
        say(f"Under the checkpoint of {one.genesis.origin} with {one.size - 1:,} entries.")
    for name in absent:
        say(f"No entry of {shown(name)} is under the checkpoints: is the name right?", err=True)
    say(f"Verify it offline: pauseledger verify {out} --key VKEY")
