"""Nothing that a row or a provider says may outgrow what the ledger and the bus can hold."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

import msgspec
import pytest

from functions.aws.items import from_item, to_item, to_plain
from functions.batch import depth
from functions.batch.errors import ProviderError
from functions.batch.model import BatchState, ProviderObject, Reason, Refusal, Shard
from functions.batch.results.reporting import MOST_MODELS
from functions.handlers import provider_wiring
from tests.support.driver import World
from tests.support.fake_provider import FakeProvider
from tests.support.lines import body, jsonl, line

ITEM = 400_000
EVENT = 256_000
HUGE = 2**63 - 1
ENDED = BatchState(
    status="completed",
    outcome="ended",
    complete=True,
    outputs=[ProviderObject(kind="output_file", id="out")],
)


def shard(**more: Any) -> Shard:
    return Shard(
        job_id="j",
        shard_id="s",
        round=1,
        number=1,
        provider="openai",
        endpoint="e",
        model="m",
        rows=50_000,
        bytes=1,
        **more,
    )


def size_of(record: object) -> int:
    """Of an item, about: names and values."""
    return len(msgspec.json.encode(record))


def world_of(fakes: dict[str, FakeProvider]) -> World:
    providers: dict[str, Callable[[], Any]] = {
        name: (lambda fake=fake: fake) for name, fake in fakes.items()
    }
    return World(provider_wiring.DIALECTS, providers, max_rounds=1)


def fakes(*states: BatchState) -> dict[str, FakeProvider]:
    made = {name: FakeProvider() for name in ("openai", "anthropic", "vertex")}
    for fake in made.values():
        fake.script["poll"] = list(states) or [ENDED] * 500
    return made


@pytest.mark.parametrize("message", ["line {} is wrong", "\N{GRINNING FACE}" * 900 + " {}"])
def test_a_refusal_that_names_every_row_fits_into_the_ledger(message: str) -> None:
    lines = {n: Reason("invalid", message.format(n)) for n in range(1, 50_001)}
    refusal = Refusal(code="c" * 999, message="m" * 10**6, then="resend", lines=lines)
    kept = shard(refusal=refusal)
    assert size_of(to_plain(kept)) < ITEM
    assert from_item(to_item(to_plain(kept)), Shard) == kept
    assert len(refusal.lines) > 100
    assert min(refusal.lines) == 1


def test_rows_of_a_refusal_that_named_too_many_are_named_again() -> None:
    """What is cut off is not lost: it goes again, is named again, and fails then."""
    rows = 2_500
    fake = FakeProvider()
    every = {n: Reason("invalid", f"Row {n} is wrong.") for n in range(1, rows + 1)}
    refused = [
        BatchState(
            status="failed",
            outcome="refused",
            refusal=Refusal(code="invalid", message="Wrong rows.", then="resend", lines=every),
        )
        for _ in range(3)
    ]
    fake.script["poll"] = list(refused)
    world = world_of({"openai": fake})
    world.canary_above = 10**6
    job_id = world.drop("a.jsonl", jsonl([line(f"{n}", body("x")) for n in range(rows)]))
    summary = world.run(job_id)
    assert summary["rows"] == {"total": rows, "succeeded": 0, "failed": rows, "invalid": 0}
    assert len(fake.batches) == 3
    assert {each["error"]["code"] for each in world.result_lines(job_id)} == {"invalid"}


def test_a_gateways_page_fits_into_the_ledger() -> None:
    error = ProviderError("x" * 10_000, "<html>" * 100_000)
    assert size_of(to_plain(Reason(error.code, error.message))) < 10_000


def test_a_rows_error_that_repeats_the_request_does_not_break_the_report() -> None:
    fake = fakes()
    world = world_of(fake)
    job_id = world.drop("a.jsonl", jsonl([line("a", body("x"))]))
    error = {"code": "invalid_value", "message": "x" * 600_000}
    said = {"status_code": 400, "body": {"error": error}}
    row = {"custom_id": f"r000000-000000000-{job_id[-8:]}-01-00001-1", "response": said}
    fake["openai"].lines = [json.dumps(row).encode()]
    summary = world.run(job_id)
    assert size_of(to_plain(world.ledger.job(job_id))) < ITEM
    assert size_of(summary["reason"]) < 5_000
    assert len(world.result_lines(job_id)[0]["error"]["message"]) == 600_000


def test_a_name_that_no_model_has_is_no_name() -> None:
    name = "m" * 3_000
    rows = [
        line("a", {"model": name, "messages": [{"role": "user", "content": "x"}]}),
        line("b", {"model": name, "input": "x"}, "/v1/responses"),
        {
            "custom_id": "c",
            "params": {
                "model": name,
                "max_tokens": 5,
                "messages": [{"role": "user", "content": "x"}],
            },
        },
        {"custom_id": "d", "model": name, "request": {"contents": [{"parts": [{"text": "x"}]}]}},
    ]
    usual = [
        line("a", body("x")),
        line("b", body("x")),
        {**rows[2], "params": {**rows[2]["params"], "model": "m"}},
        {**rows[3], "model": "m"},
    ]
    for before, row in zip(usual, rows, strict=True):
        world = world_of(fakes())
        job_id = world.drop("a.jsonl", jsonl([before, row]))
        assert world.run(job_id)["rows"]["invalid"] == 1
        assert world.result_lines(job_id)[1]["error"]["code"] == "bad_model"


def test_numbers_that_no_row_can_mean_do_not_break_the_estimate() -> None:
    chat = body("x", n=HUGE, max_tokens=HUGE)
    config = {"candidateCount": HUGE, "maxOutputTokens": HUGE}
    contents = [{"parts": [{"text": "x"}]}]
    messages = [{"role": "user", "content": "x"}]
    rows = [
        line("a", chat),
        line("b", {**chat, "messages": [{"role": "user", "content": [{"type": "text"}]}]}),
        {"custom_id": "c", "params": {"model": "m", "max_tokens": HUGE, "messages": messages}},
        {
            "custom_id": "d",
            "model": "gemini-2.5-flash",
            "request": {"contents": contents, "generationConfig": config},
        },
    ]
    world = world_of(fakes())
    job_id = world.drop("a.jsonl", jsonl(rows * 3))
    world.run(job_id)
    job = world.ledger.job(job_id)
    assert from_item(to_item(to_plain(job)), type(job)) == job
    for each in world.ledger.shards(job_id):
        assert from_item(to_item(to_plain(each)), Shard) == each


def test_more_models_than_an_event_can_name() -> None:
    rows = [
        line(f"{n}", {**body("x"), "model": f"{n:03d}" + "m" * 250}) for n in range(MOST_MODELS + 1)
    ]
    world = world_of(fakes())
    job_id = world.drop("a.jsonl", jsonl(rows))
    summary = world.run(job_id)
    assert len(summary["cost"]["by_model"]) == MOST_MODELS + 1
    assert size_of(to_plain(world.ledger.job(job_id))) < ITEM
    details = [detail for kind, detail in world.events.published if kind == "Job Completed"]
    assert details[0]["cost"]["by_model"] is None
    assert size_of(details[0]) < EVENT


@pytest.mark.parametrize("kind", ["openai", "anthropic", "vertex"])
@pytest.mark.parametrize("text", ["[", '{"a":'])
def test_rows_of_any_depth_come_to_an_end(kind: str, text: str) -> None:
    close = "]" if text == "[" else "}"
    for levels in (10, 400, *range(900, 1_000), 5_000, 100_000):
        nested = text * levels + "1" + close * levels
        row = {
            "openai": '{"custom_id":"a","method":"POST","url":"/v1/chat/completions","body":'
            '{"model":"m","messages":[{"role":"user","content":%s}]}}',
            "anthropic": '{"custom_id":"a","params":{"model":"m","max_tokens":5,"messages":'
            '[{"role":"user","content":%s}]}}',
            "vertex": '{"custom_id":"a","model":"m","request":'
            '{"contents":[{"parts":[{"text":%s}]}]}}',
        }[kind]
        made = fakes()
        world = world_of(made)
        job_id = world.drop("a.jsonl", (row % nested).encode())
        made["openai"].lines = [
            b'{"custom_id":"r000000-000000000-%b-01-00001-1","response":{"status_code":200,'
            b'"body":%b}}' % (job_id[-8:].encode(), nested.encode())
        ]
        assert world.run(job_id)["rows"]["total"] == 1


def test_headroom_is_given_back() -> None:
    before = depth.sys.getrecursionlimit()
    with depth.headroom(2):
        assert depth.sys.getrecursionlimit() == before + 2 * depth.LEVELS
    assert depth.sys.getrecursionlimit() == before
