"""The world model, searched exhaustively in small scope: the rules hold, and every rule that is taken out is missed.

The properties, each from what is true in the world, not from what the fold believes:

(a) no action takes effect twice, unless somebody acted outside the ledger;
(b) no attempt is accepted after its deadline, after its grant was void, or after its branch was replaced, moved or
    contested, and none goes past an earlier outcome that nobody knows;
(c) from every state, honest people reach a true close of each pause in force, and a new canonical execution;
(d) what is closed as known is true, and what was known to have happened does not become unknown;
(f) only those with the authority get a grant.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from typing import Any

import pytest

from ledger import refusals
from ledger.refusals import REFUSALS, Scene
from tests.simulation.redundant import REDUNDANT, Redundant
from tests.simulation.removals import REMOVALS, Removal
from tests.simulation.scopes import EVERYTHING, ONE_PAUSE, SCOPES, SOAK
from tests.simulation.search import Hole, Scope, Search, begin
from tests.simulation.world import World, actors_key, ledger_key

Show = Callable[[str], None]


@pytest.fixture
def show(capsys: pytest.CaptureFixture[str]) -> Show:
    """Prints a line past pytest's capture: how much was searched belongs into the test's output."""

    def line(text: str) -> None:
        with capsys.disabled():
            print(f"\n  {text}", end="")

    return line


@pytest.mark.parametrize("scope", SCOPES, ids=lambda scope: scope.name)
def test_the_rules_hold_in(scope: Scope, show: Show) -> None:
    """No step of anybody, in any order, breaks a property in this small world."""
    found = Search(scope).run()
    show(f"{scope.name}: {found}")
    assert found.whole or found.deepest == scope.depth
    assert found.recoveries > 20


@pytest.mark.soak
@pytest.mark.timeout(7_200)
@pytest.mark.parametrize("scope", SOAK, ids=lambda scope: scope.name)
def test_the_rules_hold_deeper_in(scope: Scope, show: Show) -> None:
    """The same small worlds, searched deeper than every test run has time for."""
    found = Search(scope).run()
    show(f"{scope.name}: {found}")
    assert found.whole or found.deepest == scope.depth


@pytest.mark.parametrize("removal", REMOVALS, ids=lambda removal: removal.rule)
def test_without_this_rule_there_is_a_hole(removal: Removal, monkeypatch: pytest.MonkeyPatch, show: Show) -> None:
    """Taking one rule out opens a hole that the search finds, and tells as a shortest story."""
    removal.apply(monkeypatch)
    with pytest.raises(Hole) as caught:
        Search(removal.scope).run()
    hole = caught.value
    show(f"without {removal.rule!r}, {hole}\n")
    assert hole.letter == removal.letter


@pytest.mark.parametrize("removal", REMOVALS, ids=lambda removal: removal.rule)
def test_with_this_rule_there_is_none(removal: Removal) -> None:
    """With all rules in place there is no hole in the small world in which one shows without this rule."""
    if not removal.scope.hasty:
        assert Search(removal.scope._replace(depth=6)).run().steps > 3


@pytest.mark.parametrize("redundant", REDUNDANT, ids=lambda redundant: redundant.rule)
def test_this_rule_is_not_the_only_guard(redundant: Redundant, monkeypatch: pytest.MonkeyPatch) -> None:
    """Without this rule the properties still hold in its small world: another rule stands behind it."""
    redundant.apply(monkeypatch)
    found = Search(redundant.scope).run()
    assert found.whole or found.deepest == redundant.scope.depth


# Nobody in the model names a pause that is not there, gives deadlines in the past, or pretends to be somebody else
# where no property speaks of that. Such events are in the tests of the fold, and in the random ledgers.
NOT_IN_THE_MODEL = {
    "debt.waived no-authority",
    "heartbeat.recorded not-owner",
    "inputs.rechecked still-stale",
    "note.added ok",
    "pause.closed pause-closed",
    "pause.opened stale-owner",
    "review.decided no-authority",
    "review.decided still-stale",
}


def test_the_model_reaches_the_whole_protocol(monkeypatch: pytest.MonkeyPatch) -> None:
    """Over its scopes the model asks every refusal of its event types, and sees every one of them accepted."""
    seen: Counter[tuple[str, str]] = Counter()
    real = refusals.refusal

    def counting(scene: Scene) -> tuple[str, str] | None:
        refused = real(scene)
        seen[scene.event.type, refused[0] if refused else "ok"] += 1
        return refused

    monkeypatch.setattr(refusals, "refusal", counting)
    for scope in SCOPES:
        Search(scope._replace(depth=min(scope.depth, 5), recovers=False)).run()
    for removal in REMOVALS:
        if len(removal.scope.menus) <= 4 and not removal.scope.hasty:
            Search(removal.scope).run()
    expected = {(kind, code) for kind, rules in REFUSALS.items() for code in ("ok", *(rule[0] for rule in rules))}
    never = {f"{kind.removeprefix('pauseledger.')} {code}" for kind, code in expected - set(seen)}
    assert {name for name in never if not name.endswith("no-such-pause")} == NOT_IN_THE_MODEL


def successors(search: Search, world: World) -> set[Any]:
    """The keys of the states one step on."""
    after = [step.run() for menu in search.scope.menus for step in menu(world, search.scope)]
    return {(ledger_key(one), actors_key(one)) for one in after}


@pytest.mark.parametrize("scope", [ONE_PAUSE, EVERYTHING], ids=lambda scope: scope.name)
def test_states_that_are_taken_for_one_behave_as_one(scope: Scope) -> None:
    """Two worlds with one key, however they came about, have the same next worlds: leaving one out loses nothing."""
    search = Search(scope)
    first: dict[Any, set[Any]] = {}
    layer, compared = [begin(scope)], 0
    for _ in range(3):
        for world in layer:
            key = (ledger_key(world), actors_key(world))
            after = successors(search, world)
            compared += key in first
            assert first.setdefault(key, after) == after
        steps = [step.run() for world in layer for menu in scope.menus for step in menu(world, scope)]
        layer = steps[:: max(1, len(steps) // 1_500)]
    assert compared > 150
