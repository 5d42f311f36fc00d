"""Rows that share a prefix stay together because all rows stay in order: also in files of requests,
where nothing but a row's body tells what it shares."""

from __future__ import annotations

import json
from itertools import groupby

import msgspec
import pytest

from functions.batch.rows import Caps
from functions.batch.sending.shard_files import shard_rows
from tests.support.driver import World
from tests.support.lines import jsonl
from tests.support.priced_job import row
from tests.support.twin_provider import TwinDialect, TwinProvider

PREFIXES, EACH, CAP = 6, 45, 50
TEXTS = [f"{n // EACH} is the prefix of row {n}" for n in range(PREFIXES * EACH)]


@pytest.fixture
def world() -> World:
    twin = TwinProvider("openai")
    return World(
        dialects=(TwinDialect("openai"),),
        providers={"openai": lambda: twin},
        on_wait=lambda _: twin.tick(),
        caps=Caps(rows=CAP),
    )


def opened(world: World) -> str:
    """Rows of two models, turn about."""
    rows = [row(text, "mn"[n % 2]) for n, text in enumerate(TEXTS)]
    job_id = world.drop("a.jsonl", jsonl(rows))
    for piece in msgspec.json.decode(world.work.get(world.plan(job_id).manifest)):
        world.shard(job_id, piece)
    world.open_round(job_id, 1)
    return job_id


def texts(world: World, job_id: str, round_number: int) -> dict[str, list[list[str]]]:
    """By model, those of each batch, as they are sent."""
    found: dict[str, list[list[str]]] = {}
    for shard in world.ledger.shards(job_id, round_number):
        lines = [json.loads(each.line)["text"] for each in shard_rows(shard, world.work)]
        found.setdefault(shard.model, []).append(lines)
    return found


@pytest.mark.parametrize("split_bytes", [1 << 29, 2_000, 700], ids=["whole", "ranges", "small"])
def test_rows_are_sent_in_the_order_of_the_input(world: World, split_bytes: int) -> None:
    world.split_bytes = split_bytes
    sent = texts(world, opened(world), 1)
    for turn, model in enumerate("mn"):
        batches = sent[model]
        assert [text for batch in batches for text in batch] == TEXTS[turn::2]
        runs = [len(list(groupby(batch, key=lambda text: text[0]))) for batch in batches]
        # Where one batch ends and the next begins, a prefix may be cut in two; nowhere else.
        assert sum(runs) <= PREFIXES + len(batches) - 1


def test_what_goes_again_keeps_it(world: World) -> None:
    job_id = opened(world)
    twin = world.providers["openai"]()
    assert isinstance(twin, TwinProvider)
    again = [text for n, text in enumerate(TEXTS) if n % 7 < 4]
    twin.failing = dict.fromkeys(again, 1)
    for shard in list(world.ledger.shards(job_id, 1)):
        world.run_shard(job_id, "openai", shard.shard_id)
    world.open_round(job_id, 2)
    sent = texts(world, job_id, 2)
    for turn, model in enumerate("mn"):
        flat = [text for batch in sent[model] for text in batch]
        assert flat == [text for text in TEXTS[turn::2] if text in set(again)]
