"""What the demo tells people: the day as it passes, then each pause as the ledger holds it, then 12:00 beside now."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from rich.console import Console, RenderableType
from rich.padding import Padding
from rich.table import Table
from rich.text import Text

from consumers.cli.drawing import cell
from consumers.cli.show import BRANCH_STYLES, VERDICT_STYLES, grid, shown
from consumers.cli.words import kind
from consumers.demo.clock import DayClock
from consumers.demo.replay import Decided, Finding, View
from consumers.demo.sending import Sent
from ledger.times import format_instant

WIDTH = 100
_ACTORS_WIDTH = 96
_MEANINGS = {
    "resume": "go on, by a grant that is given once",
    "review": "somebody must look at it again first",
    "reconcile": "find out first whether it happened",
    "settle": "it happened already: close it, don't do it again",
    "terminate": "end this branch: somebody else has the work",
}
_CHECKS = (("freshness", "freshness"), ("ownership", "ownership"), ("side_effect", "side effect"))
_DURATIONS = ("heartbeat_timeout", "reconcile_within")
_PACKET = (
    "execution",
    "trigger",
    "pending_action",
    "owner",
    "resume_authority",
    "reviewed",
    "fresh_until",
    "heartbeat_timeout",
    "side_effect",
    "reconcile_within",
    "grant",
    "fence",
    "recheck",
    "no_resume_condition",
    "stop_signals",
)


class Show:
    """Prints the demo, at most :data:`WIDTH` columns wide; ``quiet`` leaves only what went wrong."""

    def __init__(self, console: Console, *, quiet: bool = False) -> None:
        self._console = console
        self._quiet = quiet
        self._width = min(console.width, WIDTH)
        self._hour = ""

    def _print(self, *parts: RenderableType) -> None:
        for part in parts:
            self._console.print(part, width=self._width, highlight=False)

    def _heading(self, text: str) -> None:
        self._print("", cell(f"-- {text} ".ljust(self._width, "-"), style="bold", overflow="fold"), "")

    # -- the day ------------------------------------------------------------------------------------

    def opening(self, log_url: str) -> None:
        if self._quiet:
            return
        self._print(
            cell("Five agents pause before they act. May they go on? The ledger decides.", style="bold"),
            cell(
                "Agents, workers and people publish what they do or want to do, each line a CloudEvent. The ledger "
                f"({log_url}) gives every line a verdict. A day passes in nine seconds, an hour a second; all times "
                "below are the day's. The work items get a suffix of this run, so that it can be repeated."
            ),
            "",
            cell("Its answers for a paused action:"),
            Padding(_answers(), (0, 0, 0, 2)),
        )
        self._heading("The day")

    def step(self, sent: Sent, clock: DayClock | None) -> None:
        """One line of the script: when, what, its verdict; what it means, and the reason of a refusal."""
        if self._quiet:
            return
        cue, answer = sent.cue, sent.answer
        hour = f"{cue.day_time:%H:%M}"
        if self._hour < "12:00" < hour:
            self._print(cell("12:00  Noon. We come back to this moment at the end.", style="bold"))
        head = grid("bold", "", "dim", "")
        for column, width in zip(head.columns, (5, 9, 21), strict=False):
            column.min_width = width
        head.add_row(
            hour if hour != self._hour else "",
            cue.scene.subject,
            _named(cue.line.get("type")),
            cell("not sent", style="red") if answer is None else _verdict(answer.verdict, answer.code),
        )
        self._hour = hour
        self._print(head, self._indented(cell(cue.step.told)))
        if answer is not None and (note := _note(answer.as_dict(), clock)):
            self._print(self._indented(cell(note, style="dim")))
        if sent.surprise is not None:
            self._print(self._indented(cell(f"Not as promised: {cue.step.expect}.", style="bold red")))

    def _indented(self, text: Text) -> Padding:
        return Padding(text, (0, 0, 0, 7))

    # -- the replay ---------------------------------------------------------------------------------

    def findings(self, findings: Sequence[Finding], clock: DayClock) -> None:
        if self._quiet:
            return
        for number, finding in enumerate(findings, 1):
            self._scene(number, finding, clock)
        self._heading("Back to 12:00: what the ledger would have said then, from the same log")
        self._time_travel(findings, clock)
        self._heading("The day in one table")
        self._table(findings, clock)

    def _scene(self, number: int, finding: Finding, clock: DayClock) -> None:
        self._heading(f"{number} of 5: {finding.scene.title}")
        self._print(cell(finding.scene.story), "")
        view = finding.evening
        if view.decision is None or view.packet is None:
            self._print(cell(f"{finding.subject} has no pause on this ledger.", style="red"))
            return
        self._print(_headline(view.decision, clock), _evidence(view.decision, clock), "")
        self._print(cell(f"The packet of this pause, rebuilt from {view.entries} entries:"))
        self._print(Padding(_packet(view.packet, clock), (0, 0, 0, 2)), "")
        self._print(cell(f"The trail of {finding.subject}:"))
        self._print(Padding(_trail(finding.trail, clock, actors=self._width >= _ACTORS_WIDTH), (0, 0, 0, 2)), "")
        self._print(cell(finding.scene.moral, style="italic"))

    def _time_travel(self, findings: Sequence[Finding], clock: DayClock) -> None:
        table = Table(box=None, padding=(0, 2, 0, 0), header_style="bold")
        for name in ("", "at 12:00", "at 17:00"):
            table.add_column(name, overflow="fold")
        for number, finding in enumerate(findings):
            if number:
                table.add_row()
            table.add_row(cell(finding.scene.subject, style="bold"), *(_decided(v) for v in _views(finding)))
            for label, *cells in _compared(finding, clock):
                table.add_row(cell(label, style="dim"), *cells)
        self._print(table)

    def _table(self, findings: Sequence[Finding], clock: DayClock) -> None:
        table = Table(box=None, padding=(0, 2, 0, 0), header_style="bold")
        for name in ("work item", "pause", "at 12:00", "at the end", "why"):
            table.add_column(name, overflow="fold")
        table.columns[0].no_wrap = table.columns[2].no_wrap = table.columns[3].no_wrap = True
        for one in findings:
            now = one.evening.decision
            pause = "-" if now is None else str(now["pause"]).rpartition("/")[2]
            why = "-" if now is None else clock.told(now["reason"])
            table.add_row(one.subject, pause, _decided(one.noon), _decided(one.evening), why)
        self._print(table)

    # -- the end ------------------------------------------------------------------------------------

    def closing(self, findings: Sequence[Finding], surprises: Sequence[str], options: str) -> None:
        for text in surprises:
            self._print(cell(f"Not as promised: {text}", style="bold red"))
        if self._quiet:
            return
        self._print("")
        if not surprises:
            self._print(cell("Every verdict and every decision was what the script promises.", style="green"))
        stale, payout = findings[0], findings[2].subject
        self._print(cell("Try next:", style="bold"))
        for what, command in (
            ("what the ledger says of it now", f"pauseledger decision {stale.subject} {options}"),
            (
                "and what it said at 12:00",
                f"pauseledger decision {stale.subject} {options} --at {format_instant(stale.noon.as_of)}",
            ),
            ("every entry, with its verdict", f"pauseledger trail {payout} {options}"),
            ("the same on a broker", "pauseledger demo --log kafka://HOST:PORT/TOPIC"),
        ):
            self._print(cell(f"  # {what}", style="dim"))
            self._console.print(cell(f"  {command}"), soft_wrap=True)


def _answers() -> Table:
    table = grid("", "")
    for branch, meaning in _MEANINGS.items():
        table.add_row(cell(branch, style=BRANCH_STYLES[branch]), meaning)
    return table


def _views(finding: Finding) -> tuple[View, View]:
    return finding.noon, finding.evening


def _named(name: str | None) -> str:
    return "(no event)" if name is None else kind(name)


def _verdict(verdict: str, code: str) -> Text:
    return cell(verdict if code in ("ok", verdict) else f"{verdict} {code}", style=VERDICT_STYLES[verdict])


def _note(verdict: Mapping[str, Any], clock: DayClock | None) -> str:
    """The fence of a permission, or why there is none."""
    if verdict["verdict"] != "accepted":
        note = verdict["reason"]
    elif "valid_until" in verdict:
        note = f"Fence {verdict['fence']} counts; act before {verdict['valid_until']}."
    else:
        note = f"Fence {verdict['fence']}." if "fence" in verdict else ""
    return note if clock is None else clock.told(note)


def _branch(decision: Decided) -> Text:
    return cell(decision["decision"], style=BRANCH_STYLES[decision["decision"]])


def _decided(view: View) -> Text:
    """The branch; of a closed pause also how it ended."""
    if view.decision is None or view.packet is None:
        return cell("-", style="dim")
    ending = f": {view.packet['outcome']}" if view.packet["outcome"] else ""
    return _branch(view.decision) + cell(ending)


def _headline(decision: Decided, clock: DayClock) -> Text:
    text = _branch(decision)
    return text + cell(f"  {clock.told(decision['reason'])}", "not bold default")


def _evidence(decision: Decided, clock: DayClock) -> Padding:
    """The three checks with the entries that prove them, then what is owed."""
    table = grid("dim", "", "dim")
    for name, label in _CHECKS:
        check = decision["checks"][name]
        table.add_row(label, check["result"], "proven by " + ", ".join(check["entries"]) if check["entries"] else "")
    for label, value in _owed(decision, clock):
        table.add_row(label, value)
    return Padding(table, (0, 0, 0, 2))


def _owed(decision: Decided, clock: DayClock) -> Iterable[tuple[str, str]]:
    if debt := decision["debt"]:
        due = "" if debt["due"] is None else f", due {debt['due']}"
        late = "" if debt["due"] is None or debt["due"] > decision["as_of"] else " (overdue)"
        yield "debt", clock.told(f"{debt['owner']}, since {debt['since']}{due}{late}")
    if decision["obligations"]:
        yield "obligations", ", ".join(decision["obligations"])
    if decision["valid_until"]:
        yield "holds until", clock.told(decision["valid_until"])


def _packet(packet: Mapping[str, Any], clock: DayClock) -> Table:
    table = grid("dim", "")
    for name in _PACKET:
        value = packet[name]
        if value in (None, [], {}):
            continue
        if name == "pending_action":
            text = f"{value['name']} at {value['target']}, key {value['idempotency_key']}"
        else:
            text = clock.told_duration(value) if name in _DURATIONS else clock.told(shown(value))
        table.add_row(name.replace("_", " "), text)
    return table


def _trail(lines: Iterable[Mapping[str, Any]], clock: DayClock, *, actors: bool) -> Table:
    """Every entry, a line each; who it was only where there is room."""
    table = grid("dim", "dim", "", "", "dim")
    for line in lines:
        table.add_row(
            f"{line['partition']}:{line['offset']}",
            clock.told(line["recorded_at"]),
            _named(line["type"]),
            _verdict(line["verdict"], line["code"]) + cell(f", fence {line['fence']}" if "fence" in line else ""),
            (line["event"] or {}).get("actor", "") if actors else "",
        )
    return table


def _compared(finding: Finding, clock: DayClock) -> Iterable[tuple[str, str, str]]:
    """Why each is as it is, and what tells the two views apart, label by label."""
    noon, evening = (_told(view, clock) for view in _views(finding))
    for label in dict.fromkeys([*noon, *evening]):
        if label == "why" or noon.get(label) != evening.get(label):
            yield label, noon.get(label, "-"), evening.get(label, "-")


def _told(view: View, clock: DayClock) -> dict[str, str]:
    told = {"entries": f"{view.entries} replayed"}
    if view.decision is not None:
        told = {"why": clock.told(view.decision["reason"])} | told
        told |= {label: view.decision["checks"][name]["result"] for name, label in _CHECKS}
        told |= dict(_owed(view.decision, clock))
    return told
