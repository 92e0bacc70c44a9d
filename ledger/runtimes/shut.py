"""Why a gate stays shut."""

from __future__ import annotations

from typing import Any

from ledger.errors import LedgerError
from ledger.sending import Answer

_ADVICE = {
    "review": "It must be rechecked or reviewed before anybody asks again.",
    "reconcile": "Look whether the side effect has landed, publish what you saw, and ask again.",
    "settle": "Adopt its outcome, close the pause as settled, and never act again.",
    "terminate": "End this branch; the work item's canonical owner goes on.",
    "closed": "Nothing is left to do here.",
    "refused": "Nothing may be done with it as it is.",
    "unknown": "Nothing was done. See that the ledger can be reached, and look at the decision before you ask again.",
}


class Shut(LedgerError):
    """The ledger did not say that this may be done now: so it was not done.

    ``branch`` says what is to be done instead: ``review``, ``reconcile``, ``settle``, ``terminate``, ``closed``;
    ``refused`` where the request itself was wrong (``answer.code`` says how); ``unknown`` where none came in time.
    ``decision`` is the pause's decision then (protocol, section 6), null where it could not be read.
    """

    http_status = 409

    def __init__(
        self, branch: str, reason: str, *, answer: Answer | None = None, decision: dict[str, Any] | None = None
    ) -> None:
        super().__init__(reason, _ADVICE[branch])
        self.branch = branch
        self.reason = reason
        self.answer = answer
        self.decision = decision

    @property
    def code(self) -> str:
        """The code of the verdict, or why there is none."""
        return "none" if self.answer is None else self.answer.code


def shut(answer: Answer, decision: dict[str, Any] | None) -> Shut:
    """The error for an answer that is no permission."""
    if answer.verdict == "unknown":
        return Shut("unknown", answer.reason, answer=answer, decision=decision)
    if answer.code.startswith("decision-"):
        return Shut(answer.code.removeprefix("decision-"), answer.reason, answer=answer, decision=decision)
    if answer.code == "pause-closed":
        return Shut("closed", answer.reason, answer=answer, decision=decision)
    if answer.code in ("no-longer-clear", "stale-fence") and decision is not None and decision["decision"] != "resume":
        return Shut(decision["decision"], answer.reason, answer=answer, decision=decision)
    return Shut("refused", answer.reason, answer=answer, decision=decision)
