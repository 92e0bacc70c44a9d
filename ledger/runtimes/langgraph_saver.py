"""LangGraph's checkpoints, watched: a saver around any other saver, which tells what is paused and what is answered.

1. What the saver inside stores and returns is what it would be without this one, and it comes first: a checkpoint or a
   write is told of only once it is stored.
2. The telling has a thread of its own and is waited for at most the deadline; while it is late it is not waited for at
   all. What it raises is logged. So no ledger, slow or away, keeps a checkpoint from being written.
3. Told are names, the values of interrupts (they hold the pending action), and *whether* there was an answer. Neither
   the answer itself nor the state is.

It opens and shuts nothing: gate the effect itself. After a crash see :mod:`ledger.runtimes.langgraph_unsettled`.
"""

from __future__ import annotations

import asyncio
import inspect
import logging
import queue
import threading
from collections.abc import AsyncIterator, Callable, Collection, Iterator, Mapping, Sequence
from concurrent.futures import Future
from functools import wraps
from typing import Any, NamedTuple, Self

from ledger.runtimes.extras import needs

with needs("langgraph"):
    from langchain_core.runnables import RunnableConfig
    from langgraph.checkpoint.base import (
        BaseCheckpointSaver,
        ChannelVersions,
        Checkpoint,
        CheckpointMetadata,
        CheckpointTuple,
        DeltaChannelHistory,
    )
    from langgraph.checkpoint.serde.base import SerializerProtocol
    from langgraph.checkpoint.serde.types import ERROR, INTERRUPT, RESUME
    from langgraph.types import Interrupt

_LOG = logging.getLogger("pauseledger.langgraph")

NO_TASK = "00000000-0000-0000-0000-000000000000"
"""The task id that LangGraph gives to an answer which is meant for whichever task waits."""

_CONTROL = frozenset((ERROR, "__error_source_node__", INTERRUPT, RESUME))
"""What is written about a task. All else is its output, and LangGraph takes a task that has some for finished."""

_NOT_EVERY_SAVER_HAS = ("delete_for_runs", "copy_thread", "prune", "adelete_for_runs", "acopy_thread", "aprune")
_QUEUED = 1_000
"""So many facts wait for a ledger that is late. What is dropped beyond that still stands in the checkpoints."""


class Seen(NamedTuple):
    """What was just stored about one task of a checkpoint."""

    thread: str
    namespace: str
    """Empty for the root graph, else the path of the subgraph: ``node:task|node:task``."""
    checkpoint: str
    task: str
    """Empty where an answer was stored that names no task."""
    interrupts: tuple[Interrupt, ...]
    answered: bool
    """Whether a resume value was stored. No proof that anything will be, or was, done."""
    failed: bool
    finished: bool


Tell = Callable[[Seen], object]


def seen(config: RunnableConfig, writes: Sequence[tuple[str, Any]], task_id: str) -> Seen | None:
    """What these writes say of a pause; null where they say nothing of one."""
    channels = {channel for channel, _ in writes}
    if not channels & {INTERRUPT, RESUME}:
        return None
    configurable = config["configurable"]
    return Seen(
        thread=str(configurable["thread_id"]),
        namespace=configurable.get("checkpoint_ns", ""),
        checkpoint=configurable["checkpoint_id"],
        task="" if task_id == NO_TASK else task_id,
        interrupts=interrupts_of(writes),
        answered=RESUME in channels,
        failed=ERROR in channels,
        finished=task_id != NO_TASK and not channels <= _CONTROL,
    )


def interrupts_of(writes: Sequence[tuple[str, Any]]) -> tuple[Interrupt, ...]:
    """The interrupts that a task has written."""
    return tuple(one for channel, value in writes if channel == INTERRUPT for one in _listed(value))


def _listed(value: Any) -> Sequence[Any]:
    return value if isinstance(value, (list, tuple)) else [value]


class Teller:
    """Tells facts in order, in a thread of its own. Thread-safe; never raises what ``tell`` raises."""

    def __init__(self, tell: Tell, deadline_seconds: float) -> None:
        self._tell = tell
        self._deadline_seconds = deadline_seconds
        self._queue: queue.Queue[tuple[Seen, Future[None]]] = queue.Queue(_QUEUED)
        self._late = False
        self._lock = threading.Lock()
        self._thread: threading.Thread | None = None

    def told(self, fact: Seen | None) -> None:
        """Tell, and wait until that is done, or for the deadline."""
        done = self._begun(fact)
        if done is not None:
            try:
                done.result(self._deadline_seconds)
            except TimeoutError:
                self._is_late()

    async def atold(self, fact: Seen | None) -> None:
        """The same in a coroutine."""
        done = self._begun(fact)
        if done is not None:
            _, pending = await asyncio.wait([asyncio.wrap_future(done)], timeout=self._deadline_seconds)
            if pending:
                self._is_late()

    def _begun(self, fact: Seen | None) -> Future[None] | None:
        if fact is None:
            return None
        done: Future[None] = Future()
        try:
            self._queue.put_nowait((fact, done))
        except queue.Full:
            _LOG.warning("Too many facts wait for the ledger: not told is %s", _named(fact))
            return None
        self._start()
        return None if self._late else done

    def _start(self) -> None:
        with self._lock:
            if self._thread is None:
                self._thread = threading.Thread(target=self._run, name="pauseledger-langgraph", daemon=True)
                self._thread.start()

    def _is_late(self) -> None:
        self._late = True
        _LOG.warning("The ledger was not told within %s s; the runtime goes on", self._deadline_seconds)

    def _run(self) -> None:
        while True:
            fact, done = self._queue.get()
            try:
                self._tell(fact)
            except BaseException:  # observe only: whatever it is, the runtime must not feel it
                _LOG.exception("The ledger could not be told of %s", _named(fact))
            self._late = False
            done.set_result(None)


def _named(fact: Seen) -> str:
    return f"thread {fact.thread}, namespace {fact.namespace!r}, checkpoint {fact.checkpoint}, task {fact.task}"


class WatchedSaver(BaseCheckpointSaver[Any]):
    """``saver``, watched. Use it wherever ``saver`` is used; it has the same methods and attributes, and no others.

    ``tell`` is called with each :class:`Seen`, one at a time and in order, in a thread of ours; the runtime waits for
    it at most ``deadline_seconds`` (give the gate's). One that tells a gate's facts has an outbox to keep them.
    """

    def __new__(cls, saver: BaseCheckpointSaver[Any], *_: Any, **__: Any) -> Self:
        names = tuple(name for name in _NOT_EVERY_SAVER_HAS if _overrides(type(saver), name))
        fitted: type[Self] = _fitted(cls, names)
        return super().__new__(fitted)

    def __init__(
        self,
        saver: BaseCheckpointSaver[Any],
        tell: Tell,
        *,
        deadline_seconds: float = 10.0,
    ) -> None:
        self._watch(saver, Teller(tell, deadline_seconds))

    def _watch(self, saver: BaseCheckpointSaver[Any], teller: Teller) -> None:
        self._saver = saver
        self._teller = teller
        self._with_path = "task_path" in inspect.signature(saver.put_writes).parameters
        self._awith_path = "task_path" in inspect.signature(saver.aput_writes).parameters

    def __getattr__(self, name: str) -> Any:
        if name.startswith("_"):  # also before there is a saver inside, while a copy is made
            raise AttributeError(name)
        return getattr(self._saver, name)

    @property
    def serde(self) -> SerializerProtocol:
        return self._saver.serde

    @serde.setter
    def serde(self, serde: SerializerProtocol) -> None:
        self._saver.serde = serde

    @property
    def config_specs(self) -> list[Any]:
        return self._saver.config_specs

    def with_allowlist(self, extra_allowlist: Collection[tuple[str, ...]]) -> BaseCheckpointSaver[Any]:
        inside = self._saver.with_allowlist(extra_allowlist)
        if inside is self._saver:
            return self
        clone = type(self).__new__(type(self), inside)
        clone._watch(inside, self._teller)
        return clone

    def get_next_version(self, current: Any, channel: None) -> Any:
        return self._saver.get_next_version(current, channel)

    # -- what is written ----------------------------------------------------------------------------

    def put(
        self,
        config: RunnableConfig,
        checkpoint: Checkpoint,
        metadata: CheckpointMetadata,
        new_versions: ChannelVersions,
    ) -> RunnableConfig:
        return self._saver.put(config, checkpoint, metadata, new_versions)

    async def aput(
        self,
        config: RunnableConfig,
        checkpoint: Checkpoint,
        metadata: CheckpointMetadata,
        new_versions: ChannelVersions,
    ) -> RunnableConfig:
        return await self._saver.aput(config, checkpoint, metadata, new_versions)

    def put_writes(
        self, config: RunnableConfig, writes: Sequence[tuple[str, Any]], task_id: str, task_path: str = ""
    ) -> None:
        self._saver.put_writes(config, writes, task_id, *([task_path] if self._with_path else []))
        self._teller.told(_safely_seen(config, writes, task_id))

    async def aput_writes(
        self, config: RunnableConfig, writes: Sequence[tuple[str, Any]], task_id: str, task_path: str = ""
    ) -> None:
        await self._saver.aput_writes(config, writes, task_id, *([task_path] if self._awith_path else []))
        await self._teller.atold(_safely_seen(config, writes, task_id))

    def delete_thread(self, thread_id: str) -> None:
        self._saver.delete_thread(thread_id)

    async def adelete_thread(self, thread_id: str) -> None:
        await self._saver.adelete_thread(thread_id)

    # -- what is read -------------------------------------------------------------------------------

    def get(self, config: RunnableConfig) -> Checkpoint | None:
        return self._saver.get(config)

    async def aget(self, config: RunnableConfig) -> Checkpoint | None:
        return await self._saver.aget(config)

    def get_tuple(self, config: RunnableConfig) -> CheckpointTuple | None:
        return self._saver.get_tuple(config)

    async def aget_tuple(self, config: RunnableConfig) -> CheckpointTuple | None:
        return await self._saver.aget_tuple(config)

    def list(
        self,
        config: RunnableConfig | None,
        *,
        filter: dict[str, Any] | None = None,
        before: RunnableConfig | None = None,
        limit: int | None = None,
    ) -> Iterator[CheckpointTuple]:
        return self._saver.list(config, filter=filter, before=before, limit=limit)

    async def alist(
        self,
        config: RunnableConfig | None,
        *,
        filter: dict[str, Any] | None = None,
        before: RunnableConfig | None = None,
        limit: int | None = None,
    ) -> AsyncIterator[CheckpointTuple]:
        async for found in self._saver.alist(config, filter=filter, before=before, limit=limit):
            yield found

    def get_delta_channel_history(
        self, *, config: RunnableConfig, channels: Sequence[str]
    ) -> Mapping[str, DeltaChannelHistory]:
        return self._saver.get_delta_channel_history(config=config, channels=channels)

    async def aget_delta_channel_history(
        self, *, config: RunnableConfig, channels: Sequence[str]
    ) -> Mapping[str, DeltaChannelHistory]:
        return await self._saver.aget_delta_channel_history(config=config, channels=channels)


def _safely_seen(config: RunnableConfig, writes: Sequence[tuple[str, Any]], task_id: str) -> Seen | None:
    try:
        return seen(config, writes, task_id)
    except Exception:  # a version of LangGraph that writes otherwise must not be stopped by us
        _LOG.exception("What task %s wrote could not be read", task_id)
        return None


def _overrides(saver: type, name: str) -> bool:
    return getattr(saver, name, None) is not getattr(BaseCheckpointSaver, name)


def _fitted(watched: type[WatchedSaver], names: tuple[str, ...]) -> type[Any]:
    """A class with just those of the rarer methods: who asks a saver what it can do looks at its class."""
    missing = {name: _forwarding(name) for name in names if not _overrides(watched, name)}
    if not missing:
        return watched
    return _FITTED.setdefault((watched, names), type(watched.__name__, (watched,), missing))


_FITTED: dict[tuple[type, tuple[str, ...]], type] = {}


def _forwarding(name: str) -> Callable[..., Any]:
    declared = getattr(BaseCheckpointSaver, name)

    @wraps(declared)
    def forward(self: WatchedSaver, *args: Any, **kwargs: Any) -> Any:
        return getattr(self._saver, name)(*args, **kwargs)

    @wraps(declared)
    async def aforward(self: WatchedSaver, *args: Any, **kwargs: Any) -> Any:
        return await getattr(self._saver, name)(*args, **kwargs)

    return aforward if inspect.iscoroutinefunction(declared) else forward
