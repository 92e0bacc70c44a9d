"""``pauseledger verify``: whether a bundle holds, offline.

It imports the pure rules and the crypto, and nothing else.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from consumers.cli.ending import run_to_end, say_at_once
from consumers.cli.options import AsJson, counting
from ledger.errors import WrongUsage
from ledger.evidence.visible import as_text
from ledger.json_text import write_json

if TYPE_CHECKING:  # what verifies is imported when there is something to verify: other commands don't wait for it
    from ledger.evidence.failures import Failure
    from ledger.evidence.notes import Checkpoint, VerifierKey
    from ledger.evidence.verify import Trusted, Verified

_LONGEST = 1_000_000
Bundle = Annotated[Path, typer.Argument(metavar="PATH", help="The bundle: a folder, or a zip file.")]
KeyOption = Annotated[
    list[str],
    typer.Option(
        "--key",
        metavar="VKEY",
        help="The ledger's public key, NAME+ID+KEY, or a file with it; not from the bundle."
        " After a rotation the newest, and those before it: one of them must have signed all checkpoints.",
    ),
]
Since = Annotated[
    list[Path] | None,
    typer.Option("--since", metavar="FILE", help="A checkpoint that you got earlier. One a partition."),
]


Witness = Annotated[
    list[str] | None,
    typer.Option("--witness", metavar="VKEY", help="The key of a witness that must have cosigned. Repeatable."),
]


def verify(path: Bundle, key: KeyOption, since: Since = None, witness: Witness = None, as_json: AsJson = False) -> None:
    """Verify an export: that nothing in it was changed, withheld or added, and each verdict and decision again.

    No network, no log, no index. Exit code 0 only when everything holds, 1 when the bundle is refused.
    """
    from ledger.evidence.verify import Trusted

    keys = [_key("--key", one, path) for one in key]
    earlier = [_checkpoint(one, keys) for one in since or []]
    if len({one.origin for one in earlier}) < len(earlier):
        raise WrongUsage("Two earlier checkpoints are of one partition.", "Give one of each.")
    witnesses = [_key("--witness", one, path) for one in witness or []]
    found = _guarded(path, Trusted(keys[0], earlier, witnesses, keys[1:]))
    said = write_json(found.as_dict()).decode() if as_json else "\n".join(map(as_text, _shown(path, found)))
    say_at_once(f"{said}\n")
    if not found.ok:
        raise typer.Exit(1)


def _guarded(path: Path, trusted: Trusted) -> Verified:
    """Whatever a bundle makes the verifier do, it is never taken for sound."""
    from ledger.evidence import verify as verifier
    from ledger.evidence.failures import Failure

    try:
        with counting("entries judged") as count_on:
            return verifier.verify(path, trusted, count_on)
    except OSError as error:
        raise WrongUsage(f"{path} can't be opened: {error.strerror}.", "Name a bundle.") from None
    except Exception as error:
        detail = f"the verifier could not make sense of it ({type(error).__name__}): please report that"
        return verifier.Verified(False, 0, 0, [], [], [Failure("malformed", None, detail)])


def _key(option: str, given: str, bundle: Path) -> VerifierKey:
    from ledger.evidence.notes import ROTATION, BadNote, read_verifier_key

    if not given.strip():
        raise WrongUsage(f"{option} is empty: give NAME+ID+KEY.")
    try:
        return read_verifier_key(given)
    except BadNote as error:
        problem = error
    path = Path(given)
    try:
        if path.resolve().is_relative_to(bundle.resolve()):
            raise WrongUsage("That key is the bundle's own: it proves nothing.", "Get the key from the ledger's owner.")
        text = _text(path)
        if text.startswith(ROTATION):
            raise WrongUsage(f"{option} {given} is a rotation note.", "Give the key in its line 3, NAME+ID+KEY.")
        return read_verifier_key(text)
    except FileNotFoundError:
        raise WrongUsage(f"{option}: {problem}, and there is no such file.", "Give NAME+ID+KEY.") from None
    except OSError as error:
        raise WrongUsage(f"{option} {given} can't be read: {error.strerror}.") from None
    except (BadNote, UnicodeDecodeError, ValueError) as error:
        raise WrongUsage(f"{option} {given} has no verifier key: {error}.", "Give NAME+ID+KEY.") from None


def _text(path: Path) -> str:
    with path.open("rb") as file:
        return file.read(_LONGEST).decode()


def _checkpoint(path: Path, keys: Sequence[VerifierKey]) -> Checkpoint:
    """An earlier checkpoint, which one of the given keys signed."""
    from ledger.evidence.notes import BadNote
    from ledger.evidence.signatures import signed_checkpoint

    try:
        data = _text(path).encode()
    except OSError as error:
        raise WrongUsage(f"--since {path} can't be read: {error.strerror}.") from None
    except UnicodeDecodeError:
        raise WrongUsage(f"--since {path} is no checkpoint.") from None
    problem = BadNote("no key was given")
    for key in keys:
        try:
            checkpoint = signed_checkpoint(data, key)
            if checkpoint.place()[0] == key.name:
                return checkpoint
            problem = BadNote(f"it is of {checkpoint.origin!r}, and the key is that of {key.name}")
        except BadNote as error:
            problem = error
    raise WrongUsage(f"--since {path}: {problem}.", "Give a checkpoint of this ledger, and the key that signed it.")


def _shown(path: Path, found: Verified) -> Iterator[str]:
    if found.ok:
        yield f"{path} holds."
        yield from _listed("Proven:", found.proven)
        yield from _listed("Not proven:", found.not_proven)
        return
    first = found.failures[0]
    place = "" if first.entry is None else f" The first entry at fault is {first.entry}."
    yield f"{path} is REFUSED: {first.kind}.{place}"
    yield from _listed("What does not hold:", [_said(one) for one in found.failures])
    yield "A refused bundle proves nothing."


def _said(failure: Failure) -> str:
    place = "" if failure.entry is None else f" {failure.entry}"
    return f"{failure.kind}{place}: {failure.detail}"


def _listed(title: str, sentences: Sequence[str]) -> Iterator[str]:
    yield title
    yield from (f"  - {sentence}" for sentence in sentences)


_alone = typer.Typer(name="pauseledger", add_completion=False, pretty_exceptions_enable=False, rich_markup_mode=None)
_alone.command("verify")(verify)


@_alone.callback()
def _only() -> None:
    """The audit ledger that decides whether a paused AI agent may go on."""


def main() -> None:
    """Run this command, and no other."""
    run_to_end(_alone)
