"""An input that is read in legs comes to what it comes to when it is read at once."""

from __future__ import annotations

import gzip
import json
from collections.abc import Callable
from typing import Any

import pytest

from functions.batch import layout
from functions.batch.deadline import Remaining
from functions.batch.model import Job
from functions.batch.outcomes import range_results
from functions.batch.reading import legs, sharding
from functions.batch.work import RangeResult
from tests.support.driver import World
from tests.support.lines import jsonl
from tests.support.twin_provider import TwinDialect, TwinProvider
from tests.support.twin_recipes import TwinRecipes

RECIPE = {"provider": "openai", "model": "m", "id": "id", "prompt": "{{ text }}"}
SHEET = {**RECIPE, "output": {"csv": True}}


def table(rows: int, encoding: str = "utf-8") -> bytes:
    """Records of several lines, wide characters, and some that are no rows."""
    text = "".join(
        f'{n},"größer 😀\r\n{n}, ""x"""\r\n' if n % 3 else f"{n},short\n" for n in range(rows)
    )
    return f"id,text\n{text}7\n,\n8,9,10\n{rows},last".encode(encoding)


def requests(rows: int) -> bytes:
    made = [
        {
            "twin": "openai",
            "model": "m",
            "text": "bad" * (n % 5 == 1) + f"t{n}",
            "custom_id": "same",
        }
        for n in range(rows)
    ]
    return b"\xef\xbb\xbf" + jsonl(
        [*made[: rows // 2], b"\n\r\n", b"no JSON\n", *made[rows // 2 :]]
    )


def data(rows: int) -> bytes:
    return jsonl([{"id": str(n), "text": f"t{n}", f"c{n % 4}": 1} for n in range(rows)])


INPUTS: dict[str, tuple[Callable[[int], bytes], dict[str, Any] | None]] = {
    "a.jsonl": (requests, None),
    "a.jsonl.gz": (lambda rows: gzip.compress(requests(rows)), None),
    "data.jsonl": (data, SHEET),
    "data.jsonl.gz": (lambda rows: gzip.compress(data(rows)), SHEET),
    "a.csv": (table, SHEET),
    "a.csv.gz": (lambda rows: gzip.compress(table(rows)), SHEET),
    "wide.csv": (lambda rows: table(rows, "utf-16"), RECIPE),
    "twice.csv": (table, {**SHEET, "dedupe": True}),
    "marked.csv": (lambda rows: table(rows, "utf-8-sig"), RECIPE),
}


class Counted(World):
    """How often a step was called."""

    calls = 0

    def shard(self, job_id: str, piece: dict[str, Any]) -> None:
        self.calls += 1
        super().shard(job_id, piece)


def world(recipe: dict[str, Any] | None, **more: Any) -> Counted:
    twin = TwinProvider("openai")
    made = Counted(
        dialects=(TwinDialect("openai"),),
        providers={"openai": lambda: twin},
        on_wait=lambda _: twin.tick(),
        recipes=TwinRecipes(),
        **more,
    )
    made.inputs.piece = 300
    if recipe is not None:
        made.inputs.others["in/recipe.json"] = json.dumps(recipe).encode()
    return made


@pytest.fixture(autouse=True)
def _small_steps(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(legs, "LOOK", 100)
    monkeypatch.setattr(sharding, "LOOK_AT_DATA", 100)
    monkeypatch.setattr(legs, "_ROWS", 3)


def ranges(world: World, job_id: str) -> list[RangeResult]:
    return list(range_results(world.work, job_id))


@pytest.mark.parametrize("split", [1 << 29, 700])
@pytest.mark.parametrize("name", INPUTS)
def test_legs_come_to_what_one_call_reads(name: str, split: int) -> None:
    """With a clock that is always short: every call reads as little as it may."""
    make, recipe = INPUTS[name]
    content = make(90)
    whole = world(recipe, split_bytes=split)
    job_id = whole.drop(f"in/{name}", content)
    told = whole.run(job_id)
    assert told["rows"]["total"] >= 90
    short = world(recipe, split_bytes=split, clock=lambda: lambda: 0.0)
    assert short.drop(f"in/{name}", content) == job_id
    made = short.plan(job_id)
    assert short.read_and_admit(job_id, made) == "start"
    found = ranges(short, job_id)
    assert len(found) > 10
    assert {each.range for each in found} == set(range(found[-1].range + 1))
    short.rounds(job_id)
    assert short.calls >= max(len([each for each in found if each.range == 0]), 5)
    outputs = {key: value for key, value in whole.results.stored.items() if "summary" not in key}
    assert short.results.stored == outputs


class Clock:
    """So many looks until time is short, for each call."""

    def __init__(self, looks: int) -> None:
        self.looks = looks

    def __call__(self) -> Remaining:
        left = self.looks

        def remaining() -> float:
            nonlocal left
            left -= 1
            return legs.RESERVE - 1 if left < 0 else legs.WORTH_A_LEG

        return remaining


@pytest.mark.parametrize("name", ["a.jsonl", "a.csv.gz"])
def test_a_leg_goes_on_until_time_is_short(name: str) -> None:
    make, recipe = INPUTS[name]
    found: list[int] = []
    for looks in (2, 8, 1_000):
        short = world(recipe, clock=Clock(looks))
        job_id = short.drop(f"in/{name}", make(90))
        short.run(job_id)
        found.append(short.calls)
    assert found[0] > found[1] > found[2] == 1


def test_a_leg_of_data_ends_before_its_disk_is_full(monkeypatch: pytest.MonkeyPatch) -> None:
    """And the same call reads the next one."""
    monkeypatch.setattr("functions.batch.reading.sharding.MOST_DATA", 500)
    one = world(SHEET)
    job_id = one.drop("in/a.csv", table(300))
    made = one.plan(job_id)
    assert one.read_and_admit(job_id, made) == "start"
    assert one.calls == 1
    sizes = [
        sum(len(one.work.get(part.key)) for part in each.records) for each in ranges(one, job_id)
    ]
    assert len(sizes) > 4
    assert max(sizes[1:]) < 1_500  # fifty lines are looked at, to tell what separates cells


@pytest.mark.parametrize("recipe", [RECIPE, None], ids=["data", "requests"])
def test_the_clock_is_looked_at_before_many_documents_are_read(
    recipe: dict[str, Any] | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A row of data may name one in fifty bytes; a thousand of them would outlast the call."""
    monkeypatch.undo()
    one = world(recipe, clock=lambda: lambda: 0.0)
    one.inputs.piece = 8 << 20
    if recipe is None:
        content = requests(900)
    else:
        content = jsonl([{"id": f"{n}", "text": "short and sweet"} for n in range(2_000)])
    assert 60_000 < len(content) < 200_000
    job_id = one.drop("in/a.jsonl", content)
    assert one.read_and_admit(job_id, one.plan(job_id)) == "start"
    rows = [each.rows for each in ranges(one, job_id)]
    assert max(rows) < 500 if recipe else rows[0] > 900


def test_a_leg_that_was_stored_is_not_read_again() -> None:
    one = world(None, clock=lambda: lambda: 0.0)
    job_id = one.drop("in/a.jsonl", requests(90))
    piece = {"range": 0, "start": 0, "end": None}
    one.shard(job_id, piece)
    one.shard(job_id, piece)
    stored = dict(one.work.stored)
    first, second = ranges(one, job_id)
    assert first.rest is not None
    assert second.start == first.rows > 0
    opened: list[int] = []
    chunks = one.inputs.chunks

    def noted(job: Job, start: int) -> Any:
        opened.append(start)
        return chunks(job, start)

    one.inputs.chunks = noted
    one.shard(job_id, piece)
    assert second.rest is not None
    assert opened == [second.rest.offset - 1]
    assert stored.items() < one.work.stored.items()


def test_a_long_line_is_read_however_short_the_time() -> None:
    """A leg that reads nothing would be followed by another, for ever."""
    rows = [
        {"twin": "openai", "model": "m", "text": "x" * 5_000, "custom_id": f"{n}"} for n in range(4)
    ]
    one = world(None, clock=lambda: lambda: 0.0)
    job_id = one.drop("in/a.jsonl", jsonl(rows))
    assert one.run(job_id)["rows"]["succeeded"] == 4


def test_a_compressed_file_above_the_limit_is_rejected_at_the_door() -> None:
    one = world(None, max_gz_bytes=100)
    told = one.run(one.drop("in/a.jsonl.gz", gzip.compress(requests(90))))
    assert (told["status"], told["reason"]["code"]) == ("rejected", "input_too_large")
    assert "allowed are 100 (max_gz_bytes)" in told["reason"]["message"]
    assert not one.calls
    assert one.run(one.drop("in/a.jsonl", requests(90)))["status"] == "partial"


@pytest.mark.parametrize("name", ["a.jsonl.gz", "a.csv.gz"])
@pytest.mark.parametrize("clock", [lambda: lambda: 0.0, lambda: lambda: 1e9])
def test_reading_ends_where_an_unpacked_file_gets_too_large(
    name: str, clock: Callable[[], Remaining]
) -> None:
    make, recipe = INPUTS[name]
    content = make(300)
    size = len(gzip.decompress(content))
    one = world(recipe, max_unzipped_bytes=size - 1, clock=clock)
    told = one.run(one.drop(f"in/{name}", content))
    assert (told["status"], told["reason"]["code"]) == ("rejected", "input_too_large")
    assert f"more than {size - 1} bytes" in told["reason"]["message"]
    assert "nothing was sent" in told["reason"]["message"]
    one = world(recipe, max_unzipped_bytes=size)
    assert one.run(one.drop(f"in/{name}", content))["status"] != "rejected"


def test_legs_sort_behind_their_range() -> None:
    keys = [layout.range_result("j", number, leg) for number in range(3) for leg in range(12)]
    assert keys == sorted(keys)
    assert layout.range_result("j", 7) == "j/ranges/000007.json"
