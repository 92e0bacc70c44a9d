"""Random ledgers, long and wild: what must hold of the fold and of the decisions whatever is on the log."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator
from datetime import datetime, timedelta

import pytest
from hypothesis import HealthCheck, given, settings

from ledger.cloudevents import Fault, read_event
from ledger.decision import decide
from ledger.fold import Replay
from ledger.packet import Pause, WorkItem, work_item_adapter
from ledger.record import Record
from ledger.times import LATEST, shifted
from ledger.verdict import Verdict
from tests.simulation.ledgers import ledgers

MICROSECOND = timedelta(microseconds=1)
BRANCHES = {"resume", "review", "reconcile", "settle", "terminate", "closed"}
SLOW = [HealthCheck.too_slow, HealthCheck.data_too_large, HealthCheck.large_base_example]
few = settings(max_examples=100, derandomize=True, deadline=None, database=None, suppress_health_check=SLOW)
many = settings(few, max_examples=5_000)

Test = Callable[[list[Record]], None]


def told(records: list[Record]) -> Iterator[tuple[Record, WorkItem | None, WorkItem | None, Verdict]]:
    """Each record with its verdict, and with its work item before and after it."""
    replay = Replay(1)
    for record in records:
        event = read_event(record, 1)
        subject = None if isinstance(event, Fault) else event.subject
        before = None if subject is None else replay.items.get(subject)
        verdict = replay.take(record)
        yield record, before, None if subject is None else replay.items[subject], verdict


def items_of(records: list[Record]) -> Iterator[WorkItem]:
    """Every state that a work item has been in."""
    return (after for _, _, after, _ in told(records) if after is not None)


def folded(records: list[Record], replay: Replay | None = None) -> Replay:
    replay = replay or Replay(1)
    replay.take_all(records)
    return replay


def check_verdicts(records: list[Record]) -> None:
    """Refused, duplicate and malformed entries change nothing but version and instant, and instants never go back."""
    for _, before, after, verdict in told(records):
        if verdict.verdict == "malformed":
            continue
        assert after is not None
        assert after.instant is not None
        assert after.version == 1 + (before.version if before is not None else 0)
        if before is not None and before.instant is not None:
            assert after.instant >= before.instant
        if verdict.verdict != "accepted":
            still = before or WorkItem.unseen(after.subject, 0)
            assert after == still.but(version=after.version, instant=after.instant)


def check_halves(records: list[Record]) -> None:
    """Folding a ledger in two pieces gives what folding it in one does."""
    whole = folded(records)
    for cut in {0, len(records) // 3, len(records) - 1}:
        assert folded(records[cut:], folded(records[:cut])).items == whole.items


def check_grants(records: list[Record]) -> None:
    """A fence is attempted once, fences grow, and a pause has one outstanding grant at most, that of its fence."""
    attempts: Counter[int] = Counter()
    granted: dict[tuple[str, str], set[int]] = {}
    last = -1
    for record, before, after, verdict in told(records):
        if verdict.verdict != "accepted" or verdict.fence is None:
            continue
        assert before is not None
        assert after is not None
        data = read_event(record, 1).data  # type: ignore[union-attr]
        pause = after.pauses[data.pause]
        if verdict.type == "pauseledger.resume.requested":
            assert before.pauses[data.pause].grant != "granted"
            assert (pause.grant, pause.fence, pause.side_effect) == ("granted", record.offset, "indeterminate")
            assert last < record.offset == verdict.fence
            last = record.offset
            granted.setdefault((after.subject, data.pause), set()).add(record.offset)
        else:
            attempts[verdict.fence] += 1
            assert verdict.fence in granted[after.subject, data.pause]
            assert (pause.grant, pause.side_effect) == ("attempted", "indeterminate")
    assert all(count == 1 for count in attempts.values())


def check_unsettled(records: list[Record]) -> None:
    """Between two accepted attempts of one action lies an observation that the first did not happen."""
    may_have: dict[tuple[str, str], set[str]] = {}
    for record, before, after, verdict in told(records):
        if verdict.verdict != "accepted" or before is None or after is None:
            continue
        event = read_event(record, 1)
        name = getattr(event.data, "pause", None)  # type: ignore[union-attr]
        digest = None if name is None else after.pauses[name].action_digest
        doing = may_have.setdefault((after.subject, digest or ""), set())
        if verdict.type == "pauseledger.side_effect.attempted" and digest is not None and name is not None:
            assert verdict.fence is None or not doing
            doing.add(name)
        elif name is not None and after.pauses[name].side_effect == "not_happened":
            doing.discard(name)


def check_indexes(records: list[Record]) -> None:
    """What a work item keeps beside its pauses says no other than its pauses do."""
    for item in items_of(records):
        pauses = item.pauses.values()
        assert set(item.open) == {one.pause for one in pauses if one.is_open}
        assert set(item.unsettled) == {one.pause for one in pauses if one.side_effect == "indeterminate"}
        landed = {
            (one.action_digest, one.pause) for one in pauses if one.side_effect == "happened" and one.action_digest
        }
        assert {(digest, name) for digest, names in item.landed.items() for name in names} == landed


def probes(pause: Pause, item: WorkItem) -> set[datetime]:
    """The instants around everything that might change with time, and the far end."""
    assert item.instant is not None
    edges = {item.instant, LATEST} | {one for one in (pause.fresh_until, pause.lapses_at) if one is not None}
    around = {shifted(edge, by) for edge in edges for by in (-MICROSECOND, timedelta(0), MICROSECOND)}
    return {instant for instant in around if instant >= item.instant}


def results(item: WorkItem, pause: Pause, at: datetime) -> tuple[str, ...]:
    return tuple(decide(item, pause, at).judgement)


def check_decisions(records: list[Record]) -> None:
    """Each pause has a decision at any instant; it holds until just before ``valid_until``, and no longer."""
    for item in folded(records).items.values():
        for pause in item.pauses.values():
            for at in probes(pause, item):
                decision = decide(item, pause, at)
                assert decision.judgement.decision in BRANCHES
                assert decision.as_dict()["reason"].endswith(".")
                until = decision.valid_until
                ends = sorted(later for later in probes(pause, item) if later > at)
                changed = [later for later in ends if results(item, pause, later)[2:] != results(item, pause, at)[2:]]
                if not pause.is_open:
                    assert until is None
                else:
                    assert until == min(changed, default=None)


def check_snapshots(records: list[Record]) -> None:
    """A work item that was written as JSON and read again is the same, and folds on alike."""
    half = len(records) // 2
    replay = folded(records[:half])
    whole = folded(records)
    for subject, item in replay.items.items():
        again = work_item_adapter().validate_json(work_item_adapter().dump_json(item))
        assert again == item
        replay.items[subject] = again
    assert folded(records[half:], replay).items == whole.items


CHECKS = [
    check_verdicts,
    check_halves,
    check_grants,
    check_unsettled,
    check_indexes,
    check_decisions,
    check_snapshots,
]
each = pytest.mark.parametrize("check", CHECKS, ids=lambda check: check.__name__.removeprefix("check_"))


@each
def test_whatever_is_on_the_log(check: Test) -> None:
    """Of a hundred ledgers of up to sixty records, always the same ones, each property holds."""
    few(given(ledgers(60))(check))()


@pytest.mark.soak
@pytest.mark.timeout(7_200)
@each
def test_whatever_is_on_a_long_log(check: Test) -> None:
    """The same for five thousand ledgers of up to 250 records."""
    many(given(ledgers(250))(check))()


def test_the_random_ledgers_are_not_shallow() -> None:
    """Over those hundred ledgers nearly every type is accepted, and most codes are given: not only refusals."""
    # Nearly: what Hypothesis draws depends a little on which modules were imported before.
    seen: Counter[str] = Counter()

    def count(records: list[Record]) -> None:
        seen.update(f"{verdict.type} {verdict.code}" for *_, verdict in told(records))

    few(given(ledgers(60))(count))()
    accepted = {name for name in seen if name.endswith(" ok")}
    assert len(accepted) >= 14, sorted(accepted)
    assert len(seen) > 50, sorted(seen)
    assert seen["pauseledger.resume.requested ok"] > 10
