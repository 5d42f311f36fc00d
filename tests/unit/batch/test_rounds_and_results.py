from __future__ import annotations

import json
from contextlib import suppress
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from functions.batch import layout
from functions.batch.errors import Missing, ProviderError, Unavailable
from functions.batch.model import MAX_RESENDS, BatchState, ProviderObject, Reason
from functions.batch.results.assembling import INDEX_UP_TO
from functions.batch.results.reporting import Failure
from functions.batch.rows import Caps, Group, Limits, Weight
from functions.batch.sending import laps
from functions.batch.sending.reconcile import MOST_INLINE, pack
from functions.batch.sending.reruns import MAX_READS
from functions.batch.sending.shard_files import row_id
from functions.batch.sending.waits import DAY, HOUR
from functions.batch.streams import envelope
from functions.batch.streams.lines import pack_keyed, row_key
from functions.batch.streams.merging import merged
from functions.batch.work import Part, Source
from functions.providers.openai.dialect import OpenAIDialect
from tests.support.driver import World
from tests.support.fake_provider import FakeProvider
from tests.support.lines import body, jsonl, line
from tests.support.twins import MemoryObjects

LIMITS = Limits(rows=10, bytes=1000, inputs=100, output=1000)


@given(
    rows=st.lists(st.tuples(st.sampled_from("ab"), st.integers(1, 10), st.booleans()), max_size=30)
)
def test_packing_keeps_every_source_in_order_within_the_limits(
    rows: list[tuple[str, int, bool]],
) -> None:
    sources = [
        Source(
            key=f"k{n}",
            first=row_key(n, 0),
            last=row_key(n, size),
            group=Group("openai", "/v1/responses", model),
            weight=Weight(rows=size, bytes=size, inputs=0, output=size),
            alone=alone,
        )
        for n, (model, size, alone) in enumerate(rows)
    ]
    shards = pack(reversed(sources), 1, lambda _: LIMITS)
    assert sorted(each.key for shard in shards for each in shard.sources) == sorted(
        source.key for source in sources
    )
    for shard in shards:
        assert len({source.group for source in shard.sources}) == 1
        assert shard.weight.rows == sum(source.weight.rows for source in shard.sources) <= 10
        assert [source.first for source in shard.sources] == sorted(
            source.first for source in shard.sources
        )
        assert len(shard.sources) == 1 or not any(source.alone for source in shard.sources)


@given(
    parts=st.lists(st.lists(st.integers(0, 200), unique=True, min_size=1, max_size=20), max_size=8)
)
def test_a_merge_is_a_sort(parts: list[list[int]]) -> None:
    objects = MemoryObjects(piece=37)
    made: list[Part] = []
    for number, rows in enumerate(parts):
        keys = [row_key(0, row) for row in sorted(rows)]
        lines = (pack_keyed(key, b"p%d" % number) for key in keys)
        objects.put(f"{number}", b"".join(lines))
        made.append(Part(key=f"{number}", first=keys[0], last=keys[-1]))
    found = [key.decode() for key, _ in merged(made, objects)]
    assert found == sorted(row_key(0, row) for rows in parts for row in rows)


def prepared(world: World, count: int, **caps: int) -> str:
    identity = world.drop("a.jsonl", jsonl([line(f"{n}", body(f"q{n}")) for n in range(count)]))
    world.caps = Caps(**caps)
    world.shard(identity, {"range": 0, "start": 0, "end": None})
    return identity


def test_a_round_that_is_opened_twice_is_the_same_round(world: World) -> None:
    identity = prepared(world, 30, rows=10)
    first = world.open_round(identity, 1)
    world.submitter("openai").submit(identity, "01-00001", laps.first())
    assert world.open_round(identity, 1) == first
    assert world.ledger.shard(identity, "01-00001").status == "submitted"
    assert [kind for kind, _ in world.events.published] == ["Job Accepted"]


def test_many_shards_are_run_from_a_manifest(world: World) -> None:
    identity = prepared(world, MOST_INLINE + 1, rows=1)
    opened = world.open_round(identity, 1)
    assert (opened.run, opened.shards) == ("distributed", [])
    assert len(world.runs_of(opened)) == MOST_INLINE + 1
    assert len({run.name for run in world.runs_of(opened)}) == MOST_INLINE + 1


def test_a_shard_whose_workflow_broke_goes_on_from_where_it_stood(
    world: World, provider: FakeProvider
) -> None:
    identity = prepared(world, 2)
    world.open_round(identity, 1)
    world.submitter("openai").submit(identity, "01-00001", laps.first())
    for number in range(2, 5):
        opened = world.open_round(identity, number)
        assert [run.shard_id for run in opened.shards] == ["01-00001"]
        assert opened.shards[0].name.endswith(f"01-00001-{number}")
        assert opened.shards[0].delay_seconds >= 30
    assert len(provider.batches) == 1


@pytest.mark.parametrize(
    ("error", "most", "seconds"),
    [
        (Unavailable("x", "broken download"), MAX_READS, 7 * DAY),
        (Missing("x", "deleted by somebody"), MAX_RESENDS, 5 * HOUR),
    ],
)
def test_a_shard_that_never_ends_is_given_up_and_its_rows_are_told(
    world: World, provider: FakeProvider, error: ProviderError, most: int, seconds: int
) -> None:
    """What is paid, and only cannot be read, is asked for during a week."""
    identity = prepared(world, 3)
    world.open_round(identity, 1)
    provider.script["answers"] = [error] * 50
    outputs = [ProviderObject(kind="output_file", id="out")]
    ended = BatchState(status="completed", outcome="ended", complete=True, outputs=outputs)
    provider.script["poll"] = [ended]
    number, waited = 1, 0
    while True:
        with suppress(ProviderError):
            world.run_shard(identity, "openai", "01-00001")
        number += 1
        opened = world.open_round(identity, number)
        if opened.run == "none":
            break
        waited += sum(run.delay_seconds for run in opened.shards)
    assert number == most + 2
    assert seconds < waited < 2 * seconds
    world.assembler().assemble(identity)
    world.reporter().report(identity, None)
    assert {row["error"]["code"] for row in world.result_lines(identity)} == {"gave_up"}
    assert [row["custom_id"] for row in world.result_lines(identity)] == ["0", "1", "2"]
    assert world.summary(identity)["provider_files"]["left"] == 0


def test_answers_that_are_not_given_out_are_asked_for_after_a_wait(
    world: World, provider: FakeProvider
) -> None:
    identity = prepared(world, 1)
    world.open_round(identity, 1)
    provider.script["answers"] = [Unavailable("x", "broken download")]
    outputs = [ProviderObject(kind="output_file", id="out")]
    provider.script["poll"] = [
        BatchState(status="completed", outcome="ended", complete=True, outputs=outputs)
    ]
    with pytest.raises(Unavailable):
        world.run_shard(identity, "openai", "01-00001")
    shard = world.ledger.shard(identity, "01-00001")
    assert (shard.status, shard.unread) == ("ended", True)
    submit = world.submitter("openai").submit
    step = submit(identity, "01-00001", laps.first(1_000))
    assert (step.next, step.wait_seconds, step.owed) == ("wait_to_submit", 900, 100)
    world.ledger.resume("openai")
    assert submit(identity, "01-00001", step).next == "collect"
    assert submit(identity, "01-00001", laps.first()).next == "collect"
    world.ledger.update_job(identity, {"cancel_requested": True})
    assert submit(identity, "01-00001", laps.first(1_000)).next == "collect"


def answer(row: str, content: str = "yes", status: int = 200) -> bytes:
    return json.dumps(
        {
            "custom_id": row,
            "response": {
                "status_code": status,
                "body": {"choices": [{"message": {"content": content}}]},
            },
            "error": None,
        }
    ).encode()


def collected(world: World, provider: FakeProvider, lines: Any) -> str:
    """A job of three rows whose batch came back with `lines(ids)`."""
    identity = prepared(world, 3)
    world.open_round(identity, 1)
    world.submitter("openai").submit(identity, "01-00001", laps.first())
    shard = world.ledger.shard(identity, "01-00001")
    provider.lines = lines([row_id(shard, row_key(0, row), shard.attempt) for row in range(3)])
    outputs = [ProviderObject(kind="output_file", id="out")]
    provider.script["poll"] = [
        BatchState(status="completed", outcome="ended", complete=True, outputs=outputs)
    ]
    world.run_shard(identity, "openai", "01-00001")
    return identity


def test_foreign_broken_and_repeated_answers_do_no_harm(
    world: World, provider: FakeProvider
) -> None:
    identity = collected(
        world,
        provider,
        lambda ids: [
            b"{broken",
            answer("somebody-else"),
            answer(ids[2], "two"),
            answer(ids[0], "late", 500),
            answer(ids[0], "zero"),
            answer(ids[0], "again", 500),
            answer(ids[2].replace("01-00001", "09-00009"), "foreign"),
        ],
    )
    opened = world.open_round(identity, 2)
    assert [world.ledger.shard(identity, run.shard_id).rows for run in opened.shards] == [1]
    world.assembler().assemble(identity)
    rows = world.result_lines(identity)
    assert [row["text"] for row in rows] == ["zero", None, "two"]
    assert rows[1]["error"]["code"] == "unresolved"


def test_a_row_that_came_back_twice_is_written_once(world: World, provider: FakeProvider) -> None:
    identity = collected(world, provider, lambda ids: [answer(each) for each in ids])
    twice = msg_collected(world, identity)
    world.work.put(layout.collected(identity, "02-00001"), twice)
    world.open_round(identity, 2)
    world.assembler().assemble(identity)
    assert [row["row"] for row in world.result_lines(identity)] == [0, 1, 2]


def msg_collected(world: World, identity: str) -> bytes:
    return world.work.get(layout.collected(identity, "01-00001"))


def test_rows_are_indexed_by_their_id_and_repeats_beside_it(
    world: World, provider: FakeProvider
) -> None:
    wrong = body("a", stream=True)
    rows = [line("same", wrong), line("same", wrong), line(None, wrong)]
    identity = world.drop("a.jsonl", jsonl(rows))
    world.shard(identity, {"range": 0, "start": 0, "end": None})
    world.open_round(identity, 1)
    world.assembler().assemble(identity)
    assert sorted(sort for _, _, sort in world.ledger.rows) == ["ROW", "ROW#1"]
    assert INDEX_UP_TO == 10_000


@pytest.mark.parametrize("identity", [b"1e999", b"-1e999", b"[" * 4_000 + b"]" * 4_000])
def test_an_id_that_cannot_be_read_does_not_cost_the_results(world: World, identity: bytes) -> None:
    row = jsonl([line("ID", body("x"))]).replace(b'"ID"', identity)
    job_id = world.drop("odd.jsonl", row + jsonl([line("b", body("y"))]))
    summary = world.run(job_id)
    assert summary["rows"]["total"] == 2
    lines = world.results.get(f"{job_id}/results.jsonl").splitlines()
    assert len(lines) == 2
    assert b'"custom_id":"b"' in lines[1]


def test_a_job_that_is_given_up_tells_what_came_back(world: World, provider: FakeProvider) -> None:
    identity = collected(
        world, provider, lambda ids: [answer(ids[0], "zero"), answer(ids[2], "", 500)]
    )
    world.assembler().assemble(identity)
    assert world.reporter().report(identity, Failure(error="GivenUp")) == "partial"
    found = [
        (row["status"], row["error"] and row["error"]["code"])
        for row in world.result_lines(identity)
    ]
    assert found == [("succeeded", None), ("failed", "unresolved"), ("failed", "unresolved")]
    summary = world.summary(identity)
    assert summary["reason"]["code"] == "internal"
    assert "work files are kept" in summary["reason"]["message"]
    assert list(world.work.keys(f"{identity}/parts/"))


def test_one_of_which_nothing_came_back_has_failed(world: World) -> None:
    identity = prepared(world, 3)
    world.assembler().assemble(identity)
    assert world.reporter().report(identity, Failure(error="GivenUp")) == "failed"
    assert [row["error"]["code"] for row in world.result_lines(identity)] == ["unresolved"] * 3


def test_a_report_that_runs_twice_says_the_same(world: World) -> None:
    identity = world.drop("a.txt", b"x")
    first = world.run(identity)
    world.reporter().report(identity, None)
    assert world.summary(identity) == first


def test_the_commonest_error_is_the_reason(world: World, provider: FakeProvider) -> None:
    wrong = json.dumps({"error": {"code": "bad", "message": "No such thing."}})

    def lines(ids: list[str]) -> list[bytes]:
        failed = [
            b'{"custom_id":"%b","response":{"status_code":400,"body":%b},"error":null}'
            % (each.encode(), wrong.encode())
            for each in ids[1:]
        ]
        return [answer(ids[0]), *failed]

    identity = collected(world, provider, lines)
    world.open_round(identity, 2)
    world.assembler().assemble(identity)
    world.reporter().report(identity, None)
    summary = world.summary(identity)
    assert summary["status"] == "partial"
    assert summary["reason"]["message"] == (
        "2 of 3 rows did not succeed; all of them: No such thing."
    )
    failed = world.results.get(f"{identity}/failed.jsonl").splitlines()
    assert [json.loads(each)["custom_id"] for each in failed] == ["1", "2"]


def test_the_first_byte_of_a_tail_stays_out_of_the_results() -> None:
    tail = envelope.invalid(Reason("c", "m"), b'"id"')
    assert json.loads(envelope.numbered(7, tail))["row"] == 7


@pytest.mark.parametrize("length", [1, 4])
def test_ids_fit_every_provider(world: World, length: int) -> None:
    identity = prepared(world, length)
    world.open_round(identity, 1)
    shard = world.ledger.shard(identity, "01-00001")
    made = row_id(shard, row_key(999_999, 999_999_999), 99)
    assert len(made) <= 63
    assert made.replace("-", "").isalnum()
    assert made == made.lower()
    assert made.startswith("r")
    assert OpenAIDialect().custom_id(b'{"custom_id": "x"}') == b'"x"'
