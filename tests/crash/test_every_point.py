"""A job is killed at each call of a port, over the in-memory twins, and always comes to its end:
every row one line, nothing paid twice, nothing left at a provider."""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from functions.batch.collecting import answer_reading
from functions.batch.model import Shard
from functions.batch.ports import Provider
from functions.batch.reading import legs
from functions.batch.sending.submission import Submitter
from functions.batch.upkeep.cleaning import Cleaner
from tests.crash.twin_job import NAMES, Run
from tests.support.tripwire import SHARD_STEPS, Call, Mode, Point, points
from tests.support.twin_provider import TwinProvider

MEMORY = Path("/dev/shm")


@pytest.fixture(autouse=True)
def _disk_in_memory(monkeypatch: pytest.MonkeyPatch) -> None:
    if MEMORY.is_dir():
        monkeypatch.setattr(tempfile, "tempdir", str(MEMORY))


@pytest.mark.parametrize("mode", ["once", "stubborn", "broken", "stopped"])
def test_a_job_survives_its_death_at_any_call(
    mode: Mode, record_property: Callable[[str, object], None]
) -> None:
    whole = Run()
    assert whole.problems() == []
    survived, set_aside = 0, 0
    for point in points(whole.calls, mode):
        run = Run(point)
        assert run.world.wire.crashes, f"never reached: {point}"
        assert run.problems() == [], str(point)
        survived += 1
        set_aside += run.world.set_aside
    print(f"\n{survived} crash points survived ({mode}; {set_aside} times a shard was set aside)")
    record_property(f"crash_points_{mode}", survived)
    assert survived > 150
    assert bool(set_aside) == (mode == "stubborn")


@pytest.mark.parametrize("mode", ["once", "broken", "stopped"])
def test_a_job_whose_canary_is_in_trouble_survives_it_too(
    mode: Mode, record_property: Callable[[str, object], None]
) -> None:
    """One batch for each model goes first, a person is asked, then the others follow."""
    whole = Run(canary=True)
    assert whole.problems() == []
    asked = [message for subject, message in whole.world.alerts.sent if "approval" in subject]
    assert len(asked) == 2
    calls = [call for call in whole.calls if call.step not in SHARD_STEPS]
    survived = 0
    for point in points(calls, mode):
        run = Run(point, canary=True)
        assert run.world.wire.crashes, f"never reached: {point}"
        assert run.problems() == [], str(point)
        survived += 1
    record_property(f"crash_points_canary_{mode}", survived)
    assert survived > 50


@pytest.mark.parametrize("mode", ["once", "broken", "stopped"])
def test_results_put_together_in_slices_survive_it_too(
    mode: Mode, record_property: Callable[[str, object], None]
) -> None:
    whole = Run(in_slices=True)
    assert whole.problems() == []
    assert whole.results.stored.keys() == Run().results.stored.keys()
    calls = [call for call in whole.calls if call.step in ("cut", "slice", "join", "report")]
    assert sum(call == Call("slice", "workflow", "answer") for call in calls) > 3
    survived = 0
    for point in points(calls, mode):
        run = Run(point, in_slices=True)
        assert run.world.wire.crashes, f"never reached: {point}"
        assert run.problems() == [], str(point)
        survived += 1
    record_property(f"crash_points_slices_{mode}", survived)
    assert survived > 50


@pytest.mark.parametrize("mode", ["once", "broken"])
def test_a_job_whose_calls_hand_over_survives_it_too(
    mode: Mode, record_property: Callable[[str, object], None], monkeypatch: pytest.MonkeyPatch
) -> None:
    """With a clock that is always short: each call reads two rows or answers, and hands over."""
    monkeypatch.setattr(legs, "LOOK", 250)
    monkeypatch.setattr(answer_reading, "_LOOK", 200)

    def late(point: Point | None = None) -> Run:
        return Run(point, clock=lambda: lambda: 0.0)

    whole = late()
    assert whole.problems() == []
    steps = ("shard", "price", "collect", "clean up")
    calls = [call for call in whole.calls if call.step in steps]
    for step in ("shard", "collect"):
        often = calls.count(Call(step, "workflow", "answer"))
        assert often > Run().calls.count(Call(step, "workflow", "answer")) + 2, step
    survived = 0
    for point in points(calls, mode):
        run = late(point)
        assert run.world.wire.crashes, f"never reached: {point}"
        assert run.problems() == [], str(point)
        survived += 1
    record_property(f"crash_points_handed_over_{mode}", survived)
    assert survived > 50


@pytest.mark.parametrize("cancel_at", [2, 5])
def test_a_cancelled_job_survives_it_too(
    cancel_at: int, record_property: Callable[[str, object], None]
) -> None:
    whole = Run(cancel_at=cancel_at)
    assert whole.problems() == []
    survived = 0
    for point in points(whole.calls, "broken"):
        assert Run(point, cancel_at=cancel_at).problems() == [], str(point)
        survived += 1
    print(f"\n{survived} crash points survived (broken, and cancelled at wait {cancel_at})")
    record_property(f"crash_points_cancelled_at_{cancel_at}", survived)


@pytest.mark.parametrize("late", [0, 1, 2])
@pytest.mark.parametrize("name", NAMES)
def test_a_create_that_lands_late_is_found_and_not_repeated(name: str, late: int) -> None:
    def lose(twins: dict[str, TwinProvider]) -> None:
        twins[name].late = late
        twins[name].lost = 2

    run = Run(prepare=lose)
    assert run.problems() == []
    assert run.begun == Run().begun


class WithoutIntent(Submitter):
    """Says nothing to the ledger before the batch is there."""

    def _intend(self, shard: Shard) -> Shard:
        shard.attempt += 1
        return shard

    def _stage(self, shard: Shard, provider: Provider, path: Path) -> Shard:
        if provider.uses_staged_files:
            shard.staged = [file.id for file in provider.stage(path, self._tag(shard))]
        return shard


class WithoutLookUp(Submitter):
    """Takes a create whose outcome is unknown for one that failed."""

    def _look(self, shard: Shard, provider: Provider) -> None:
        return None


class WithoutAdoption(Submitter):
    """Does not ask for files whose upload was not recorded."""

    def _adopt(self, shard: Shard, provider: Provider) -> None:
        return None


def _problems(submitter: type[Submitter]) -> Iterator[str]:
    for point in points(Run().calls):
        if point.call.step == "submit" and point.when == "after":
            yield from Run(point, submitter=submitter).problems()


@pytest.mark.parametrize(
    ("submitter", "problem"),
    [
        (WithoutIntent, "billed twice"),
        (WithoutIntent, "files left"),
        (WithoutLookUp, "billed twice"),
    ],
)
def test_without_its_precautions_a_job_does_not_survive(
    submitter: type[Submitter], problem: str
) -> None:
    assert any(problem in each for each in _problems(submitter))


def test_lost_uploads_stay_if_nobody_asks_for_them(monkeypatch: pytest.MonkeyPatch) -> None:
    """Neither when the shard goes on nor, a second time, when it is cleaned."""
    monkeypatch.setattr(Cleaner, "_strays", lambda *_: [])
    assert not list(_problems(Submitter))
    assert any("files left" in each for each in _problems(WithoutAdoption))
