"""``pauseledger keys new``, ``show`` and ``rotate``: the notary's keys, of which only public halves are printed."""

from __future__ import annotations

from typing import Annotated

import typer

from consumers.cli.options import AsJson, print_json
from consumers.settings import Settings

keys_app = typer.Typer(help="The keys of the notary, who signs how far the log was.", no_args_is_help=True)


@keys_app.command("new")
def new(
    name: Annotated[str, typer.Argument(metavar="NAME", help="The ledger's name, which stands in every checkpoint.")],
    as_json: AsJson = False,
) -> None:
    """Make the notary's key and the tag key, in the folder of PAUSELEDGER_KEYS, and print the public key."""
    from consumers.evidence.keys import new_keys

    keys = new_keys(Settings.read().keys, name)
    _print(str(keys.verifier), as_json)
    typer.echo(f"The private keys are in {keys.folder}: keep a copy of that folder in a safe place.", err=True)


@keys_app.command("show")
def show(as_json: AsJson = False) -> None:
    """Print the public key, which verifiers are given; and those before it, and the witnesses."""
    from consumers.evidence.keys import open_keys, rotations

    keys = open_keys(Settings.read().keys)
    _print(str(keys.verifier), as_json)
    if as_json:
        return
    for key in keys.earlier:
        typer.echo(f"Earlier: {key}")
    for key in keys.witnesses:
        typer.echo(f"Witness: {key}")
    for note in rotations(keys.folder):
        typer.echo(f"\n{note}", nl=False)


@keys_app.command("rotate")
def rotate(as_json: AsJson = False) -> None:
    """Make a new key, which the old one signs; the old private key is gone then. The name and the tag key stay."""
    from consumers.evidence.keys import rotate_keys

    keys = rotate_keys(Settings.read().keys)
    _print(str(keys.verifier), as_json)
    typer.echo("Give it to all who verify, with the note in which the old key signed it: keys show.", err=True)


def _print(vkey: str, as_json: bool) -> None:
    if as_json:
        print_json({"vkey": vkey})
    else:
        typer.echo(vkey)
