"""Any rows at all, in a job whose recipe says `dedupe`."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from functions.batch.money import DOLLAR, picodollars
from functions.batch.rows import Caps
from functions.batch.spending.canary import ABOVE
from tests.support.deduped_job import world_of
from tests.support.driver import World
from tests.support.lines import jsonl
from tests.support.twin_provider import TwinProvider

TEXTS = st.lists(st.sampled_from(["a", "b", "cc", "bad", "again", "ddd", "é"]), max_size=25)


@settings(max_examples=60)
@given(
    before=TEXTS,
    texts=TEXTS.filter(len),
    cap=st.integers(1, 5),
    split=st.integers(60, 400),
    canary_above=st.sampled_from([0, 3, ABOVE]),
)
def test_each_row_gets_the_answer_to_its_own_request(
    before: list[str], texts: list[str], cap: int, split: int, canary_above: int
) -> None:
    """Whatever comes twice, in whatever ranges and batches, and whatever was answered before."""
    twin = TwinProvider("openai")
    world = world_of(twin)
    world.caps = Caps(rows=cap)
    world.split_bytes = split
    world.canary_above = canary_above
    world.answers = lambda _: "Approve Job"
    if before:
        world.run(_as_lines(world, before, "before"))
    known = {text for text in before if text != "bad"}
    twin.sent.clear()
    twin.failing = {"again": 1}
    job = _as_lines(world, texts, "texts")
    summary = world.run(job)
    lines = world.result_lines(job)
    assert [each["custom_id"] for each in lines] == [f"id {n}" for n in range(len(texts))]
    assert [each["text"] for each in lines] == [
        None if text == "bad" else f"echo {text}" for text in texts
    ]
    new = set(texts) - known
    assert twin.sent == {text: 1 + (text == "again") for text in new}
    own = [text for text, each in zip(texts, lines, strict=True) if "cached" not in each]
    assert sorted(set(own)) == sorted(new)
    assert [text for text in own if text != "bad"] == [
        text for text in dict.fromkeys(texts) if text in new and text != "bad"
    ], "the first of each"
    told = summary["dedupe"]
    assert told["from_earlier_jobs"] == sum(text in known for text in texts)
    answered = sum(text != "bad" for text in texts)
    assert told["from_earlier_jobs"] + told["within_the_job"] == answered - len(new - {"bad"})
    by_row = sum(picodollars(each["cost_usd"]) for each in lines) / DOLLAR
    assert summary["cost"]["actual_usd"] == pytest.approx(by_row)


def _as_lines(world: World, texts: list[str], name: str) -> str:
    rows = [{"id": f"id {n}", "text": text} for n, text in enumerate(texts)]
    return world.drop(f"in/{name}.jsonl", jsonl(rows))
