"""Answers that are read by several calls come to what one call makes of them."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence

import msgspec
import pytest

from functions.batch import layout
from functions.batch.collecting import answer_reading
from functions.batch.deadline import Remaining
from functions.batch.sending import laps
from functions.batch.sending.shard_files import shard_rows
from tests.support.driver import World
from tests.support.lines import jsonl
from tests.support.twin_provider import TwinDialect, TwinProvider

SHARD = "01-00001"


class Counted(TwinProvider):
    """How often an output was downloaded, and how many lines of it were taken."""

    def __init__(self) -> None:
        super().__init__("openai")
        self.opened: list[str] = []
        self.taken = 0

    def answers(self, outputs: Sequence[str]) -> Iterator[bytes]:
        self.opened += outputs
        for line in super().answers(outputs):
            self.taken += 1
            yield line


def shard(clock: Callable[[], Remaining]) -> tuple[World, Counted, str]:
    """One of 24 rows, whose batch has ended: a third of them has failed."""
    twin = Counted()
    world = World(
        dialects=(TwinDialect("openai"),),
        providers={"openai": lambda: twin},
        on_wait=lambda _: twin.tick(),
        clock=clock,
    )
    rows = [
        {
            "twin": "openai",
            "model": "m",
            "text": f"{'bad' * (n % 3 == 1)} {n}",
            "custom_id": f"id {n}",
        }
        for n in range(24)
    ]
    job_id = world.drop("a.jsonl", jsonl(rows))
    made = world.plan(job_id)
    world.clock = lambda: lambda: 1e9
    assert world.read_and_admit(job_id, made) == "start"
    world.clock = clock
    world.open_round(job_id, 1)
    return world, twin, job_id


@pytest.fixture(autouse=True)
def _often(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(answer_reading, "_LOOK", 1)


def result(world: World, job_id: str) -> dict[str, bytes]:
    """Of the shard: its parts, and what it came to."""
    folders = ("parts", "failed", "collected")
    return {
        key: value
        for key, value in world.work.stored.items()
        if key.removeprefix(f"{job_id}/").startswith(folders)
    }


def test_calls_that_are_always_short_come_to_the_same() -> None:
    """Each reads one answer more; what was read whole is not downloaded again."""
    world, twin, job_id = shard(lambda: lambda: 1e9)
    world.run_shard(job_id, "openai", SHARD)
    wanted = result(world, job_id)
    assert len(twin.opened) == 2
    world, twin, job_id = shard(lambda: lambda: 0.0)
    world.run_shard(job_id, "openai", SHARD)
    assert result(world, job_id) == wanted
    assert world.ledger.shard(job_id, SHARD).status == "cleaned"
    succeeded, failed = dict.fromkeys(twin.opened)
    assert [twin.opened.count(succeeded), twin.opened.count(failed)] == [16, 1 + 8]
    assert not twin.left()


def test_a_call_with_time_to_read_but_not_to_sort_hands_over() -> None:
    world, twin, job_id = shard(lambda: lambda: answer_reading.SORTING - 1)
    world.run_shard(job_id, "openai", SHARD)
    assert len(twin.opened) == 2
    assert twin.taken == 24
    spools = list(world.work.keys(layout.answers(job_id, SHARD)))
    assert len(spools) == 2
    world, _, job_id = shard(lambda: lambda: answer_reading.SORTING)
    world.run_shard(job_id, "openai", SHARD)
    assert not list(world.work.keys(layout.answers(job_id, SHARD)))


def test_nothing_is_deleted_before_the_last_call() -> None:
    world, twin, job_id = shard(lambda: lambda: 0.0)
    kept: list[int] = []
    collector = world.collector("openai")
    world.collector = lambda provider: kept.append(len(twin.left())) or collector
    world.run_shard(job_id, "openai", SHARD)
    assert len(kept) == 25
    assert set(kept) == {3}


OLDER = {"index": {"000000-000000": [{"1": 259}, [0], [0], 259]}, "v": 5}
"""As an earlier release stored it."""


@pytest.mark.parametrize("changed", [{"batch_id": "other-batch"}, {"v": 6}, OLDER])
def test_what_was_read_of_another_batch_or_stored_in_another_form_is_not_taken_up(
    changed: dict[str, object],
) -> None:
    world, twin, job_id = shard(lambda: lambda: 0.0)
    step = world.submitter("openai").submit(job_id, SHARD, laps.first())
    while step.next == "wait":
        twin.tick()
        step = world.poller("openai").poll(job_id, SHARD, step)
    world.collector("openai").collect(job_id, SHARD, lambda: 0.0)
    key = layout.answers(job_id, SHARD)
    stored = msgspec.json.decode(world.work.get(key), type=dict[str, object])
    assert stored.items() > {"batch_id": "openai-batch-1", "v": 7}.items()
    world.work.put(key, msgspec.json.encode({**stored, **changed}))
    before = twin.taken
    world.collector("openai").collect(job_id, SHARD, lambda: 1e9)
    assert twin.taken - before == 24
    assert world.ledger.shard(job_id, SHARD).status == "collected"


class Lacking(Counted):
    """An output that ends too early, and does not say so."""

    def answers(self, outputs: Sequence[str]) -> Iterator[bytes]:
        for line in super().answers(outputs):
            if b"echo  23" not in line:
                yield line


def test_what_lacks_is_read_for_once_more_however_many_calls_it_takes() -> None:
    for remaining, downloads in ((1e9, [2, 2]), (0.0, None)):
        world, twin, job_id = shard(lambda remaining=remaining: lambda: remaining)
        lacking = Lacking()
        lacking.__dict__ = twin.__dict__
        world.providers["openai"] = lambda lacking=lacking: lacking
        world.run_shard(job_id, "openai", SHARD)
        assert world.ledger.shard(job_id, SHARD).status == "cleaned"
        outputs = dict.fromkeys(twin.opened)
        opened = [twin.opened.count(output) for output in outputs]
        assert opened == downloads or (downloads is None and max(opened) < 40)
        (again,) = world.open_round(job_id, 2).shards
        assert len(list(shard_rows(world.ledger.shard(job_id, again.shard_id), world.work))) == 1
