"""The search: breadth first through all that people, workers and the clock may do, each state once.

It is exhaustive: every step of every menu is taken from every state, down to a depth, or until no new state is found.
The first hole it meets is therefore a shortest one; it is told as a story.
"""

from __future__ import annotations

import time
from collections.abc import Iterator
from typing import NamedTuple

from tests.simulation.people import Menu, Opening, Step
from tests.simulation.recovery import recover, settlements
from tests.simulation.truth import Broken
from tests.simulation.world import World, actors_key, empty_world, fingerprint, ledger_key, publish


class Scope(NamedTuple):
    """A small world: who is in it, how it begins, and how deep it is searched."""

    name: str
    menus: tuple[Menu, ...]
    depth: int
    setup: tuple[Opening, ...] = ()
    openings: tuple[Opening, ...] = ()
    executions: tuple[str, ...] = ("E1", "E2")
    actions: tuple[str, ...] = ("A",)
    askers: tuple[str, ...] = ("ann",)
    observers: int = 0
    hasty: bool = False
    owned: bool = True
    recovers: bool = True


class Found(NamedTuple):
    """What a search has seen. ``deepest``: the last layer that held a new state; ``whole``: there are no more."""

    states: int
    steps: int
    recoveries: int
    deepest: int
    whole: bool
    seconds: float

    def __str__(self) -> str:
        reach = "all there are" if self.whole else f"all up to depth {self.deepest}"
        return (
            f"{self.states:,} states ({reach}), {self.steps:,} steps, "
            f"recovered from {self.recoveries:,}, {self.seconds:.1f} s"
        )


class Hole(Exception):
    """A property that does not hold, with the shortest story that shows it."""

    def __init__(self, broken: Broken, story: list[str]) -> None:
        self.letter = broken.letter
        self.what = broken.what
        self.story = story
        lines = [f"{number}. {line}" for number, line in enumerate(story, start=1)]
        super().__init__("\n".join([f"property ({self.letter}): {self.what}", *lines]))


class Search:
    """One breadth-first search of a scope."""

    def __init__(self, scope: Scope) -> None:
        self.scope = scope
        self.came_from: dict[bytes, tuple[bytes | None, str]] = {}
        self.recovered: set[bytes] = set()
        self.settled: set[bytes] = set()
        self.steps = 0

    def run(self) -> Found:
        """Search the scope. Raises :class:`Hole` at the first state where a property does not hold."""
        started = time.perf_counter()
        layer = list(self._new(begin(self.scope), None, "the world begins"))
        depth = 0
        while layer and depth < self.scope.depth:
            layer = [after for world, key in layer for after in self._steps(world, key)]
            depth += bool(layer)
        seconds = time.perf_counter() - started
        return Found(len(self.came_from), self.steps, len(self.recovered), depth, not layer, seconds)

    def _steps(self, world: World, key: bytes) -> Iterator[tuple[World, bytes]]:
        for menu in self.scope.menus:
            for step in menu(world, self.scope):
                self.steps += 1
                after = self._take(step, key)
                if after is not world:
                    yield from self._new(after, key, step.label)

    def _take(self, step: Step, key: bytes) -> World:
        try:
            return step.run()
        except Broken as broken:
            raise Hole(broken, [*self.story(key), step.label]) from None

    def _new(self, world: World, parent: bytes | None, label: str) -> Iterator[tuple[World, bytes]]:
        ledger = ledger_key(world)
        key = fingerprint((ledger, actors_key(world)))
        if key in self.came_from:
            return
        self.came_from[key] = (parent, label)
        if self.scope.recovers:
            self._recover(world, fingerprint(ledger), key)
        yield world, key

    def _recover(self, world: World, ledger: bytes, key: bytes) -> None:
        """Property (c), once for each state of the ledger and the target, and once for what it settles into."""
        if ledger in self.recovered:
            return
        self.recovered.add(ledger)
        try:
            for settled in settlements(world):
                name = fingerprint(ledger_key(settled))
                if name not in self.settled:
                    self.settled.add(name)
                    recover(settled)
        except Broken as broken:
            raise Hole(broken, [*self.story(key), "everybody is honest from here on"]) from None

    def story(self, key: bytes) -> list[str]:
        """The labels of the steps that led to a state."""
        labels = []
        parent, label = self.came_from[key]
        while parent is not None:
            labels.append(label)
            parent, label = self.came_from[parent]
        return labels[::-1]


def begin(scope: Scope) -> World:
    """The world of a scope: E1 claimed for bob (or for nobody), and the pauses that are open from the start."""
    world = empty_world(scope.observers)
    if scope.owned:
        world, _ = publish(world, "execution.claimed", "bob", execution="E1", owner="bob")
    for one in scope.setup:
        world, code = publish(world, "pause.opened", "bob", pause=one.pause, execution=one.execution, **one.data)
        assert code == "ok", code
    return world
