"""The guard on a real ledger: what is told as happened is done, and a permission is used while it lasts."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from functools import partial
from typing import Any

import pytest

from ledger.errors import WrongUsage
from ledger.runtimes import guard as guard_module
from ledger.runtimes.gate import Gate, Grant
from ledger.runtimes.guard import Unfinished, seconds_left, steady
from ledger.runtimes.pauses import Paused
from ledger.runtimes.shut import Shut
from ledger.times import parse_instant
from tests.ledger.runtimes.test_gate import ANNA, opened, paused_at

Effects = list[str]


def coroutine_of(done: Effects) -> Callable[[], Any]:
    async def act() -> None:
        done.append("acted")

    return lambda: act()


def generator_of(done: Effects) -> Callable[[], Any]:
    def act() -> Any:
        done.append("acted")
        yield

    return lambda: act()


def async_generator_of(done: Effects) -> Callable[[], Any]:
    async def act() -> Any:
        done.append("acted")
        yield

    return lambda: act()


class Later:
    """A callable whose call is a coroutine."""

    def __init__(self, done: Effects) -> None:
        self._done = done

    async def __call__(self) -> None:
        self._done.append("acted")


@pytest.mark.parametrize("made", [coroutine_of, generator_of, async_generator_of, Later])
def test_what_is_still_to_be_done_is_not_told_as_done(gate: Gate, made: Any) -> None:
    """The effect came back with something that has yet to run: nobody knows then, and the caller is told at once."""
    paused, done = opened(gate), Effects()
    guarded = gate.guard(gate.request_resume(paused, who=ANNA), proof=(Exception,))(made(done))
    with pytest.raises(Unfinished, match="not done yet"):
        guarded()
    packet = gate.packet(paused)
    assert (packet["side_effect"], packet["state"], done) == ("indeterminate", "open", [])


def test_an_async_effect_that_comes_back_with_another_is_not_done_either(gate: Gate) -> None:
    """The coroutine was awaited, and what it returned was not."""
    paused, done = opened(gate), Effects()

    async def effect() -> Any:
        return Later(done)()

    with pytest.raises(Unfinished):
        asyncio.run(gate.guard(gate.request_resume(paused, who=ANNA))(effect)())
    assert (gate.packet(paused)["side_effect"], done) == ("indeterminate", [])


def test_generator_functions_are_refused_before_anything_is_attempted(gate: Gate) -> None:
    """What runs only while somebody iterates over it can't be done in a guard: the decorator says so."""
    paused, done = opened(gate), Effects()
    guard = gate.guard(gate.request_resume(paused, who=ANNA))

    def generator(amount: int) -> Any:
        done.append("acted")
        yield

    async def async_generator() -> Any:
        done.append("acted")
        yield

    for effect in (generator, async_generator, partial(generator, 20)):
        with pytest.raises(WrongUsage, match="generator"):
            guard(effect)
    assert gate.packet(paused)["grant"] == "granted"


def test_a_decorated_effect_keeps_its_name(gate: Gate) -> None:
    """What a decorator makes of an effect is called as the effect is, sync or not."""
    paused = opened(gate)
    guard = gate.guard(gate.request_resume(paused, who=ANNA))

    def refund() -> None:
        """Refund."""

    async def refund_later() -> None:
        """Refund."""

    for effect in (refund, refund_later):
        assert guard(effect).__name__ == effect.__name__


def test_the_adapters_of_engines_do_not_tell_it_as_done(gate: Gate) -> None:
    """Temporal's activity, where the function is plain and comes back with a coroutine."""
    pytest.importorskip("temporalio")
    from ledger.runtimes.temporal import _done

    paused, done = opened(gate), Effects()

    async def act() -> None:
        async with gate.guard(gate.request_resume(paused, who=ANNA)) as permit:
            await _done(lambda _: coroutine_of(done)(), permit)

    with pytest.raises(Unfinished):
        asyncio.run(act())
    assert (gate.packet(paused)["side_effect"], done) == ("indeterminate", [])


def late_by_the_steady_clock(patch: pytest.MonkeyPatch) -> None:
    clock = iter([0.0, 31.0])
    patch.setattr(guard_module, "steady", lambda: next(clock))


def late_by_the_machines_clock(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(guard_module, "wall", lambda: datetime.now(UTC) + timedelta(seconds=31))


@pytest.mark.parametrize("late", [late_by_the_steady_clock, late_by_the_machines_clock])
def test_a_permission_that_came_too_late_is_not_used(
    gate: Gate, monkeypatch: pytest.MonkeyPatch, late: Callable[[pytest.MonkeyPatch], None]
) -> None:
    """An attempt that was accepted, and answered after the plan had gone stale by one clock: told as not happened."""
    paused = opened(gate, fresh_for=timedelta(seconds=30))
    grant = gate.request_resume(paused, who=ANNA)
    late(monkeypatch)
    with pytest.raises(Shut, match="ran out"), gate.guard(grant):
        raise AssertionError("acted on a stale plan")
    monkeypatch.undo()
    assert gate.packet(paused)["side_effect"] == "not_happened"


@pytest.mark.parametrize(
    ("recorded", "passed", "now", "left"),
    [
        ("12:00:00", 2.0, "12:00:02", 8.0),
        ("12:00:00", 2.0, "12:00:07", 3.0),  # the steady clock stood still for 5 s: the machine slept
        ("12:00:00", 7.0, "12:00:02", 3.0),  # this machine's clock was set back
        ("11:59:00", 0.0, "12:00:00", 10.0),  # the log's clock went back by a minute: the entry's instant is later
        ("12:00:00", 0.0, "11:00:00", 10.0),  # a clock that is behind makes it no longer
    ],
)
def test_how_long_a_permission_lasts(recorded: str, passed: float, now: str, left: float) -> None:
    """By whichever clock says less; without an end where the decision has none."""
    told = {"recorded_at": f"2026-11-24T{recorded}Z", "valid_until": "2026-11-24T12:00:10Z"}
    assert seconds_left(told, passed, now=parse_instant(f"2026-11-24T{now}Z")) == left
    assert seconds_left({**told, "valid_until": None}, passed) is None


def test_the_steady_clock_goes_on() -> None:
    """It is of the system, in seconds, and never goes back."""
    first, began = steady(), time.monotonic()
    time.sleep(0.02)
    assert 0.02 <= steady() - first < time.monotonic() - began + 1


def held_back(gate: Gate) -> tuple[Paused, Grant]:
    """A grant, and after it another pause of the same action, of which nobody knows whether it was done."""
    paused = opened(gate)
    grant = gate.request_resume(paused, who=ANNA)
    gate.pause(paused_at("i-2"), side_effect="indeterminate")
    return paused, grant


def test_a_refused_attempt_leaves_no_debt(gate: Gate) -> None:
    """The way was no longer clear, and nothing was done: nobody owes an outcome, and the fence is void."""
    paused, grant = held_back(gate)
    with pytest.raises(Shut) as caught, gate.guard(grant):
        raise AssertionError("acted on what may be done already")
    assert (caught.value.code, caught.value.branch) == ("no-longer-clear", "reconcile")
    packet = gate.packet(paused)
    assert (packet["side_effect"], packet["grant"]) == ("not_happened", "none")
    assert gate.decision(paused)["debt"] is None
    with pytest.raises(Shut) as caught, gate.guard(grant):
        raise AssertionError("acted with a fence that was given back")
    assert caught.value.code == "stale-fence"


class Overtaken:
    """A publisher between whose refusal and next telling somebody else's attempt with the same fence is accepted."""

    def __init__(self, gate: Gate, grant: Grant) -> None:
        self._gate, self._grant = gate, grant
        self._publisher = gate._publisher

    def publish(self, event: Any, *, deadline_seconds: float | None = None) -> Any:
        if event["type"] == "pauseledger.side_effect.observed":
            self._gate.reconcile(paused_at("i-2"), lambda _: "not_happened")
            self._gate.guard(self._grant, close=False).__enter__()
        return self._publisher.publish(event, deadline_seconds=deadline_seconds)


def test_of_a_fence_that_another_has_used_meanwhile_nothing_is_told(gate: Gate) -> None:
    """Two processes hold one fence: one is refused, and the other's attempt stands, whatever the first has to say."""
    paused, grant = held_back(gate)
    with pytest.raises(Shut) as caught, Gate(Overtaken(gate, grant), gate._reader, source="urn:two").guard(grant):
        raise AssertionError("acted although it was refused")
    assert caught.value.code == "no-longer-clear"
    packet = gate.packet(paused)
    assert (packet["side_effect"], packet["grant"]) == ("indeterminate", "attempted")
    assert gate.decision(paused)["decision"] == "reconcile"


def test_a_second_grant_while_the_effect_was_under_way_is_said_aloud(
    gate: Gate, caplog: pytest.LogCaptureFixture
) -> None:
    """Somebody told not_happened of an effect that still ran: when it comes back, the log says that it may be two."""
    paused = opened(gate)
    with gate.guard(gate.request_resume(paused, who=ANNA)):
        gate.reconcile(paused, lambda _: "not_happened", who=ANNA)
        with gate.guard(gate.request_resume(paused, who=ANNA)):
            pass
    (loud,) = [one for one in caplog.records if one.levelname == "ERROR"]
    assert "may have been done twice" in loud.getMessage()
    assert "could not be told" not in caplog.text
    assert "its pause was not closed: The pause is closed." in caplog.text
    assert gate.packet(paused)["side_effect"] == "happened"


def test_an_observation_that_is_refused_is_said_as_such(gate: Gate, caplog: pytest.LogCaptureFixture) -> None:
    """Cut off, while somebody had found it done: nobody knows is refused, and the log says that and nothing else."""
    paused = opened(gate)

    @gate.guard(gate.request_resume(paused, who=ANNA))
    def effect() -> None:
        gate.reconcile(paused, lambda _: "happened", who=ANNA)
        raise OSError("cut off")

    with pytest.raises(OSError, match="cut off"):
        effect()
    (said,) = [one.getMessage() for one in caplog.records]
    assert said.startswith(f"{paused.pause} of T-1, seen as indeterminate, was refused: It is on the ledger")
    assert gate.packet(paused)["side_effect"] == "happened"


def test_an_effect_that_was_done_once_says_nothing(gate: Gate, caplog: pytest.LogCaptureFixture) -> None:
    """The usual way leaves no line on the log."""
    with gate.guard(gate.request_resume(opened(gate), who=ANNA)) as permit:
        pass
    assert caplog.records == []
    assert repr(permit) == f"Permit(action='refund', fence={permit.fence}, entry='{permit.entry}')"
