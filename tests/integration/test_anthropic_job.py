"""Whole jobs, in process: the real use cases and the real Anthropic adapter, over HTTP."""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Iterator
from typing import Any

import anthropic
import pytest

from functions.batch.errors import Unavailable
from functions.batch.ports import Provider
from functions.batch.rows import Caps
from functions.batch.sending import laps
from functions.providers.anthropic.client import AnthropicProvider, make_client
from functions.providers.anthropic.dialect import AnthropicDialect
from functions.providers.openai.dialect import OpenAIDialect
from tests.support.anthropic_lines import MODEL, asking, params, row
from tests.support.driver import World
from tests.support.lines import body, digest, jsonl, line
from tests.support.simulator import Simulator

FIRST = "01-00001"
THREE = ["a", "b", "c"]


@pytest.fixture(scope="module")
def client(running_simulator: Simulator) -> Iterator[anthropic.Anthropic]:
    with make_client("sk-ant-test", f"{running_simulator.url}/anthropic") as client:
        yield client


@pytest.fixture
def claude(sim: Simulator, world: World, client: anthropic.Anthropic) -> World:
    world.dialects = (OpenAIDialect(), AnthropicDialect())
    world.providers["anthropic"] = lambda: AnthropicProvider(client)
    return world


def arm(sim: Simulator, **fault: Any) -> None:
    sim.arm(**{"provider": "anthropic", **fault})


def books(sim: Simulator) -> Any:
    return sim.ledger()["providers"]["anthropic"]


def nothing_left(sim: Simulator, summary: Any) -> bool:
    told = books(sim)
    files = summary["provider_files"]
    return (
        told["files_left"] == []
        and files["left"] == 0
        and files["created"] == files["deleted"] == told["files_created"] == told["files_deleted"]
    )


def opened(world: World, data: bytes) -> str:
    """A job whose first round is planned and not submitted yet."""
    job_id = world.drop("a.jsonl", data)
    world.shard(job_id, {"range": 0, "start": 0, "end": None})
    world.open_round(job_id, 1)
    return job_id


def other_program(client: anthropic.Anthropic, rows: int) -> str:
    """A batch that is none of ours, with rows that look as ours do."""
    requests: Any = [row(f"r000000-{n:09d}-01-00001-1", params(f"x{n}")) for n in range(rows)]
    return client.messages.batches.create(requests=requests).id


def until(holds: Callable[[], bool]) -> None:
    for _ in range(400):
        if holds():
            return
        time.sleep(0.02)
    raise AssertionError("it did not happen within 8 seconds")


def test_every_row_comes_back_in_order_joined_to_its_own_request(
    claude: World, sim: Simulator
) -> None:
    cached = [{"type": "text", "text": "same " * 2_000, "cache_control": {"type": "ephemeral"}}]
    rows = [row(f"id-{n % 7}", params(f"question {n}")) for n in range(200)]
    rows += [row(None, params(f"other {n}", "claude-opus-4-5", system=cached)) for n in range(50)]
    rows += [{"params": params("\u2028 \x85", mcp_servers=[{"type": "url", "url": "https://x"}])}]
    rows += [row(n, params("\N{GRINNING FACE}", metadata={"user_id": "u"})) for n in range(20)]
    others = [line(f"o{n}", body(f"question {n}")) for n in range(20)]
    job_id = claude.drop("mixed.jsonl", jsonl(rows + others))
    summary = claude.run(job_id)
    results = claude.result_lines(job_id)
    assert summary["rows"] == {"total": 291, "succeeded": 291, "failed": 0, "invalid": 0}
    assert [result["row"] for result in results] == list(range(291))
    for sent, result in zip(rows, results[:271], strict=True):
        assert result["custom_id"] == sent.get("custom_id")
        assert result["text"].split()[1] == digest(sent["params"])
        assert result["response"]["type"] == "message"
        assert (result["provider"], result["model"]) == ("anthropic", sent["params"]["model"])
    assert [result["text"].split()[1] for result in results[271:]] == [
        digest(each["body"]) for each in others
    ]
    usage = [result["usage"] for result in results[200:250]]
    # An eighth of a batch runs side by side, and finds nothing in the cache yet.
    assert sum(each["cached_input_tokens"] > 1_000 for each in usage) == 44
    assert sum(each["cache_write_tokens"] > 1_000 for each in usage) == 6
    assert {each["input_tokens"] > 2_000 for each in usage} == {True}
    assert len(summary["batches"]) == 3
    assert books(sim)["rows_answered"] == 271
    assert books(sim)["files_left"] == []


def test_what_anthropic_would_refuse_after_the_wait_is_told_before(
    claude: World, sim: Simulator
) -> None:
    rows = [
        row("ok", params("hello")),
        row("stream", params("x", stream=True)),
        row("warm", params("x", temperature=0.5)),
        row("zero", params("x", max_tokens=0)),
        row("fast", params("x", speed="fast")),
        row("empty", {"model": MODEL, "max_tokens": 5, "messages": []}),
        row("nobody", {"max_tokens": 5, "messages": [{"role": "user", "content": "x"}]}),
        row("text", "no object"),  # type: ignore[arg-type]
        row("ok too", params("hello", stream=False)),
    ]
    job_id = claude.drop("dirty.jsonl", jsonl(rows))
    summary = claude.run(job_id)
    results = claude.result_lines(job_id)
    assert summary["rows"] == {"total": 9, "succeeded": 2, "failed": 0, "invalid": 7}
    assert [(result["error"] or {}).get("code") for result in results] == [
        None,
        "stream",
        "sampling_parameter",
        "bad_max_tokens",
        "speed",
        "no_messages",
        "no_model",
        "bad_body",
        None,
    ]
    failed = claude.results.get(f"{job_id}/failed.jsonl").splitlines()
    assert [json.loads(each)["custom_id"] for each in failed] == [
        each["custom_id"] for each in rows[1:8]
    ]
    assert [batch["rows"] for batch in books(sim)["batches"]] == [2]


def test_rows_with_other_betas_are_another_batch(claude: World, sim: Simulator) -> None:
    beta = ["output-300k-2026-03-24"]
    rows = [row("a", params("x")), row("b", params("y", betas=beta)), row("c", params("z"))]
    job_id = claude.drop("betas.jsonl", jsonl(rows))
    summary = claude.run(job_id)
    assert [batch["rows"] for batch in summary["batches"]] == [2, 1]
    assert [result["text"].split()[1] for result in claude.result_lines(job_id)] == [
        digest(params(text)) for text in "xyz"
    ]
    assert nothing_left(sim, summary)


def test_a_row_that_fails_for_a_while_is_tried_again(claude: World, sim: Simulator) -> None:
    texts = [
        "fine",
        "[[sim:status=500,times=1]] then fine",
        "[[sim:status=429]] never",
        "[[sim:status=400]] wrong",
        "[[sim:null_error,times=1]] strange",
        "[[sim:missing,times=1]] lost",
        "[[sim:overloaded,times=2]] busy",
        "[[sim:expired,times=4]] late",
        "[[sim:u2028]]",
        "[[sim:big=300000]]",
    ]
    job_id = claude.drop("retry.jsonl", asking(*texts))
    summary = claude.run(job_id)
    results = claude.result_lines(job_id)
    assert [result["row"] for result in results if result["status"] != "succeeded"] == [2, 3]
    assert [result["round"] for result in results] == [1, 2, 3, 1, 2, 2, 3, 5, 1, 1]
    assert results[2]["error"]["code"] == "rate_limit_error"
    assert results[2]["error"]["retryable"] is True
    assert results[3]["error"] == {
        "code": "invalid_request_error",
        "message": results[3]["response"]["error"]["message"],
        "retryable": False,
    }
    assert len(results[9]["text"]) > 290_000
    assert nothing_left(sim, summary)


def test_one_poison_row_does_not_take_the_others_down(claude: World, sim: Simulator) -> None:
    for marker in ("poison", "poison_unnamed"):
        sim.reset(batch_seconds=0.1)
        texts = [f"{marker} {n}" for n in range(20)]
        texts[13] = f"[[sim:{marker}]]"
        job_id = claude.drop(f"{marker}.jsonl", asking(*texts))
        summary = claude.run(job_id)
        assert summary["rows"] == {"total": 20, "succeeded": 19, "failed": 1, "invalid": 0}
        result = claude.result_lines(job_id)[13]
        assert (result["status"], result["error"]["code"]) == ("failed", "invalid_request_error")
        assert books(sim)["rows_answered"] == 19
        assert nothing_left(sim, summary)


def test_an_expired_batch_is_harvested_and_only_the_rest_goes_again(
    claude: World, sim: Simulator
) -> None:
    arm(sim, operation="create", kind="expire_at", fraction=0.4)
    job_id = claude.drop("late.jsonl", asking(*(f"q{n}" for n in range(50))))
    summary = claude.run(job_id)
    assert summary["status"] == "succeeded"
    assert [batch["rows"] for batch in summary["batches"]] == [50, 30]
    assert books(sim)["rows_answered"] == 50
    assert nothing_left(sim, summary)


def test_a_create_whose_answer_is_lost_is_found_and_not_paid_twice(
    claude: World, sim: Simulator
) -> None:
    sim.admin("settings", {"batch_seconds": 0.5})
    arm(sim, operation="create", kind="drop_after")
    arm(sim, operation="list", kind="status", status=429)
    summary = claude.run(claude.drop("lost.jsonl", asking(*THREE)))
    assert summary["status"] == "succeeded"
    assert len(books(sim)["batches"]) == 1
    assert books(sim)["rows_answered"] == 3
    assert nothing_left(sim, summary)
    assert claude.alerts.sent == []


def test_a_create_that_never_arrived_is_not_mistaken_for_another_programs(
    claude: World, sim: Simulator, client: anthropic.Anthropic
) -> None:
    other_program(client, 3)
    other_program(client, 4)
    arm(sim, operation="create", kind="stuck")
    running = other_program(client, 3)
    until(lambda: [batch["status"] for batch in books(sim)["batches"]].count("ended") == 2)
    arm(sim, operation="create", kind="drop_before")
    job_id = opened(claude, asking(*THREE))
    submitter = claude.submitter("anthropic")
    step = submitter.submit(job_id, FIRST, laps.first())
    step = submitter.submit(job_id, FIRST, step)
    assert (step.next, step.trouble) == ("wait_to_submit", "Unconfirmed")
    assert claude.ledger.shard(job_id, FIRST).looks == 0
    client.messages.batches.cancel(running)
    claude.run_shard(job_id, "anthropic", FIRST)
    shard = claude.ledger.shard(job_id, FIRST)
    assert shard.answered is not None
    assert (shard.attempt, shard.answered.succeeded) == (2, 3)
    assert len(books(sim)["batches"]) == 4
    assert len(books(sim)["files_left"]) == 3
    assert claude.alerts.sent == []


def test_several_candidates_are_parked_with_an_alert_until_they_tell(
    claude: World, sim: Simulator, client: anthropic.Anthropic
) -> None:
    arm(sim, operation="create", kind="stuck", times=2)
    foreign = other_program(client, 3)
    arm(sim, operation="create", kind="drop_after")
    job_id = opened(claude, asking(*THREE))
    submitter = claude.submitter("anthropic")
    step = submitter.submit(job_id, FIRST, laps.first())
    for _ in range(3):
        step = submitter.submit(job_id, FIRST, step)
        assert (step.next, step.trouble) == ("wait_to_submit", "Unconfirmed")
    ours = next(batch["id"] for batch in books(sim)["batches"] if batch["id"] != foreign)
    ((_, message),) = claude.alerts.sent
    assert foreign in message
    assert ours in message
    for batch in (foreign, ours):
        client.messages.batches.cancel(batch)
    claude.run_shard(job_id, "anthropic", FIRST)
    shard = claude.ledger.shard(job_id, FIRST)
    assert (shard.attempt, shard.batch_id) == (1, ours)
    assert shard.answered is not None
    assert shard.answered.again == 3
    assert [file["id"] for file in books(sim)["files_left"]] == [foreign]


def test_a_lost_create_among_the_jobs_own_batches_of_the_same_size(
    claude: World, sim: Simulator
) -> None:
    claude.caps = Caps(rows=5)
    job_id = opened(claude, asking(*(f"q{n}" for n in range(20))))
    sim.admin("settings", {"batch_seconds": 0.8})
    arm(sim, operation="create", kind="drop_after", skip=1)
    shards = [f"01-{n:05d}" for n in range(1, 5)]
    steps = [claude.submitter("anthropic").submit(job_id, each, laps.first()) for each in shards]
    assert [step.next for step in steps] == ["wait", "wait_to_submit", "wait", "wait"]
    for shard_id in shards:
        claude.run_shard(job_id, "anthropic", shard_id)
    assert len(books(sim)["batches"]) == 4
    assert books(sim)["rows_answered"] == 20
    assert books(sim)["files_left"] == []
    assert claude.alerts.sent == []


def test_a_job_that_is_cancelled_while_it_runs_keeps_what_was_finished(
    claude: World, sim: Simulator
) -> None:
    arm(sim, operation="create", kind="stuck", fraction=0.5)

    def cancel_later(_: float) -> None:
        time.sleep(0.02)
        if books(sim)["rows_answered"] == 3 and not claude.ledger.job(job_id).cancel_requested:
            claude.ledger.update_job(job_id, {"cancel_requested": True})

    claude.on_wait = cancel_later
    job_id = claude.drop("stop.jsonl", asking(*(f"q{n}" for n in range(6))))
    summary = claude.run(job_id)
    assert summary["status"] == "cancelled"
    assert summary["rows"] == {"total": 6, "succeeded": 3, "failed": 3, "invalid": 0}
    errors = [result["error"] for result in claude.result_lines(job_id) if result["error"]]
    assert {error["code"] for error in errors} == {"cancelled"}
    assert books(sim)["rows_answered"] == 3
    assert nothing_left(sim, summary)


def test_without_a_key_the_rows_fail_with_the_command_that_sets_it(
    claude: World, no_key: Callable[[], Provider]
) -> None:
    claude.providers["anthropic"] = no_key
    summary = claude.run(claude.drop("nokey.jsonl", asking("a")))
    assert (summary["status"], summary["reason"]["code"]) == ("failed", "missing_key")


@pytest.mark.parametrize("credit_error", ["billing_error", "invalid_request_error"])
def test_an_empty_balance_costs_no_row_an_attempt(
    claude: World, sim: Simulator, credit_error: str
) -> None:
    sim.admin("settings", {"out_of_credit": ["anthropic"], "credit_error": credit_error})
    claude.max_rounds = 1
    job_id = claude.drop("broke.jsonl", asking("a", "b"))

    def pay_later(_: float) -> None:
        time.sleep(0.05)
        if len(books(sim)["batches"]) == 3:
            sim.admin("settings", {"out_of_credit": []})

    claude.on_wait = pay_later
    summary = claude.run(job_id)
    assert summary["rows"]["succeeded"] == 2
    assert summary["rounds"] > 1
    assert nothing_left(sim, summary)


def test_a_refused_key_pauses_the_job_until_it_works(claude: World, sim: Simulator) -> None:
    sim.admin("settings", {"revoked_keys": ["sk-ant-test"]})
    job_id = opened(claude, asking("a"))
    step = claude.submitter("anthropic").submit(job_id, FIRST, laps.first())
    assert (step.next, step.trouble) == ("wait_to_submit", "AccountBlocked")
    assert claude.ledger.job(job_id).status == "paused"
    sim.admin("settings", {"revoked_keys": []})
    claude.run_shard(job_id, "anthropic", FIRST)
    assert claude.ledger.job(job_id).status == "running"
    assert len(claude.alerts.sent) == 1
    assert len(books(sim)["batches"]) == 1


def test_a_full_queue_is_waited_for(claude: World, sim: Simulator) -> None:
    sim.admin("settings", {"anthropic_queue_limit": 3})
    claude.caps = Caps(rows=3)
    job_id = opened(claude, asking(*(f"q{n}" for n in range(6))))
    submitter = claude.submitter("anthropic")
    assert submitter.submit(job_id, FIRST, laps.first()).next == "wait"
    step = submitter.submit(job_id, "01-00002", laps.first())
    assert (step.trouble, step.wait_seconds) == ("Throttled", 60)
    claude.run_shard(job_id, "anthropic", FIRST)
    claude.run_shard(job_id, "anthropic", "01-00002")
    assert books(sim)["rows_answered"] == 6
    assert books(sim)["files_left"] == []


def test_results_that_break_off_are_read_again(claude: World, sim: Simulator) -> None:
    job_id = opened(claude, asking(*(f"q{n}" for n in range(30))))
    arm(sim, operation="results", kind="truncate", bytes=5_000)
    with pytest.raises(Unavailable):
        claude.run_shard(job_id, "anthropic", FIRST)
    claude.run_shard(job_id, "anthropic", FIRST)
    answered = claude.ledger.shard(job_id, FIRST).answered
    assert answered is not None
    assert (answered.succeeded, answered.again) == (30, 0)


def test_what_cannot_be_deleted_is_told(claude: World, sim: Simulator) -> None:
    arm(sim, operation="delete", kind="status", status=500, times=5)
    summary = claude.run(claude.drop("stays.jsonl", asking("a")))
    assert summary["status"] == "succeeded"
    (item,) = summary["provider_files"]["left_items"]
    assert (item["provider"], item["kind"]) == ("anthropic", "batch")
    assert [file["id"] for file in books(sim)["files_left"]] == [item["id"]]
    assert len(claude.alerts.sent) == 1


def test_a_batch_that_disappears_is_sent_again(claude: World, sim: Simulator) -> None:
    sim.admin("settings", {"batch_seconds": 0.3})
    arm(sim, operation="retrieve", kind="gone")
    summary = claude.run(claude.drop("gone.jsonl", asking(*THREE)))
    assert summary["rows"]["succeeded"] == 3
    assert [batch["status"] for batch in summary["batches"]] == ["gone", "ended"]
