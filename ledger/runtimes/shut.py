"""Why a gate stays shut."""

from __future__ import annotations

from typing import Any

from ledger.errors import LedgerError
from ledger.runtimes.advice import Asked, advice, general, reason
from ledger.sending import Answer, Unknown


class Shut(LedgerError):
    """The ledger did not say that this may be done now: so it was not done.

    ``branch`` says what is to be done instead: ``review``, ``reconcile``, ``settle``, ``terminate``, ``closed``;
    ``refused`` where the request itself was wrong (``answer.code`` says how); ``unknown`` where none came in time.
    ``decision`` is the pause's decision then (protocol, section 6), null where it could not be read.
    """

    http_status = 409

    def __init__(
        self,
        branch: str,
        reason: str,
        *,
        answer: Answer | None = None,
        decision: dict[str, Any] | None = None,
        advice: str | None = None,
    ) -> None:
        super().__init__(reason, advice or general(branch))
        self.branch = branch
        self.reason = reason
        self.answer = answer
        self.decision = decision

    @property
    def code(self) -> str:
        """The code of the verdict, or why there is none."""
        return "none" if self.answer is None else self.answer.code

    @property
    def outcome_unknown(self) -> bool:
        """Whether nobody knows what became of the side effect, whatever else is in the way; or nobody could be asked.

        Then nothing may go on as if it had been refused: the effect may have landed.
        """
        if self.branch == "unknown":
            return True
        decision = self.branch if self.decision is None else self.decision["decision"]
        return bool(decision == "reconcile")


def shut(answer: Answer, decision: dict[str, Any] | None, asked: Asked | None = None) -> Shut:
    """The error for an answer that is no permission; what was ``asked`` makes its advice exact."""
    if isinstance(answer, Unknown):
        return Shut("unknown", answer.reason, answer=answer, decision=decision)
    told = answer.counting()
    branch = _branch(told["code"], decision)
    return Shut(
        branch,
        reason(told["code"], told["reason"], asked),
        answer=answer,
        decision=decision,
        advice=advice(branch, told["code"], asked),
    )


def _branch(code: str, decision: dict[str, Any] | None) -> str:
    if code.startswith("decision-"):
        return code.removeprefix("decision-")
    if code == "pause-closed":
        return "closed"
    if code in ("no-longer-clear", "stale-fence") and decision is not None and decision["decision"] != "resume":
        return str(decision["decision"])
    return "refused"
