"""``pauseledger checkpoint`` and ``prove``: how far the log was, signed, and proofs of what is in it."""

from __future__ import annotations

import re
from base64 import b64encode
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from consumers.cli.options import AsJson, LogUrl, copy_out, counting, print_json, say
from consumers.cli.words import counted
from consumers.settings import Settings
from ledger.errors import WrongUsage
from ledger.times import format_instant

if TYPE_CHECKING:
    from consumers.evidence.journal import Signed
    from consumers.evidence.notary import Notary

Partition = Annotated[
    int | None, typer.Option("--partition", min=0, metavar="P", help="Only this partition. All unless told.")
]
_ENTRY = re.compile(r"(?P<partition>0|[1-9][0-9]{0,9}):(?P<offset>0|[1-9][0-9]{0,18})\Z")

prove_app = typer.Typer(help="Proofs that foreign tools verify.", no_args_is_help=True)


def checkpoint(
    partition: Partition = None,
    recheck: Annotated[
        bool, typer.Option("--recheck", help="First hash the log again from its start: it must be what was signed.")
    ] = False,
    cosigned: Annotated[
        Path | None,
        typer.Option("--cosigned", metavar="FILE", help="Add a witness's signature to a checkpoint, and sign nothing."),
    ] = None,
    as_json: AsJson = False,
    log: LogUrl = None,
) -> None:
    """Bring the trees up to the log's end and sign them. Refuses where the log is not the one that was signed."""
    from consumers.evidence.notary import open_notary

    with open_notary(Settings.read(log)) as notary:
        if cosigned is not None:
            signed = _cosigned(notary, cosigned)
        else:
            chosen = range(notary.identity.partitions) if partition is None else [partition]
            for one in chosen if recheck else ():
                _recheck(notary, one)
            signed = {one: _signed(notary, one) for one in chosen}
        if as_json:
            print_json([_told(one, found) for one, found in signed.items()])
            return
        for found in signed.values():
            _show(notary, found)


def _recheck(notary: Notary, partition: int) -> None:
    from consumers.evidence.recheck import recheck

    notary.origin_of(partition)
    with counting(f"entries of partition {partition} hashed again", notary.log.bounds(partition)[1]) as count_on:
        found = recheck(notary, partition, count_on)
    written = f"{counted(found.mended, 'tile was', 'tiles were')} written anew"
    roots = counted(found.checkpoints, "signed root")
    again = f"{counted(found.offsets, 'offset')} hashed again, and {roots} came out"
    mended = f"; {written}" if found.mended else ""
    say(f"Partition {partition}: {again}{mended}.", err=True)


def _signed(notary: Notary, partition: int) -> Signed:
    with counting(f"entries of partition {partition} hashed") as count_on:
        found = notary.checkpoint(partition, count_on)
    if found.no_record:
        say(
            f"Partition {partition}: {counted(found.no_record, 'offset holds', 'offsets hold')} no readable record.",
            err=True,
        )
    return found


def _cosigned(notary: Notary, file: Path) -> dict[int, Signed]:
    from consumers.evidence.witnesses import add_cosignatures

    try:
        data = file.read_bytes()
    except OSError as error:
        raise WrongUsage(f"{file} can't be read: {error.strerror}.") from None
    partition, signed = add_cosignatures(notary, data)
    return {partition: signed}


def _told(partition: int, signed: Signed) -> dict[str, Any]:
    at = signed.checkpoint
    return {"partition": partition, "size": at.size, "root": at.root.hex(), "checkpoint": str(signed.note)}


def _show(notary: Notary, signed: Signed) -> None:
    from consumers.evidence.witnesses import witnessed

    copy_out(str(signed.note))
    for one in witnessed(notary.keys, signed.note):
        at = format_instant(datetime.fromtimestamp(one.at, UTC))
        say(f"Cosigned by {one.name} at {at}.", err=True)


@prove_app.command("inclusion")
def inclusion(
    entry: Annotated[str, typer.Option("--entry", metavar="P:O", help="The entry: partition and offset.")],
    as_json: AsJson = False,
    log: LogUrl = None,
) -> None:
    """Prove that an entry is in the newest checkpoint: as c2sp.org/tlog-proof, or as JSON with the entry's leaf."""
    from consumers.evidence.proving import provable, prove_inclusion
    from ledger.evidence.proofs import inclusion_text

    match = _ENTRY.match(entry)
    if not match:
        raise WrongUsage(f"{entry!r} is no entry.", "Give its partition and its offset, such as 0:17.")
    with provable(Settings.read(log), int(match["partition"])) as tree:
        found = prove_inclusion(tree, int(match["offset"]))
    note = str(found.note)
    if not as_json:
        copy_out(inclusion_text(found.leaf_index, found.hashes, note))
        return
    print_json(
        {
            "index": found.leaf_index,
            "tree_size": found.checkpoint.size,
            "hashes": [one.hex() for one in found.hashes],
            "leaf": b64encode(found.leaf).decode(),
            "checkpoint": note,
        }
    )


@prove_app.command("consistency")
def consistency(
    partition: Annotated[int, typer.Option("--partition", min=0, metavar="P", help="The partition.")],
    old_size: Annotated[int, typer.Option("--from", min=1, metavar="N", help="The size of an earlier checkpoint.")],
    as_json: AsJson = False,
    log: LogUrl = None,
) -> None:
    """Prove that the newest checkpoint begins with an earlier one."""
    from consumers.evidence.notary import open_notary
    from consumers.evidence.proving import prove_consistency

    with open_notary(Settings.read(log), announces=False) as notary:
        found = prove_consistency(notary, partition, old_size)
    old, new = found.old, found.new
    hashes = [one.hex() for one in found.hashes]
    if not as_json:
        say(f"The tree of {new.checkpoint.size} leaves begins with that of {old.checkpoint.size}. Proof:")
        for one in hashes:
            say(one)
        copy_out(f"\n{old.note}\n{new.note}")
        return
    sizes = {"old_size": old.checkpoint.size, "new_size": new.checkpoint.size}
    notes = {"old_checkpoint": str(old.note), "new_checkpoint": str(new.note)}
    print_json({**sizes, "hashes": hashes, **notes})
