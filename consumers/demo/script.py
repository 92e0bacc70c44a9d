"""The script: five pieces of work on one day, what is sent of each, and what the ledger must say to it.

A scene is an event file beside this one, under ``day/``, and what people are told of it. A file holds CloudEvents, one
a line, in the order in which they are sent; a line without a ``time`` follows the one before it, at the start of a
file it belongs to the opening at 08:00. ``$LINE.MEMBER`` in a line's data stands for what is known only at run time:
``fence`` or ``entry`` of the verdict on an earlier line of the file (named by its ``id``), or the ``action_digest`` of
the action in it. Results are never written here; what is *promised* is, and the demo fails where it isn't kept.
"""

from __future__ import annotations

from importlib.resources import files
from typing import NamedTuple

from ledger.branch_table import Branch
from ledger.json_text import read_json


class Step(NamedTuple):
    """One line of a scene's file: what people are told of it, and the code that its verdict must have."""

    told: str
    expect: str = "ok"


class Promise(NamedTuple):
    """The decision that a pause must have: the branch and the rule, and what else the scene turns on.

    ``checks`` are the results of freshness, ownership and side effect; ``debt`` says whether an outcome is owed.
    """

    decision: Branch
    rule: str
    checks: tuple[str, str, str]
    debt: bool = False
    obligations: tuple[str, ...] = ()

    def __str__(self) -> str:
        owed = ["a debt"] if self.debt else []
        return f"{self.decision} by {self.rule} ({', '.join([*self.checks, *owed, *self.obligations])})"


class Scene(NamedTuple):
    """A piece of work, the one pause in it, its steps, and the decisions at 12:00 and in the evening."""

    file: str
    title: str
    story: str
    steps: tuple[Step, ...]
    at_noon: Promise
    at_evening: Promise
    moral: str

    def lines(self) -> list[str]:
        """The lines of the scene's file, as they are."""
        text = files("consumers.demo").joinpath("day", f"{self.file}.jsonl").read_text(encoding="utf-8")
        return text.splitlines()

    @property
    def subject(self) -> str:
        """The work item that the file names; a run adds a suffix of its own."""
        return str(read_json(self.lines()[0].encode())["subject"])


STALE = Scene(
    "purchase-order",
    "A plan from the morning, resumed in the afternoon",
    "An agent wants to order bearings, at a price and a stock level of 09:00 that hold until 15:00. "
    "The approver comes back to it at 16:00.",
    (
        Step("Stock of a bearing runs low."),
        Step("The agent plans an order, and pauses: it needs an approval. The plan holds until 15:00."),
        Step("The purchasing lead presses 'resume', an hour too late.", "decision-review"),
    ),
    Promise("resume", "clear", ("fresh", "held", "not_happened")),
    Promise("review", "stale", ("expired", "held", "not_happened")),
    "At 12:00 this would have gone ahead. After 15:00 the same request is refused: nobody may act on the old plan. "
    "A review (review.decided) or a recheck (inputs.rechecked) with a new deadline makes it fresh again.",
)

CLEAR = Scene(
    "refund",
    "Fresh, owned and untouched: granted once, done once",
    "An agent wants to refund EUR 389.90. One lead approves it, two press 'resume', and two workers try to act.",
    (
        Step("A customer sends an order back."),
        Step("The refund agent claims the work item: its execution is the canonical one."),
        Step("It pauses before the refund, which needs an approval of exactly this action."),
        Step("A lead approves the action by its digest."),
        Step("The lead requests the resume. Granted: the fence is this entry's offset."),
        Step("A second lead presses the same button.", "decision-reconcile"),
        Step("Worker 1 is about to act and shows the fence: permission to act, once."),
        Step("Worker 2 shows the same fence.", "stale-fence"),
        Step("Worker 1 saw the refund happen, and says so with its evidence."),
        Step("The pause is closed with its outcome."),
    ),
    Promise("resume", "clear", ("fresh", "held", "not_happened")),
    Promise("closed", "closed", ("fresh", "held", "happened")),
    "One grant, one attempt, one refund. The second request and the second worker stay on the ledger, refused.",
)

UNKNOWN = Scene(
    "payout",
    "A side effect that nobody can prove",
    "A worker is allowed to send a bank transfer, sends it or doesn't, and crashes. Nobody has seen the bank's answer.",
    (
        Step("A seller's weekly payout is due."),
        Step("The agent prepares a bank transfer, and pauses until the bank's cut-off window."),
        Step("The window opens: the timer requests the resume. Granted."),
        Step("The worker gets permission to act. Then its machine dies: no observation follows."),
        Step("The restarted timer wants to send the transfer again.", "decision-reconcile"),
    ),
    Promise("reconcile", "indeterminate", ("fresh", "held", "indeterminate"), debt=True),
    Promise("reconcile", "indeterminate", ("fresh", "held", "indeterminate"), debt=True),
    "Sending it again could pay twice; forgetting it could pay never. So the ledger lets nobody go on, and says who "
    "owes the answer and by when. Ask the bank, and publish side_effect.observed.",
)

TAKEOVER = Scene(
    "cancellation",
    "A person takes over while the agent holds a grant",
    "An agent is about to cancel a contract. The customer calls, and Marta takes the ticket over by hand.",
    (
        Step("A customer asks by mail to cancel a contract."),
        Step("The retention agent claims the work item."),
        Step("It pauses: somebody calls the customer first."),
        Step("Support has called: resume requested, and granted."),
        Step("Marta starts a branch of her own, by hand. From now on two hold the same ticket."),
        Step("The agent wants to act on its grant, which is older than Marta's branch.", "no-longer-clear"),
        Step("Marta claims the work item in the agent's place: its branch ends, terminated."),
        Step("She owes a look at what the agent did: the contract is active, and nothing was cancelled."),
    ),
    Promise(
        "terminate",
        "moved",
        ("fresh", "contested", "indeterminate"),
        debt=True,
        obligations=("reconcile-old-branch",),
    ),
    Promise("closed", "closed", ("fresh", "held", "not_happened")),
    "While two branches hold one ticket, the paused one must end. The grant that was out is no lost secret: whoever "
    "takes over must find out what became of it.",
)

NOISE = Scene(
    "data-export",
    "Resent lines, strangers, and a heart that stops",
    "A worker keeps an export alive by heartbeats. Its network is bad, another worker is set up wrong, and then it "
    "hangs.",
    (
        Step("A customer asks for an export of their invoices."),
        Step("The worker pauses before the upload. Without a heartbeat for 4 hours its owner counts as lapsed."),
        Step("Worker 1 sends a heartbeat."),
        Step("It got no answer, and sends the same line again.", "duplicate"),
        Step("Worker 8, which has nothing to do with it, sends a heartbeat for this pause.", "not-owner"),
        Step("A line of a logger gets into the stream. It is kept, and counts for nothing.", "not-cloudevent"),
        Step("Worker 1 comes back: an hour after its time had run out.", "lapsed"),
    ),
    Promise("resume", "clear", ("fresh", "held", "not_happened")),
    Promise("review", "unowned", ("fresh", "lapsed", "not_happened")),
    "Whatever arrives gets a verdict, and only what is accepted changes anything. After 4 hours of silence nobody can "
    "say who holds the files: a person must look.",
)

SCENES = (STALE, CLEAR, UNKNOWN, TAKEOVER, NOISE)
