"""Terms of every pause that the operator has set: a model may leave them out or repeat them, and nothing else.

Who owns a pause, who may resume it and how long its plan is fresh is not a model's to say where somebody has said it.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Self

from pydantic import ValidationError

from consumers.mcp.arguments import Arguments, OpenPause, Recheck, Review
from ledger.errors import WrongUsage
from ledger.json_text import read_json
from ledger.times import parse_duration

_SETTING = "PAUSELEDGER_MCP_TERMS"
_THE_MODELS = frozenset({"work_item", "execution", "interrupt", "checkpoint", "action"})
"""What only the model can know of a pause."""
_NAMES = frozenset(OpenPause.model_fields) - _THE_MODELS
_DURATIONS = frozenset({"fresh_for", "heartbeat_timeout", "reconcile_within"})


class Terms:
    """What ``PAUSELEDGER_MCP_TERMS`` says, checked."""

    def __init__(self, forced: Mapping[str, Any]) -> None:
        self._forced = forced

    @classmethod
    def of(cls, text: str) -> Self:
        """From the setting: a JSON object, or nothing. Raises ``WrongUsage``."""
        if not text.strip():
            return cls({})
        try:
            given = read_json(text.encode())
        except ValueError:
            given = None
        if not isinstance(given, dict):
            raise WrongUsage(
                f"{_SETTING} is no JSON object.", 'Set it like {"owner": "user:anna", "fresh_for": "PT15M"}.'
            )
        if unknown := sorted(given.keys() - _NAMES):
            advice = f"Terms are: {', '.join(sorted(_NAMES))}."
            raise WrongUsage(f"{_SETTING}: {unknown[0]!r} is no term of a pause.", advice)
        try:
            checked = OpenPause(work_item="-", execution="-", interrupt="-", **given)
        except ValidationError as error:
            first = error.errors(include_url=False, include_input=False, include_context=False)[0]
            raise WrongUsage(f"{_SETTING}: {first['loc'][0]}: {first['msg']}.", "See docs/runtimes/mcp.md.") from None
        return cls(checked.model_dump(include=set(given), exclude_none=True))

    @property
    def names(self) -> tuple[str, ...]:
        return tuple(self._forced)

    def on(self, args: Arguments) -> Arguments:
        """The arguments as they count: with the operator's terms. Raises ``WrongUsage`` for any that differs.

        However long a plan may be fresh is theirs in a recheck and a review, too.
        """
        if isinstance(args, Recheck | Review):
            forced = {name: value for name, value in self._forced.items() if name == "fresh_for"}
        else:
            forced = dict(self._forced) if isinstance(args, OpenPause) else {}
        for name, value in forced.items():
            given = getattr(args, name)
            if given is not None and not _same(name, given, value):
                said = ", ".join(value) if isinstance(value, tuple) else value
                problem = f"{name} is set by the operator of this server: {said}."
                raise WrongUsage(problem, "Nothing was done. Leave it out, or say the same.")
        return args.model_copy(update=forced) if isinstance(args, OpenPause) else args


def _same(name: str, given: Any, forced: Any) -> bool:
    if name in _DURATIONS:
        return parse_duration(given) == parse_duration(forced)
    return bool(given == forced)
