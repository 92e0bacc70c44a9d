"""LangGraph on the ledger: ``wired = wire(graph, gate)`` is run as the graph was, and its interrupts are pauses.

1. After each call, and before each answer, every interrupt that waits is told of as a pause: of the thread's present
   execution (see ``langgraph_threads``), its checkpoint, its interrupt id and its action.
2. An answer names its interrupt, ``Command(resume={interrupt.id: answer})``: a plain one would answer whichever waits
   next. It is reviewed and its resume requested before the graph runs: while the gate stays shut the graph is not run,
   and the answer is not stored.
3. The effect is done in ``guarded``, in the node, or by ``LedgerTools``. Past the wiring it stays shut.

A graph within a graph needs no wiring of its own. What it does not handle: an effect outside ``guarded``.
"""

from __future__ import annotations

import asyncio
import logging
import re
from collections.abc import AsyncIterator, Iterable, Iterator, Mapping
from contextlib import suppress
from datetime import datetime
from typing import TYPE_CHECKING, Any

from ledger.errors import LedgerError, NotFound, WrongUsage
from ledger.runtimes.extras import needs
from ledger.runtimes.gate import Gate, Who, is_open
from ledger.runtimes.langgraph_effects import KEY, Run, Settled, aguarded, guarded, has_landed, unread
from ledger.runtimes.langgraph_settings import Decided, Settings, see_that_middleware_reads, who_answers, who_of
from ledger.runtimes.langgraph_threads import RUNTIME, Question, Standing, Threads
from ledger.runtimes.pauses import Paused
from ledger.runtimes.shut import Shut

with needs("langgraph"):
    from langchain_core.runnables import RunnableConfig
    from langgraph.types import Command

if TYPE_CHECKING:
    from langgraph.pregel import Pregel

__all__ = ["Decided", "Question", "Settings", "Settled", "Wired", "aguarded", "guarded", "wire"]

_LOG = logging.getLogger("pauseledger.langgraph")
_INTERRUPT = re.compile("[0-9a-f]{32}")
_REMEMBERED = 10_000


def wire(graph: Pregel[Any, Any, Any, Any], gate: Gate, settings: Settings | None = None) -> Wired:
    """Wire a compiled graph that has a checkpointer to the ledger. Raises ``WrongUsage`` where it has none."""
    return Wired(graph, gate, settings or Settings())


class Wired:
    """A graph whose interrupts are pauses on the ledger. Thread-safe as far as the graph is.

    Whose doing a call is: ``pauseledger_actor`` in the config's ``configurable``, else the gate's ``who``; of an answer
    its own ``actor`` only by ``Settings.answers_name_actor``, and only where the config names nobody. Each call raises
    ``Shut``, before it runs anything, where an answer may not be acted on.
    """

    def __init__(self, graph: Pregel[Any, Any, Any, Any], gate: Gate, settings: Settings) -> None:
        self.graph = graph
        self.gate = gate
        self.settings = settings
        self._threads = Threads(graph, settings)
        self._told: set[str] = set()

    # -- as the graph -------------------------------------------------------------------------------

    def invoke(self, input: Any, config: RunnableConfig, **named: Any) -> Any:
        run = self._begin(input, config, named)
        try:
            return self.graph.invoke(input, _with(config, run), **named)
        finally:
            self._end(run, config)

    def stream(self, input: Any, config: RunnableConfig, **named: Any) -> Iterator[Any]:
        run = self._begin(input, config, named)
        try:
            yield from self.graph.stream(input, _with(config, run), **named)
        finally:
            self._end(run, config)

    async def ainvoke(self, input: Any, config: RunnableConfig, **named: Any) -> Any:
        run = await self._abegin(input, config, named)
        try:
            return await self.graph.ainvoke(input, _with(config, run), **named)
        finally:
            await asyncio.shield(asyncio.to_thread(self._end, run, config))

    async def astream(self, input: Any, config: RunnableConfig, **named: Any) -> AsyncIterator[Any]:
        run = await self._abegin(input, config, named)
        try:
            async for one in self.graph.astream(input, _with(config, run), **named):
                yield one
        finally:
            await asyncio.shield(asyncio.to_thread(self._end, run, config))

    def update_state(self, config: RunnableConfig, values: Any, as_node: str | None = None) -> RunnableConfig:
        """As the graph's. The state is another's then: what was paused before is finished."""
        changed = self.graph.update_state(config, values, as_node)
        self.observe(config)
        return changed

    async def aupdate_state(self, config: RunnableConfig, values: Any, as_node: str | None = None) -> RunnableConfig:
        changed = await self.graph.aupdate_state(config, values, as_node)
        await asyncio.to_thread(self.observe, config)
        return changed

    def get_state(self, config: RunnableConfig) -> Any:
        return self.graph.get_state(config)

    # -- the ledger's side --------------------------------------------------------------------------

    def pending(self, config: RunnableConfig) -> list[Question]:
        """The interrupts that wait for an answer, each with its pauses: what an inbox shows, and answers by ``id``."""
        standing = self._threads.standing(config)
        return [] if standing is None else list(standing.questions)

    def unsettled(self, config: RunnableConfig) -> list[Paused]:
        """The pauses of a thread of which nobody knows whether they were done: for ``Gate.reconcile``, each.

        The ledger's own word, so also of what no longer waits for an answer: a step that was approved and then lost, a
        run that new input has replaced. An effect that is under way looks the same: ask when no process runs it.
        """
        standing = self._threads.standing(_latest(config))
        if standing is None:
            return []
        found = []
        for one in self._item(standing).get("pauses", ()):
            paused = Paused(standing.subject, one["execution"], one["pause"])
            if standing.is_of_thread(one["execution"]) and self.gate.decision(paused)["debt"] is not None:
                found.append(paused._replace(action=self.gate.packet(paused)["pending_action"]))
        return found

    def observe(self, config: RunnableConfig) -> None:
        """Tell the ledger where the thread stands. Each call does; this is for a graph that somebody else runs."""
        standing = self._threads.standing(_latest(config))
        if standing is not None:
            self._observed(standing)

    def _begin(self, input: Any, config: RunnableConfig, named: Mapping[str, Any]) -> Run:
        if named.get("durability") == "exit" or named.get("checkpoint_during") is False:
            advice = 'Use durability "sync" or "async".'
            raise WrongUsage("With this durability no checkpoint says where a run began.", advice)
        configurable = config.get("configurable", {})
        run = Run(self.gate, who_of(configurable, self.gate.who))
        standing = self._threads.standing(config)
        if standing is None:
            return run
        resume = input.resume if isinstance(input, Command) else None
        if input is not None and not isinstance(input, Command):
            self._quietly(self._finish, standing, "new input")
            return run  # its execution begins with a checkpoint that isn't there yet: nothing of it can be approved
        run.subject, run.execution = standing.subject, standing.execution
        if resume is None:
            self._quietly(self._pauses, standing, standing.created_at)
            return run
        with unread():
            self._pauses(standing, standing.created_at)
            self._answer(run, standing, resume, configurable)
        return run

    async def _abegin(self, input: Any, config: RunnableConfig, named: Mapping[str, Any]) -> Run:
        """Cancelled, it waits until it knows what was granted meanwhile, and gives that back."""
        begun = asyncio.ensure_future(asyncio.to_thread(self._begin, input, config, named))
        try:
            return await asyncio.shield(begun)
        except asyncio.CancelledError:
            with suppress(Exception):  # what was not granted need not be given back
                run = await asyncio.shield(begun)
                await asyncio.shield(asyncio.to_thread(self._quietly, run.give_back))
            raise

    def _end(self, run: Run, config: RunnableConfig) -> None:
        """Whatever became of the call. What can't be told keeps the gate shut, and changes no outcome of the graph."""
        self._quietly(run.give_back)
        self._quietly(self.observe, config)

    def _quietly(self, tell: Any, *given: Any) -> None:
        try:
            tell(*given)
        except WrongUsage:
            raise
        except Exception as error:  # a graph whose state can't be read says so itself
            _LOG.warning("The ledger was not told of a run: %s", error)

    # -- answers ------------------------------------------------------------------------------------

    def _answer(self, run: Run, standing: Standing, resume: Any, configurable: Mapping[str, Any]) -> None:
        """Ask for each answer what it was given for. Raises ``Shut``, and then nothing stays granted."""
        questions = _answered(standing, resume)
        pauses = self._item(standing).get("pauses", ())
        for question in questions:
            see_that_middleware_reads(question.value, resume[question.id])
            _see_that_it_was_seen(question, resume[question.id], pauses)
        asked = [
            (paused, decided, self._who(configurable, resume[question.id]))
            for question in questions
            for paused, decided in self._decisions(question, resume[question.id])
        ]
        try:
            for paused, decided, who in asked:
                run.who = who
                self._decide(run, paused, decided, who)
        except LedgerError:
            self._quietly(run.give_back)
            raise

    def _who(self, configurable: Mapping[str, Any], answer: Any) -> Who:
        return who_answers(configurable, answer, self.gate.who, believed=self.settings.answers_name_actor)

    def _decisions(self, question: Question, answer: Any) -> list[tuple[Paused, Decided | None]]:
        if not question.actions:
            return [(one, None) for one in question.paused]
        decisions = self.settings.decisions(answer, question.actions)
        return list(zip(question.paused, decisions, strict=True))

    def _decide(self, run: Run, paused: Paused, decided: Decided | None, who: Who) -> None:
        if decided is None:  # a question about no action: its answer permits nothing
            self._unless(lambda: self.gate.close(paused, "abandoned", who=who), "abandoned", paused)
            return
        if decided.outcome == "reject":
            self._unless(lambda: self.gate.review(paused, "reject", who=who), "rejected", paused)
            return
        meant = paused if decided.edited is None else paused._replace(action=decided.edited)
        try:
            self._reviewed(paused, meant, decided, who)
            run.grants[meant.pause] = self.gate.request_resume(meant, who=who)
        except Shut as shut:
            if not has_landed(self.gate, meant, shut):
                raise
        run.answered.append(meant)

    def _reviewed(self, paused: Paused, meant: Paused, decided: Decided, who: Who) -> None:
        try:
            self.gate.review(paused, decided.outcome, edited=decided.edited, who=who)
        except Shut as shut:
            # The same edit again, after a crash: the action is the edited one already.
            if shut.code != "action-changed" or decided.edited is None:
                raise
            packet = self.gate.packet(meant)
            if not packet["action_digest"] == packet["reviewed"] == meant.action_digest:
                raise

    def _unless(self, close: Any, outcome: str, paused: Paused) -> None:
        """Close a pause, unless it was closed so before: the same answer again, after a crash."""
        try:
            close()
        except Shut as shut:
            if shut.branch != "closed" or self.gate.packet(paused)["outcome"] != outcome:
                raise

    # -- facts --------------------------------------------------------------------------------------

    def _observed(self, standing: Standing) -> None:
        self._pauses(standing, None)
        if standing.ended:
            self._finish(standing, "ended")
        elif not standing.questions:
            self._finish_earlier(standing)

    def _pauses(self, standing: Standing, time: datetime | None) -> None:
        """Tell of the interrupts that wait. ``time`` is since when, where nobody has told of them in time."""
        new = [
            (question, one) for question in standing.questions for one in question.paused if one.pause not in self._told
        ]
        if not new:
            return
        self._finish_earlier(standing)
        self._void_re_emitted(standing, new)
        for question, paused in new:
            terms = self.settings.terms_of(question.value, paused.action)
            runtime = {
                "name": RUNTIME,
                "thread_id": standing.thread,
                "checkpoint_id": standing.checkpoint,
                "interrupt_id": question.id,
                "node": question.node,
            }
            if is_open(self.gate.tell_pause(paused, time=time, **{"runtime": runtime, **terms})):
                self._remember(paused.pause)

    def _remember(self, pause: str) -> None:
        if len(self._told) > _REMEMBERED:
            self._told = set()
        self._told.add(pause)

    def _void_re_emitted(self, standing: Standing, new: list[tuple[Question, Paused]]) -> None:
        """An interrupt asks about another action now: a node ran again, and its plan has changed."""
        pauses = self._item(standing).get("pauses", ())
        for question, paused in new:
            for old in _others(question, pauses):
                if old["state"] == "open":
                    reason = "The interrupt asks about another action now."
                    told = Paused(standing.subject, old["execution"], old["pause"])
                    self.gate.inputs_changed(told, id=paused.pause, reason=reason)

    def _finish_earlier(self, standing: Standing) -> None:
        """The thread has got new input, or another state: its earlier execution is over, and its approvals with it."""
        canonical = self._canonical(standing)
        if standing.is_earlier(canonical):
            self._finished(standing.subject, canonical, "replaced")

    def _finish(self, standing: Standing, outcome: str) -> None:
        canonical = self._canonical(standing)
        if canonical == standing.execution or standing.is_earlier(canonical):
            self._finished(standing.subject, canonical, outcome)

    def _canonical(self, standing: Standing) -> str:
        """The execution that works on it; empty where none does."""
        return str(self._item(standing).get("canonical") or "")

    def _item(self, standing: Standing) -> dict[str, Any]:
        try:
            return self.gate.work_item(standing.subject)
        except NotFound:
            return {}

    def _finished(self, subject: str, execution: str, outcome: str) -> None:
        try:
            self.gate.finish(Paused(subject, execution, ""), outcome=outcome)
        except Shut as shut:
            if shut.branch == "unknown":
                _LOG.warning("The end of %s could not be told: %s", execution, shut)


def _answered(standing: Standing, resume: Any) -> list[Question]:
    """The questions that are answered. Raises ``WrongUsage`` for a plain answer, ``Shut`` for a stale one."""
    if not (isinstance(resume, Mapping) and resume and all(_INTERRUPT.fullmatch(str(id)) for id in resume)):
        raise WrongUsage(
            "This answer names no interrupt: it would answer whichever waits next.",
            "Answer Command(resume={interrupt.id: answer}); Wired.pending(config) tells the ids.",
        )
    waiting = {one.id: one for one in standing.questions}
    if stale := sorted(set(resume) - set(waiting)):
        raise Shut("closed", f"The interrupt {stale[0]} does not wait for an answer.")
    return [waiting[id] for id in resume]


def _see_that_it_was_seen(question: Question, answer: Any, pauses: Iterable[Mapping[str, Any]]) -> None:
    """Raises ``Shut`` where an answer may be to another action than the one that waits now."""
    digests = [one.action_digest for one in question.paused]
    seen = answer.get("action_digest") if isinstance(answer, Mapping) else None
    if seen is not None and seen not in (digests, digests[0]):
        raise Shut("refused", f"The interrupt {question.id} asks about another action than the one answered.")
    if seen is None and _others(question, pauses):
        reason = f"The interrupt {question.id} has asked about several actions: answer with the action_digest, too."
        raise Shut("refused", reason)


def _others(question: Question, pauses: Iterable[Mapping[str, Any]]) -> list[Mapping[str, Any]]:
    """The pauses of this interrupt for other actions than it asks about now. Its id is of one checkpoint."""
    now = {one.pause for one in question.paused}
    return [one for one in pauses if one["pause"].startswith(question.id) and one["pause"] not in now]


def _with(config: RunnableConfig, run: Run) -> RunnableConfig:
    return {**config, "configurable": {**config.get("configurable", {}), KEY: run}}


def _latest(config: RunnableConfig) -> RunnableConfig:
    """The thread, wherever it stands now."""
    named = {name: value for name, value in config.get("configurable", {}).items() if name != "checkpoint_id"}
    return {**config, "configurable": named}
