"""``pauseledger checkpoint`` and ``prove``: how far the log was, signed, and proofs of what is in it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any

import typer

from consumers.cli.options import AsJson, LogUrl, counting, print_json
from consumers.settings import Settings

if TYPE_CHECKING:
    from consumers.evidence.journal import Signed
    from consumers.evidence.notary import Notary

Partition = Annotated[
    int | None, typer.Option("--partition", min=0, metavar="P", help="Only this partition. All unless told.")
]


def checkpoint(partition: Partition = None, as_json: AsJson = False, log: LogUrl = None) -> None:
    """Bring the trees up to the log's end and sign them. Refuses where the log is not the one that was signed."""
    from consumers.evidence.notary import open_notary

    with open_notary(Settings.read(log)) as notary:
        chosen = range(notary.identity.partitions) if partition is None else [partition]
        signed = {one: _signed(notary, one) for one in chosen}
    if as_json:
        print_json([_told(one, found) for one, found in signed.items()])
        return
    for found in signed.values():
        typer.echo(str(found.note), nl=False)


def _signed(notary: Notary, partition: int) -> Signed:
    with counting(f"entries of partition {partition} hashed") as count_on:
        found = notary.checkpoint(partition, count_on)
    if found.no_record:
        typer.echo(f"Partition {partition}: {found.no_record:,} offsets hold no readable record.", err=True)
    return found


def _told(partition: int, signed: Signed) -> dict[str, Any]:
    at = signed.checkpoint
    return {"partition": partition, "size": at.size, "root": at.root.hex(), "checkpoint": str(signed.note)}
