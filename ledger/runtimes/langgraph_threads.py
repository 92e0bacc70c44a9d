"""Where a LangGraph thread stands: whose run it is, and which interrupts wait for an answer.

A thread lives for ever, so an execution is the thread and the checkpoint from which its present run started: the
nearest one, going back, that no step of the graph made. New input, ``update_state`` and a fork from an old checkpoint
make one: so each is another execution, and no approval of the one before serves it. Subgraphs are part of their root.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from datetime import datetime
from typing import TYPE_CHECKING, Any, NamedTuple

from ledger.errors import WrongUsage
from ledger.runtimes.extras import needs
from ledger.runtimes.langgraph_settings import Settings
from ledger.runtimes.pauses import Paused, execution_id

with needs("langgraph"):
    from langchain_core.runnables import RunnableConfig
    from langgraph.checkpoint.base import BaseCheckpointSaver
    from langgraph.types import StateSnapshot

if TYPE_CHECKING:
    from langgraph.pregel import Pregel

RUNTIME = "langgraph"
_LONGEST_THREAD = 200
_REMEMBERED = 10_000


class Question(NamedTuple):
    """An interrupt that waits for an answer, and its pauses: one for each action, or one without any."""

    id: str
    value: Any
    node: str
    paused: tuple[Paused, ...]

    @property
    def actions(self) -> list[Mapping[str, Any]]:
        return [one.action for one in self.paused if one.action is not None]


class Standing(NamedTuple):
    """Where a thread stands at a checkpoint."""

    thread: str
    subject: str
    execution: str
    checkpoint: str
    created_at: datetime | None
    questions: tuple[Question, ...]
    ended: bool
    """Nothing is left to run."""

    def is_earlier(self, execution: str) -> bool:
        """Whether this is an earlier execution of the same thread: the ids of checkpoints go up with time."""
        return self.is_of_thread(execution) and execution < self.execution

    def is_of_thread(self, execution: str) -> bool:
        """Whether this is an execution of the same thread."""
        return execution.startswith(f"{self.thread}#")


class Threads:
    """Reads the threads of one graph. Thread-safe."""

    def __init__(self, graph: Pregel[Any, Any, Any, Any], settings: Settings) -> None:
        if not isinstance(graph.checkpointer, BaseCheckpointSaver):
            raise WrongUsage("The graph has no checkpointer: it can't pause.", "Compile it with one.")
        self._graph = graph
        self._saver = graph.checkpointer
        self._settings = settings
        self._starts: dict[tuple[str, str], str] = {}

    def standing(self, config: RunnableConfig) -> Standing | None:
        """Where the thread stands, at the config's checkpoint if it names one; null where it hasn't begun."""
        snapshot = self._graph.get_state(config)
        configurable = snapshot.config["configurable"]
        if "checkpoint_id" not in configurable:
            return None
        thread = _fitting(str(configurable["thread_id"]))
        checkpoint = str(configurable["checkpoint_id"])
        execution = execution_id(thread, self._start(snapshot))
        subject = thread if self._settings.subject is None else self._settings.subject(snapshot.values)
        questions = self._questions(snapshot, subject, execution, checkpoint)
        made = None if snapshot.created_at is None else datetime.fromisoformat(snapshot.created_at)
        return Standing(thread, subject, execution, checkpoint, made, questions, not snapshot.next)

    def _questions(
        self, snapshot: StateSnapshot, subject: str, execution: str, checkpoint: str
    ) -> tuple[Question, ...]:
        nodes = {one.id: task.name for task in snapshot.tasks for one in task.interrupts}
        found = []
        for one in snapshot.interrupts:
            actions: list[Mapping[str, Any] | None] = [*self._settings.actions(one.value)] or [None]
            paused = tuple(
                Paused.of(
                    runtime=RUNTIME,
                    subject=subject,
                    execution=execution,
                    checkpoint=checkpoint,
                    interrupt=one.id if len(actions) == 1 else f"{one.id}.{number}",
                    action=action,
                )
                for number, action in enumerate(actions)
            )
            found.append(Question(one.id, one.value, nodes.get(one.id, ""), paused))
        return tuple(found)

    def _start(self, snapshot: StateSnapshot) -> str:
        """The checkpoint from which the run at this one started."""
        passed = []
        config: RunnableConfig | None = snapshot.config
        metadata: Mapping[str, Any] = snapshot.metadata or {}
        parent = snapshot.parent_config
        while True:
            assert config is not None
            key = config["configurable"]["thread_id"], config["configurable"]["checkpoint_id"]
            passed.append(key)
            start = self._starts.get(key, key[1] if metadata.get("source") != "loop" or parent is None else "")
            if start:
                break
            assert parent is not None
            found = self._saver.get_tuple(parent)
            if found is None:  # pruned: the oldest that is left
                start = key[1]
                break
            config, metadata, parent = found.config, found.metadata, found.parent_config
        self._remember(passed, start)
        return start

    def _remember(self, passed: list[tuple[str, str]], start: str) -> None:
        if len(self._starts) > _REMEMBERED:
            self._starts = {}
        self._starts.update(dict.fromkeys(passed, start))


def _fitting(thread: str) -> str:
    """A thread's id with room for a checkpoint's."""
    if len(thread) <= _LONGEST_THREAD:
        return thread
    return f"{thread[: _LONGEST_THREAD - 65]}.{hashlib.sha256(thread.encode()).hexdigest()}"
