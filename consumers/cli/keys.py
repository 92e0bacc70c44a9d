"""``pauseledger keys new``, ``show`` and ``rotate``: the notary's keys, of which only public halves are printed."""

from __future__ import annotations

from typing import Annotated

import typer

from consumers.cli.options import AsJson, copy_out, print_json, say
from consumers.settings import Settings
from ledger.errors import WrongUsage

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
    say(f"The private keys are in {keys.folder}: keep a copy of that folder in a safe place.", err=True)


@keys_app.command("show")
def show(
    rotations: Annotated[
        bool, typer.Option("--rotations", help="Print the notes in which each key signed the one after it.")
    ] = False,
    as_json: AsJson = False,
) -> None:
    """Print the public key, which verifiers are given; on stderr those before it, and the witnesses'."""
    from consumers.evidence import exporters_keys
    from consumers.evidence import keys as folder

    place = Settings.read().keys
    if exporters_keys.is_exporters(place):
        if rotations:
            raise WrongUsage("The notes of rotations are in the notary's folder.", "Ask its owner for them.")
        _print(str(exporters_keys.read_public_key(place)), as_json)
        return
    keys = folder.open_keys(place)
    if rotations:
        copy_out("\n".join(folder.rotations(keys.folder)))
        return
    _print(str(keys.verifier), as_json)
    for what, others in (("Earlier", keys.earlier), ("Witness", keys.witnesses)):
        for key in others:
            say(f"{what}: {key}", err=True)


@keys_app.command("rotate")
def rotate(as_json: AsJson = False) -> None:
    """Make a new key, which the old one signs; the old private key is gone then. The name and the tag key stay."""
    from consumers.evidence.keys import rotate_keys

    keys = rotate_keys(Settings.read().keys)
    _print(str(keys.verifier), as_json)
    say("Give it to all who verify, with the note in which the old key signed it: keys show --rotations.", err=True)
    say(
        "Have it sign what stands: pauseledger checkpoint; a notary that runs does so by itself. Until then nothing is "
        "exported. Put it into notary.vkey wherever exporters have the old one.",
        err=True,
    )


def _print(vkey: str, as_json: bool) -> None:
    if as_json:
        print_json({"vkey": vkey})
    else:
        say(vkey)
