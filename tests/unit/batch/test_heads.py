"""*Collect* reads the heads of a shard's rows, and of the rows themselves those alone that it has
to: it comes to the same."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from functions.batch import layout
from functions.batch.collecting.shard_rows import ShardRows
from functions.batch.model import Refusal
from functions.batch.rows import Weight
from functions.batch.sending import laps
from functions.batch.sending.shard_files import write_requests
from functions.batch.sending.submission import Submitter
from functions.batch.streams.fresh import FreshForm, pack_fresh
from functions.batch.streams.heads import Heads, heads_of, pack_heads, read_heads
from functions.batch.streams.lines import Transit, pack_row, row_key
from tests.support.driver import World
from tests.support.lines import jsonl
from tests.support.twin_provider import TwinDialect, TwinProvider
from tests.support.twins import MemoryObjects

SHARD = "01-00001"
ROWS = 24


class Watched(MemoryObjects):
    """Knows what was read in pieces."""

    def __init__(self) -> None:
        super().__init__()
        self.streamed: list[str] = []

    def chunks(self, key: str, start: int = 0) -> Iterator[bytes]:
        self.streamed.append(key)
        return super().chunks(key, start)

    def rows_read(self) -> bool:
        return any("/rows/" in key for key in self.streamed)


def submitted(say: Callable[[int], str] = str) -> tuple[World, Watched, str]:
    """A job of one shard, whose batch has ended."""
    twin = TwinProvider("openai")
    work = Watched()
    world = World(
        dialects=(TwinDialect("openai"),),
        providers={"openai": lambda: twin},
        work=work,
        on_wait=lambda _: twin.tick(),
    )
    rows = [
        {"twin": "openai", "model": "m", "text": say(number), "custom_id": f"id {number}"}
        for number in range(ROWS)
    ]
    job_id = world.drop("a.jsonl", jsonl(rows))
    assert world.read_and_admit(job_id, world.plan(job_id)) == "start"
    world.open_round(job_id, 1)
    step = world.submitter("openai").submit(job_id, SHARD, laps.first())
    while step.next != "collect":
        twin.tick()
        step = world.poller("openai").poll(job_id, SHARD, step)
    work.streamed.clear()
    return world, work, job_id


def result(work: MemoryObjects, job_id: str) -> dict[str, bytes]:
    folders = ("parts", "failed", "collected")
    return {
        key: value
        for key, value in work.stored.items()
        if key.removeprefix(f"{job_id}/").startswith(folders)
    }


def test_rows_that_are_answered_as_usual_are_not_read_again() -> None:
    world, work, job_id = submitted()
    world.collector("openai").collect(job_id, SHARD)
    assert not work.rows_read()
    lines = work.get(layout.part(job_id, f"shard-{SHARD}")).splitlines()
    said = [msgspec.json.decode(b"{" + line.partition(b" s")[2]) for line in lines]
    assert [each["custom_id"] for each in said] == [f"id {number}" for number in range(ROWS)]
    assert [each["text"] for each in said] == [f"echo {number}" for number in range(ROWS)]


@pytest.mark.parametrize("bad", [{0}, {ROWS - 1}, {3, 4, 17}, set(range(0, ROWS, 2)), set[int]()])
def test_it_comes_to_the_same_without_heads(bad: set[int]) -> None:
    """As of a shard that an earlier release has sent."""

    def say(number: int) -> str:
        return f"{'bad' * (number in bad)} {number}"

    world, work, job_id = submitted(say)
    world.collector("openai").collect(job_id, SHARD)
    assert work.rows_read() == bool(bad)
    wanted = result(work, job_id)
    world, work, job_id = submitted(say)
    del work.stored[layout.heads(job_id, SHARD)]
    world.collector("openai").collect(job_id, SHARD)
    assert work.rows_read()
    assert result(work, job_id) == wanted
    collected = world.ledger.shard(job_id, SHARD).answered
    assert (collected.succeeded, collected.failed) == (ROWS - len(bad), len(bad))


def test_a_shard_that_was_never_sent_has_no_heads() -> None:
    world, work, job_id = submitted()
    del work.stored[layout.heads(job_id, SHARD)]
    shard = world.ledger.shard(job_id, SHARD)
    shard.refusal = Refusal(code="no_key", message="There is none.", then="fail")
    shard.outputs = []
    shard.batch_id = None
    world.ledger.save_shard(shard)
    world.collector("openai").collect(job_id, SHARD)
    assert world.ledger.shard(job_id, SHARD).answered.failed == ROWS


def test_heads_are_there_before_the_provider_hears_of_the_shard() -> None:
    known: list[bool] = []

    class Asking(TwinProvider):
        def stage(self, path: Path, tag: object) -> list[object]:  # type: ignore[override]
            known.append(layout.heads(job_id, SHARD) in world.work.stored)
            return super().stage(path, tag)  # type: ignore[arg-type, return-value]

    twin = Asking("openai")
    world = World(dialects=(TwinDialect("openai"),), providers={"openai": lambda: twin})
    row = {"twin": "openai", "model": "m", "text": "x", "custom_id": "a"}
    job_id = world.drop("a.jsonl", jsonl([row]))
    assert world.read_and_admit(job_id, world.plan(job_id)) == "start"
    world.open_round(job_id, 1)
    submitter: Submitter = world.submitter("openai")
    assert submitter.submit(job_id, SHARD, laps.first()).next == "wait"
    assert known == [True]


def test_nothing_is_stored_of_rows_that_have_to_be_read_anyway(tmp_path: Path) -> None:
    """Such as those that are sent again."""
    world, work, job_id = submitted()
    key = layout.heads(job_id, SHARD)
    del work.stored[key]
    (source,) = [name for name in work.stored if "/rows/" in name]
    lines = work.stored[source].splitlines()
    keys = [line[:16].decode() for line in lines]
    sent = Transit(failures=1, tokens=9)
    work.stored[source] = b"".join(
        pack_row(key, line.partition(b"\t")[2], sent) for key, line in zip(keys, lines, strict=True)
    )
    shard = world.ledger.shard(job_id, SHARD)
    write_requests(shard, work, TwinDialect("openai"), tmp_path / "requests.jsonl")
    assert key not in work.stored
    assert [each.name for each in tmp_path.iterdir()] == ["requests.jsonl"]


IDS = st.sampled_from(
    [b'"a"', b"null", b"7", b'"\\u00e9 \\" ,"', '"é"'.encode(), b'{"a": [1, 2]}', b'" "']
)


@given(ids=st.lists(IDS, min_size=1, max_size=5), tokens=st.sampled_from([0, 9]))
def test_heads_are_read_as_they_were_stored(ids: list[bytes], tokens: int) -> None:
    weight = Weight(rows=1, tokens=tokens, max_output=30, unbounded=2)
    rows = [
        pack_fresh(row_key(3, number), b'{"custom_id":%b}' % identity, weight)[:-1]
        for number, identity in enumerate(ids)
    ]
    heads = heads_of(rows, lambda line: line[len(b'{"custom_id":') : -1])
    objects = MemoryObjects()
    objects.put("heads", pack_heads(heads) * 2)
    assert [*read_heads(objects, "heads")] == [heads, heads]
    assert heads.keys == [row_key(3, number).encode() for number in range(len(ids))]
    known = bool(tokens)
    assert heads.custom_ids == (ids if known else [b"null"] * len(ids))
    assert heads.tokens == [tokens] * len(ids)
    assert heads.max_output == [30 * known] * len(ids)
    assert heads.unbounded == [2 * known] * len(ids)
    assert heads.some(1, 2) == Heads(
        heads.keys[1:2],
        heads.custom_ids[1:2],
        heads.tokens[1:2],
        heads.max_output[1:2],
        heads.unbounded[1:2],
    )


@pytest.mark.parametrize(
    ("identity", "known"),
    [
        (b'"%b"' % (b"x" * 254), True),
        (b'"%b"' % (b"x" * 255), False),
        (b'["a", "b"]', True),
        (b'["a",\t"b"]', False),
    ],
)
def test_a_row_with_a_long_id_or_a_tab_in_it_is_read_itself(
    identity: bytes, *, known: bool
) -> None:
    form = FreshForm("000003-", Weight(max_output=3), 6)
    line = b'{"id":%b}\n' % identity
    packed = b"".join(form.packed(17, [9], [len(identity)], [line]))[:-1]
    heads = heads_of([packed], lambda line: b"another")
    assert heads.tokens == [9 * known]
    assert heads.custom_ids == [identity if known else b"null"]


def test_heads_of_rows_that_are_not_there_are_told() -> None:
    world, work, job_id = submitted()
    rows = ShardRows(world.ledger.shard(job_id, SHARD), work)
    assert rows.row(row_key(0, ROWS - 1).encode()).key == row_key(0, ROWS - 1)
    with pytest.raises(AssertionError, match="is not among the rows of"):
        rows.row(row_key(0, ROWS).encode())
