"""A row is weighed when it is read; one of an earlier release, when its answer has come."""

from __future__ import annotations

import re

import msgspec

from functions.batch.learning import Learned
from functions.batch.sending import laps
from tests.support.driver import World
from tests.support.twin_provider import TwinDialect, TwinProvider


def lesson(*, earlier_release: bool) -> Learned:
    twin = TwinProvider("twin")
    world = World(dialects=[TwinDialect("twin")], providers={"twin": lambda: twin})
    rows = [{"twin": "twin", "model": "m", "text": "a" * number} for number in range(1, 6)]
    data = b"".join(msgspec.json.encode(row) + b"\n" for row in rows)
    job_id = world.drop("a.jsonl", data)
    made = world.plan(job_id)
    for piece in msgspec.json.decode(world.work.get(made.manifest)):
        world.shard(job_id, piece)
    if earlier_release:
        for key in world.work.keys(f"{job_id}/rows/"):
            stored = world.work.stored[key]
            header = re.compile(rb"\[(0,0,null,null,0,0,false,0),-1,\d+,\d+,\d+\]\t")
            world.work.stored[key], changed = header.subn(rb"[\1]\t", stored)
            assert changed
    assert world.admit(job_id) == "start"
    (run,) = world.open_round(job_id, 1).shards
    step = world.submitter("twin").submit(job_id, run.shard_id, laps.first())
    while step.next == "wait":
        twin.tick()
        step = world.poller("twin").poll(job_id, run.shard_id, step)
    world.collector("twin").collect(job_id, run.shard_id)
    return world.ledger.learned("twin", "m")


def test_either_teaches_the_same() -> None:
    found = lesson(earlier_release=False)
    assert found.rows == 5
    assert found.tokens > 0 < found.input_tokens
    assert lesson(earlier_release=True) == found
