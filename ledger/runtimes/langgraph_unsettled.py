"""What a crash left behind in LangGraph's checkpoints: pauses that were answered, and nobody knows what came of it.

Each line was seen on LangGraph 1.2.24, with real savers:

1. An answer that is stored (``__resume__`` for no task in particular) before its task has output, or an error: the node
   may have acted. A task is finished once it has output, a step once a checkpoint of the loop follows its own. A
   checkpoint of another kind (new input, an update) that follows only hides it.
2. A node that has two interrupts keeps the first answer in the same place while it waits, quite well, at the second. So
   an answer that its task has taken already proves nothing: ``unclear``. So does an answer of a task beside it.
3. A subgraph's answer is stored with its root, the interrupt with both. The innermost task that has not finished speaks
   for those above it; where the subgraph has gone past the interrupt, the node that called it may be acting.

Not to be found here, for LangGraph stores nothing of it before the node ends: an answer by a map of interrupt ids, a
resume from an older checkpoint, ``durability="exit"``. Nor does it wait for an answer to be stored before it runs the
node: a process that dies in the same instant leaves none. For these the ledger's own grant is the only witness.
"""

from __future__ import annotations

import logging
from collections.abc import AsyncIterator, Callable, Iterable, Iterator, Mapping
from contextlib import suppress
from typing import Any, Literal, NamedTuple

from ledger.errors import NotFound
from ledger.runtimes.extras import needs
from ledger.runtimes.gate import Gate
from ledger.runtimes.langgraph_saver import NO_TASK, interrupts_of, seen
from ledger.runtimes.pauses import Paused
from ledger.sending import Answer

with needs("langgraph"):
    from langchain_core.runnables import RunnableConfig
    from langgraph.checkpoint.base import BaseCheckpointSaver, CheckpointTuple
    from langgraph.checkpoint.serde.types import RESUME
    from langgraph.types import Interrupt

_LOG = logging.getLogger("pauseledger.langgraph")

Sign = Literal["answered", "failed", "unclear"]
"""``answered``: an answer is stored, and the task has written nothing since. ``failed``: the task raised after it.
``unclear``: a clean pause and a crash look the same here."""

_Key = tuple[str, str, str]
"""Thread, namespace, checkpoint."""


class Unsettled(NamedTuple):
    """A pause that was answered, of which the checkpoints don't say what came of it."""

    thread: str
    namespace: str
    checkpoint: str
    task: str
    interrupts: tuple[Interrupt, ...]
    sign: Sign
    parents: Mapping[str, str]
    """The checkpoint of each namespace above, by namespace; the root's is under the empty one."""

    @property
    def interrupt_ids(self) -> tuple[str, ...]:
        return tuple(interrupt.id for interrupt in self.interrupts)

    @property
    def root_checkpoint(self) -> str:
        """The checkpoint at which the root graph stands."""
        return self.parents.get("", self.checkpoint)


class Told(NamedTuple):
    """A pause of an unsettled one, and what the ledger said; null where it was not told."""

    paused: Paused
    answer: Answer | None


def unknown_outcomes(
    saver: BaseCheckpointSaver[Any], *, thread: str | None = None, unclear: bool = False
) -> Iterator[Unsettled]:
    """Each pause of the saver, or of one thread, whose outcome is unknown; with ``unclear`` also those that may be.

    Ask when no process runs the thread: an effect that is under way looks the same. Reads every checkpoint once.
    """
    scan = _Scan()
    for found in saver.list(_config(thread)):
        scan.add(found)
    yield from scan.unsettled(unclear)


async def aunknown_outcomes(
    saver: BaseCheckpointSaver[Any], *, thread: str | None = None, unclear: bool = False
) -> AsyncIterator[Unsettled]:
    """The same of a saver that is asynchronous."""
    scan = _Scan()
    async for found in saver.alist(_config(thread)):
        scan.add(found)
    for unsettled in scan.unsettled(unclear):
        yield unsettled


def tell_unknown(gate: Gate, unsettled: Unsettled, paused_of: Callable[[Unsettled], Iterable[Paused]]) -> list[Told]:
    """Tell the ledger that the outcome of these pauses is unknown: once, however often it is called.

    ``paused_of`` gives the pauses on the ledger, one for each action. Not told are a pause that an observation settled,
    or that was waived, and one that the ledger doesn't know: open it first. Raises ``LedgerError`` where the ledger
    can't be read; the checkpoints keep what they say until then.
    """
    return [Told(paused, _told(gate, unsettled, paused)) for paused in paused_of(unsettled)]


def _told(gate: Gate, unsettled: Unsettled, paused: Paused) -> Answer | None:
    try:
        packet = gate.packet(paused)
    except NotFound:
        _LOG.warning("The ledger has no pause %s of %s, whose outcome is unknown", paused.pause, paused.subject)
        return None
    if _known_better(packet):
        return None
    where = [unsettled.thread, unsettled.namespace, unsettled.checkpoint, unsettled.task]
    evidence = {
        "runtime": "langgraph",
        "thread": unsettled.thread,
        "namespace": unsettled.namespace,
        "checkpoint": unsettled.checkpoint,
        "task": unsettled.task,
        "interrupts": list(unsettled.interrupt_ids),
        "sign": unsettled.sign,
    }
    data = {"pause": paused.pause, "status": "indeterminate", "evidence": evidence}
    return gate.tell("side_effect.observed", paused, data, id="/".join([paused.pause, "unknown", *where]))


def _known_better(packet: Mapping[str, Any]) -> bool:
    """Whether somebody has looked, or has written it off; what was only assumed at the opening doesn't count."""
    if "debt-waived" in packet["stop_signals"]:
        return True
    return bool(packet["side_effect"] != "indeterminate" and packet["side_effect_by"] != packet["opened"])


def _config(thread: str | None) -> RunnableConfig | None:
    return None if thread is None else {"configurable": {"thread_id": thread}}


class _Nothing:
    """No answer, which is another thing than the answer None."""


class _Task(NamedTuple):
    interrupts: tuple[Interrupt, ...]
    taken: list[Any]
    """The answers that it has taken, one for each of its interrupts."""
    failed: bool
    finished: bool


class _Step(NamedTuple):
    """One checkpoint: what its tasks have written, and the answer that is meant for whichever of them waits."""

    tasks: dict[str, _Task]
    answer: Any
    parents: Mapping[str, str]


class _Scan:
    """All checkpoints, in any order; of those that no pause touched only who came after whom is kept."""

    def __init__(self) -> None:
        self._threads: dict[str, dict[_Key, _Step]] = {}
        self._ended: set[_Key] = set()

    def add(self, found: CheckpointTuple) -> None:
        key = _key(found.config)
        if found.parent_config is not None and found.metadata.get("source") == "loop":
            self._ended.add((*key[:2], found.parent_config["configurable"]["checkpoint_id"]))
        step = _step(found)
        if step.tasks or step.answer is not _Nothing:
            self._threads.setdefault(key[0], {})[key] = step

    def unsettled(self, unclear: bool) -> Iterator[Unsettled]:
        for thread in sorted(self._threads):
            steps = self._threads[thread]
            passed, waiting = self._passed(steps), set[str]()
            for key, step in sorted(steps.items(), key=lambda item: (-_depth(item[0][1]), item[0])):
                for task_id, task in step.tasks.items() if self._open(key, step) else ():
                    ids = {interrupt.id for interrupt in task.interrupts}
                    if ids & waiting or (task.finished and not task.failed):
                        continue
                    waiting |= ids  # a graph above waits for the same: the innermost speaks for it
                    went_on = any(passed.get(id, -1) >= _depth(key[1]) for id in ids)
                    sign = "answered" if went_on and not task.failed else _sign(task, _answer(steps, key, task))
                    if sign is not None and (unclear or sign != "unclear"):
                        yield Unsettled(*key, task_id, task.interrupts, sign, step.parents)

    def _open(self, key: _Key, step: _Step) -> bool:
        return not self._ended.intersection([key, *_above(key, step)])

    def _passed(self, steps: Mapping[_Key, _Step]) -> dict[str, int]:
        """Interrupts that a task has left behind, and how deep: whoever called that task goes on, and may act."""
        passed: dict[str, int] = {}
        for key, step in steps.items():
            for task in step.tasks.values():
                if task.finished or key in self._ended:
                    for interrupt in task.interrupts:
                        passed[interrupt.id] = max(passed.get(interrupt.id, 0), _depth(key[1]))
        return passed


class _Answer(NamedTuple):
    """Whether an answer is stored for a task, and whether some task took it, so that it may be an old one."""

    there: bool
    taken: bool
    beside: bool
    """A task of the same step has taken one: where it was given by a map, nothing is stored for the others."""


def _answer(steps: Mapping[_Key, _Step], key: _Key, task: _Task) -> _Answer:
    beside = any(each.taken for each in steps[key].tasks.values())
    for where in [key, *_above(key, steps[key])]:
        if where in steps and steps[where].answer is not _Nothing:
            answer = steps[where].answer
            taken = [task, *_along(steps, key, where)]
            return _Answer(True, any(each.taken and _same(each.taken[-1], answer) for each in taken), beside)
    return _Answer(False, False, beside)


def _along(steps: Mapping[_Key, _Step], key: _Key, where: _Key) -> Iterator[_Task]:
    """The tasks of other steps that may have taken the answer which is stored at ``where``: earlier, or further in."""
    for other, step in steps.items():
        related = other[1].startswith(key[1]) or key[1].startswith(other[1])
        if other != key and related and where in (other, *_above(other, step)):
            yield from step.tasks.values()


def _above(key: _Key, step: _Step) -> list[_Key]:
    return [(key[0], namespace, checkpoint) for namespace, checkpoint in step.parents.items()]


def _key(config: RunnableConfig) -> _Key:
    configurable = config["configurable"]
    return str(configurable["thread_id"]), configurable.get("checkpoint_ns", ""), configurable["checkpoint_id"]


def _depth(namespace: str) -> int:
    return namespace.count("|") + 1 if namespace else 0


def _step(found: CheckpointTuple) -> _Step:
    written: dict[str, list[tuple[str, Any]]] = {}
    for task_id, channel, value in found.pending_writes or []:
        written.setdefault(task_id, []).append((channel, value))
    answers = [value for channel, value in written.pop(NO_TASK, []) if channel == RESUME]
    tasks = {task_id: _task(found.config, task_id, writes) for task_id, writes in written.items()}
    return _Step(
        {task_id: task for task_id, task in tasks.items() if task is not None},
        answers[-1] if answers else _Nothing,
        found.metadata.get("parents") or {},
    )


def _task(config: RunnableConfig, task_id: str, writes: list[tuple[str, Any]]) -> _Task | None:
    fact = seen(config, writes, task_id)
    if fact is None:
        return None
    taken = [value for channel, value in writes if channel == RESUME]
    last = taken[-1] if taken else []
    return _Task(interrupts_of(writes), last if isinstance(last, list) else [last], fact.failed, fact.finished)


def _sign(task: _Task, answer: _Answer) -> Sign | None:
    if task.failed and (task.taken or answer.there):
        return "failed"  # also with output: LangGraph takes that for finished, though the node raised
    if answer.there:
        return "unclear" if answer.taken else "answered"
    return "unclear" if answer.beside else None


def _same(one: Any, other: Any) -> bool:
    with suppress(Exception):  # values of the user's own classes
        return bool(one == other)
    return False
