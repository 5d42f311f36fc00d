"""Results put together in slices are, byte for byte, those of one call."""

from __future__ import annotations

import json
from typing import Any

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from functions.batch import layout
from functions.batch.errors import UploadGone
from functions.batch.outgrown import ONE_CALL
from functions.batch.results.assembling import Assembler
from functions.batch.results.cutting import MOST_SLICES, Cut, cut_evenly
from functions.batch.results.pieces import LEAST_PIECE, MOST_PIECES, PieceWriter
from functions.batch.rows import INLINE_BYTES, Caps
from functions.batch.streams.lines import pack_keyed, row_key
from functions.batch.streams.merging import Between, merged
from functions.batch.streams.seeking import before_key
from functions.batch.work import Part
from tests.support.driver import World
from tests.support.lines import jsonl
from tests.support.twin_provider import TwinDialect, TwinProvider
from tests.support.twin_recipes import TwinRecipes
from tests.support.twins import MemoryObjects

NAMES = ("openai", "anthropic")
RECIPE = {
    "provider": "openai",
    "model": "m",
    "id": "id",
    "prompt": "{{ text }}",
    "output": {"csv": True},
}


class Job:
    """A job all of whose shards were collected. `least`: of a piece, instead of 5 MiB."""

    def __init__(self, *, least: int = 40, slice_bytes: int = 900, **world: Any) -> None:
        twins = {name: TwinProvider(name) for name in NAMES}
        self.twins = twins
        self.world = World(
            dialects=tuple(TwinDialect(name) for name in twins),
            providers={name: lambda name=name: twins[name] for name in twins},
            on_wait=lambda _: [twin.tick() for twin in twins.values()],
            one_call=0,
            slice_bytes=slice_bytes,
            **world,
        )
        self.world.results.least_piece = least
        self.job_id = ""

    def through(self, key: str, data: bytes) -> Job:
        world = self.world
        self.job_id = world.drop(key, data)
        made = world.plan(self.job_id)
        for piece in msgspec.json.decode(world.work.get(made.manifest)):
            world.shard(self.job_id, piece)
        assert world.admit(self.job_id) == "start"
        number = 1
        while (opened := world.open_round(self.job_id, number)).run != "slices":
            for run in world.runs_of(opened):
                world.run_shard(self.job_id, run.provider, run.shard_id)
            number += 1
        return self

    def whole(self) -> dict[str, bytes]:
        """What one call makes of it."""
        twin = MemoryObjects("results")
        made = self.world.assembler()
        fields = {name: getattr(made, name) for name in made.__struct_fields__}
        Assembler(**{**fields, "results": twin}).assemble(self.job_id)
        return twin.stored

    def go_on(self, numbers: list[int]) -> None:
        for number in numbers:
            self.world.slicer().assemble(self.job_id, number)
        self.world.joiner().join(self.job_id)

    def cut(self) -> Cut:
        return msgspec.json.decode(self.world.work.get(layout.cut(self.job_id)), type=Cut)


def mixed(count: int) -> list[Any]:
    rows: list[Any] = []
    for n in range(count):
        name = NAMES[n % 3 == 1]
        text = f"bad {n}" if n % 7 == 3 else "x" * (n * 37 % 211)
        rows.append({"twin": name, "model": f"m{n % 2}", "text": text, "custom_id": f"id {n % 19}"})
        if n % 11 == 5:
            rows.append(b"no JSON\n")
    return rows


@settings(max_examples=30)
@given(
    count=st.integers(1, 60),
    least=st.sampled_from([1, 40, 700, 100_000]),
    slice_bytes=st.sampled_from([200, 900, 5_000]),
    rows=st.sampled_from([3, 100]),
    split=st.sampled_from([300, 1 << 29]),
)
def test_slices_come_to_what_one_call_makes(
    count: int, least: int, slice_bytes: int, rows: int, split: int
) -> None:
    job = Job(least=least, slice_bytes=slice_bytes, caps=Caps(rows=rows), split_bytes=split)
    job.through("in/a.jsonl", jsonl(mixed(count)))
    whole = job.whole()
    told = job.world.ledger.job(job.job_id)
    assert job.world.in_slices(job.job_id)
    assert job.world.results.stored == whole
    assert job.world.ledger.job(job.job_id) == told
    assert not job.world.results.uploads
    if count == 60 and slice_bytes == 200:
        assert job.cut().slices > 5


def test_sheets_have_their_header_once() -> None:
    job = Job(recipes=TwinRecipes(), slice_bytes=700)
    job.world.inputs.others["in/recipe.json"] = json.dumps(RECIPE).encode()
    lines = "".join(f"{n},{'bad ' * (n % 5 == 0)}t{n}\n" for n in range(40))
    job.through("in/a.csv", b"id,text\n" + lines.encode() + b'41,"\n')
    whole = job.whole()
    assert {key.partition("/")[2] for key in whole} == {
        *("results.jsonl", "results.csv", "failed.csv", "invalid.txt")
    }
    assert job.world.in_slices(job.job_id)
    assert job.cut().slices > 3
    assert job.world.results.stored == whole
    assert job.world.reporter().report(job.job_id, None) == "partial"


def test_slices_are_done_once_and_a_second_cut_is_the_first() -> None:
    job = Job().through("in/a.jsonl", jsonl(mixed(40)))
    world = job.world
    how = world.cutter().cut(job.job_id)
    first = job.cut()
    world.slicer().assemble(job.job_id, 0)
    uploads = {name: dict(put) for name, put in world.results.uploads.items()}
    assert world.cutter().cut(job.job_id) == how
    assert job.cut() == first
    world.work.stored[layout.slice_plan(job.job_id, 0)] = b"not read again"
    world.slicer().assemble(job.job_id, 0)
    assert world.results.uploads == uploads


def test_a_join_that_runs_again_finds_what_it_completed() -> None:
    job = Job().through("in/a.jsonl", jsonl(mixed(40)))
    whole = job.whole()
    assert job.world.in_slices(job.job_id)
    job.world.joiner().join(job.job_id)
    assert job.world.results.stored == whole


@pytest.mark.parametrize("step", ["slice", "join"])
def test_where_an_upload_was_ended_by_others_the_next_execution_cuts_again(step: str) -> None:
    """As a lifecycle rule does after a week, or a person."""
    job = Job().through("in/a.jsonl", jsonl(mixed(40)))
    whole, world = job.whole(), job.world
    how = world.cutter().cut(job.job_id)
    numbers = world.slices_of(how)
    for number in numbers[: 1 if step == "slice" else None]:
        world.slicer().assemble(job.job_id, number)
    world.results.abandon("")
    with pytest.raises(UploadGone):
        job.go_on(numbers[1:])
    with pytest.raises(LookupError, match="cut again"):
        world.joiner().join(job.job_id)
    assert world.in_slices(job.job_id)
    assert (job.cut().attempt, world.results.stored) == (2, whole)


def test_uploads_that_nobody_completes_end_with_the_job() -> None:
    job = Job().through("in/a.jsonl", jsonl(mixed(40)))
    world = job.world
    begin, begun = world.results.begin, 0

    def dying(key: str) -> str:
        nonlocal begun
        upload, begun = begin(key), begun + 1
        if begun == 2:
            raise ConnectionError
        return upload

    world.results.begin = dying
    with pytest.raises(ConnectionError):
        world.cutter().cut(job.job_id)
    assert len(world.results.uploads) == 2
    world.cutter().cut(job.job_id)
    assert len(world.results.uploads) == len(job.cut().uploads or ()) == 3
    world.slicer().assemble(job.job_id, 0)
    world.assembler().assemble(job.job_id)
    world.reporter().report(job.job_id, None)
    assert not world.results.uploads


def test_small_jobs_are_put_together_in_one_call() -> None:
    job = Job()
    job.world.one_call = ONE_CALL
    job.job_id = job.world.drop("in/a.jsonl", jsonl(mixed(10)))
    job.world.plan(job.job_id)
    job.world.shard(job.job_id, {"range": 0, "start": 0, "end": None})
    assert job.world.cutter().cut(job.job_id).next == "assemble"
    assert not job.world.results.uploads
    assert not list(job.world.work.keys(f"{job.job_id}/slices/"))


def test_rows_of_slices_are_indexed_the_long_ones_by_where_they_lie() -> None:
    """An id that repeats in another slice is beside the first."""
    job = Job(slice_bytes=INLINE_BYTES)
    job.twins["openai"].say = lambda text: text * (INLINE_BYTES if text == "y" else 1)
    rows = [
        {"twin": "openai", "model": "m", "text": text, "custom_id": f"id {n % 4}"}
        for n, text in enumerate("xyxxxyxx")
    ]
    job.through("in/a.jsonl", jsonl(rows))
    assert job.world.in_slices(job.job_id)
    assert job.cut().slices > 2
    results = job.world.results.get(f"{job.job_id}/results.jsonl")
    found: dict[int, Any] = {each["row"]: each for each in job.world.ledger.rows.values()}
    for n, line in enumerate(results.splitlines(keepends=True)):
        if "offset" in found[n]:
            at = found[n]["offset"]
            assert results[at : at + found[n]["length"]] == line
        else:
            assert found[n]["answer"].encode() == line
    assert {n for n in found if "offset" in found[n]} == {1, 5}
    assert sum(sort == "ROW" for _, _, sort in job.world.ledger.rows) == 4


@given(
    parts=st.lists(
        st.tuples(st.integers(0, 50), st.integers(1, 50), st.integers(0, 10_000)), max_size=8
    ),
    count=st.integers(1, 12),
)
def test_slices_begin_in_order_each_with_a_row(
    parts: list[tuple[int, int, int]], count: int
) -> None:
    starts = cut_evenly([(first, first + rows, size) for first, rows, size in parts], 100, count)
    assert starts[0] == 0
    assert starts == sorted(set(starts))
    assert len(starts) <= count
    assert starts[-1] < 100


def test_slices_have_the_same_bytes() -> None:
    assert cut_evenly([(0, 100, 1_000)], 100, 4) == [0, 25, 50, 75]
    assert cut_evenly([(0, 100, 1_000), (50, 100, 1_000)], 100, 2) == [0, 66]
    assert cut_evenly([(0, 10, 900), (90, 100, 900)], 100, 3) == [0, 6, 93]
    assert cut_evenly([(0, 1, 5_000)], 100, 4) == [0]
    assert cut_evenly([], 100, 4) == [0]


@given(
    keys=st.lists(st.integers(0, 300), unique=True, min_size=1, max_size=60),
    length=st.integers(0, 200),
    wanted=st.integers(0, 300),
    near=st.sampled_from([1, 50, 2_000]),
)
def test_a_place_is_found_without_reading_all(
    keys: list[int], length: int, wanted: int, near: int
) -> None:
    objects = MemoryObjects()
    lines = [pack_keyed(row_key(0, key), b"x" * (length * key % 997)) for key in sorted(keys)]
    objects.put("part", b"".join(lines))
    at = before_key(objects, "part", row_key(0, wanted).encode(), near=near)
    data = objects.get("part")
    assert at == 0 or data[at - 1 : at] == b"\n"
    assert all(int(line[7:16]) < wanted for line in data[:at].splitlines())
    ahead = sum(len(line) for line in data[at:].splitlines(True) if int(line[7:16]) < wanted)
    assert ahead <= near + max(len(line) for line in lines) * 2


@given(first=st.integers(0, 210), end=st.integers(0, 210), near=st.booleans())
def test_a_merge_between_keys_is_part_of_the_merge(first: int, end: int, near: bool) -> None:
    objects = MemoryObjects(piece=37)
    parts: list[Part] = []
    for number in range(4):
        rows = range(number * 20, 200, number + 1)
        lines = (pack_keyed(row_key(0, row), b"p%d" % number) for row in rows)
        objects.put(f"{number}", b"".join(lines))
        parts.append(Part(key=f"{number}", first=row_key(0, rows[0]), last=row_key(0, rows[-1])))
    between = Between(
        first=row_key(0, first).encode(), end=row_key(0, end).encode() if near else b""
    )
    wanted = [
        (key, payload)
        for key, payload in merged(parts, objects)
        if between.first <= key and (not between.end or key < between.end)
    ]
    assert list(merged(parts, objects, between)) == wanted


@pytest.mark.parametrize("most", [9, 19, 400])
def test_pieces_are_large_enough_and_not_too_many(most: int) -> None:
    put: dict[int, bytes] = {}

    def keep(number: int, data: bytes) -> str:
        put[number] = data
        return ""

    for size in (0, 5, 10, 19, 20, 300, 4_000, 20_000):
        put.clear()
        out = PieceWriter(keep, most=most, expected=1_000, least=10)
        data = bytes(n * 7 % 251 for n in range(size))
        for start in range(0, size, 13):
            out.write(data[start : start + 13])
        written = out.finish()
        assert out.head + b"".join(put[number] for number in sorted(put)) == data
        assert written.size == size
        assert [piece.number for piece in written.pieces] == list(range(1, len(put) + 1))
        assert len(put) <= most
        assert all(len(piece) >= 10 for piece in put.values())
        assert len(out.head) >= min(size, 10)
        assert not put or len(out.head) == 10


def test_there_are_pieces_enough_for_every_slice() -> None:
    """And a terabyte in slices of 2 GiB needs none above 256 MiB, held in memory."""
    most = MOST_PIECES // MOST_SLICES - 1
    assert most == 19
    sizes: list[int] = []
    out = PieceWriter(lambda _, data: sizes.append(len(data)) or "", most=most, expected=1 << 26)
    for _ in range(3 << 6):
        out.write(b"x" * (1 << 20))
    out.finish()
    assert min(sizes) >= LEAST_PIECE
    assert sum(sizes) + len(out.head) == 3 << 26
    assert len(sizes) <= most
