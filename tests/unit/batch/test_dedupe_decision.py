"""What is decided about earlier answers: those that are gone are none, and it is decided once."""

from __future__ import annotations

import json
import time
from collections.abc import Callable

import pytest

from functions.batch import layout
from functions.batch.repeats.deduped import find_deduped
from functions.batch.rows import StoredAnswer
from tests.support.deduped_job import dropped, world_of
from tests.support.driver import World
from tests.support.twin_provider import TwinProvider


def forget(world: World) -> None:
    for digest, (answer, _) in world.earlier.known.items():
        world.earlier.known[digest] = (answer, int(time.time()))


def delete(world: World) -> None:
    for key in list(world.results.stored):
        world.results.delete([key] if key.endswith("results.jsonl") else [])


def shorten(world: World) -> None:
    for key, data in world.results.stored.items():
        world.results.stored[key] = data[:-9]


def misplace(world: World) -> None:
    for digest, (answer, until) in world.earlier.known.items():
        moved = StoredAnswer(answer.job_id, answer.offset + 1, answer.length)
        world.earlier.known[digest] = (moved, until)


@pytest.mark.parametrize("lose", [forget, delete, shorten, misplace])
def test_an_answer_that_is_gone_is_none(twin: TwinProvider, lose: Callable[[World], None]) -> None:
    world = world_of(twin)
    world.run(dropped(world, ["a"]))
    lose(world)
    job = dropped(world, ["a", "a"], "later")
    assert world.run(job)["status"] == "succeeded"
    assert twin.sent == {"a": 2}
    assert [each.get("cached", False) for each in world.result_lines(job)] == [False, True]


def test_more_answers_than_the_disk_holds_are_asked_again(
    twin: TwinProvider, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("functions.batch.repeats.deduping.MOST_ANSWERS", 1)
    world = world_of(twin)
    texts = ["a", "b", "c", "b"]
    world.run(dropped(world, texts))
    job = dropped(world, texts, "later")
    summary = world.run(job)
    assert summary["dedupe"]["from_earlier_jobs"] in (1, 2)
    assert twin.sent.total() == 5
    assert [each["text"] for each in world.result_lines(job)] == [f"echo {text}" for text in texts]


def test_a_second_try_keeps_the_first_decision(twin: TwinProvider) -> None:
    """Also where another job has answered in the meantime, or what was found is gone."""
    world = world_of(twin)
    world.run(dropped(world, ["b"], "known"))
    job = dropped(world, ["a", "b"])
    [piece] = json.loads(world.work.get(world.plan(job).manifest))
    world.shard(job, piece)
    world.dedupe(job)
    decided = find_deduped(world.work, job)
    delete(world)
    world.run(dropped(world, ["a"], "meanwhile"))
    world.dedupe(job)
    assert find_deduped(world.work, job) == decided
    world.run(job)
    assert twin.sent == {"a": 2, "b": 1}
    assert [each["text"] for each in world.result_lines(job)] == ["echo a", "echo b"]


def test_a_rival_that_decides_otherwise_changes_nothing(twin: TwinProvider) -> None:
    """Two tries of the step run at once; the slower one finds other answers."""
    world = world_of(twin)
    job = dropped(world, ["a", "b", "b"])
    [piece] = json.loads(world.work.get(world.plan(job).manifest))
    world.shard(job, piece)
    decision = layout.deduped(job)
    world.dedupe(job)
    first = world.work.stored.pop(decision)
    world.run(dropped(world, ["a"], "meanwhile"))
    put_new = world.work.put_new

    def late(key: str, data: bytes) -> None:
        if key == decision:
            world.work.stored.setdefault(decision, first)
        put_new(key, data)

    world.work.put_new = late
    world.dedupe(job)
    assert world.work.stored[decision] == first
    world.run(job)
    assert [each["text"] for each in world.result_lines(job)] == ["echo a", "echo b", "echo b"]
    assert twin.sent == {"a": 2, "b": 1}


def test_two_jobs_at_once_may_both_send(twin: TwinProvider) -> None:
    world = world_of(twin)
    jobs = [dropped(world, ["a", "b"], name) for name in ("one", "two")]
    for job in jobs:
        [piece] = json.loads(world.work.get(world.plan(job).manifest))
        world.shard(job, piece)
        world.dedupe(job)
    for job in jobs:
        assert world.run(job)["status"] == "succeeded"
        assert [each["text"] for each in world.result_lines(job)] == ["echo a", "echo b"]
    assert twin.sent == {"a": 2, "b": 2}
    assert {answer.job_id for answer, _ in world.earlier.known.values()} == {jobs[1]}
