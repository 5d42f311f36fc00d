"""Whole jobs, in process: the real use cases and the real Vertex adapter, over HTTP."""

from __future__ import annotations

import time
from typing import Any

import pytest

from functions.batch.ports import Provider
from functions.batch.rows import Caps
from functions.providers.vertex.client import VertexProvider, make_client
from functions.providers.vertex.dialect import VertexDialect
from tests.support.driver import World
from tests.support.lines import digest, jsonl
from tests.support.simulator import Simulator

MODEL = "gemini-2.5-flash"
EMBEDDER = "gemini-embedding-001"


def line(text: str, custom_id: Any = None, model: str = MODEL, **more: Any) -> dict[str, Any]:
    request = {"contents": [{"role": "user", "parts": [{"text": text}]}], **more}
    return {"custom_id": custom_id, "model": model, "request": request}


def embedding(text: str, key: str) -> dict[str, Any]:
    request = {"content": {"parts": [{"text": text}]}, "embed_content_config": {"title": "t"}}
    return {"key": key, "model": EMBEDDER, "request": request}


@pytest.fixture
def vertex(vertex_provider: VertexProvider) -> World:
    return World(
        dialects=(VertexDialect(),),
        providers={"vertex": lambda: vertex_provider},
        on_wait=lambda seconds: time.sleep(min(seconds / 1000, 0.1)),
    )


def left(sim: Simulator) -> list[Any]:
    told = sim.ledger()["providers"]
    return told["vertex"]["files_left"] + told["gcs"]["files_left"]


def test_every_row_comes_back_in_order_joined_to_its_own_request(
    vertex: World, sim: Simulator
) -> None:
    rows = [line(f"question {n}", f"id-{n % 7}") for n in range(300)]
    rows += [line(f"other {n}", None, "publishers/google/models/gemini-2.5-pro") for n in range(50)]
    rows += [embedding(f"text {n}", f"e{n}") for n in range(20)]
    job_id = vertex.drop("mixed.jsonl", jsonl(rows))
    summary = vertex.run(job_id)
    results = vertex.result_lines(job_id)
    assert summary["status"] == "succeeded"
    assert summary["rows"] == {"total": 370, "succeeded": 370, "failed": 0, "invalid": 0}
    assert [result["row"] for result in results] == list(range(370))
    names = [row.get("custom_id", row.get("key")) for row in rows]
    assert [result["custom_id"] for result in results] == names
    for row, result in zip(rows[:350], results[:350], strict=True):
        assert result["text"].split()[1] == digest(row["request"])
        assert result["usage"]["output_tokens"] > 0
    assert {result["text"] for result in results[350:]} == {None}
    assert all(result["response"]["embedding"]["values"] for result in results[350:])
    assert {batch["model"] for batch in summary["batches"]} == {
        MODEL,
        EMBEDDER,
        "publishers/google/models/gemini-2.5-pro",
    }
    assert summary["provider_files"]["left"] == 0
    assert left(sim) == []
    assert sim.ledger()["providers"]["vertex"]["rows_answered"] == 370


def test_lines_that_vertex_cannot_take_are_told_before_anything_is_sent(
    vertex: World, sim: Simulator
) -> None:
    rows = [
        line("fine", "ok"),
        {"custom_id": "m", "request": {"contents": [{"parts": [{"text": "x"}]}]}},
        line("x", "ref", tools=[{"functionDeclarations": [{"parameters": {"$ref": "#/a"}}]}]),
        line("x", "empty", tools=[{"googleSearch": {}}]),
        {"custom_id": "data", "request": "please"},
        {"custom_id": "old", "model": "text-embedding-005", "request": {"content": "x"}},
    ]
    job_id = vertex.drop("dirty.jsonl", jsonl(rows))
    summary = vertex.run(job_id)
    assert summary["rows"] == {"total": 6, "succeeded": 1, "failed": 0, "invalid": 5}
    codes = [(result["error"] or {}).get("code") for result in vertex.result_lines(job_id)]
    assert codes[:4] == [None, "no_model", "bad_key", "empty_object"]
    assert codes[5] == "unsupported_model"
    assert left(sim) == []


def test_rows_whose_types_conflict_do_not_meet_in_one_batch(vertex: World, sim: Simulator) -> None:
    def calling(n: int) -> dict[str, Any]:
        given: Any = f"text {n}" if n % 3 else n
        parts = [{"functionCall": {"name": "look", "args": {"what": given}}}]
        request = {
            "contents": [
                {"role": "user", "parts": [{"text": f"say {n}"}]},
                {"role": "model", "parts": parts},
                {"role": "user", "parts": [{"text": f"more {n}"}]},
            ]
        }
        return {"custom_id": f"{n}", "model": MODEL, "request": request}

    job_id = vertex.drop("types.jsonl", jsonl([calling(n) for n in range(30)]))
    summary = vertex.run(job_id)
    assert summary["rows"]["succeeded"] == 30
    assert sorted(batch["rows"] for batch in summary["batches"]) == [10, 20]
    assert summary["rounds"] == 1
    assert left(sim) == []


def test_what_says_nothing_is_left_out_so_that_the_import_succeeds(
    vertex: World, sim: Simulator
) -> None:
    schema = {"$schema": "http://json-schema.org/draft-07/schema#", "type": "object"}
    declared = {"name": "now", "parameters": {"type": "object", "properties": {}}}
    rows = [
        line("a", "a", generationConfig={}),
        line("b", "b", tools=[{"functionDeclarations": [declared]}]),
        line(
            "c",
            "c",
            generationConfig={"responseMimeType": "application/json", "responseJsonSchema": schema},
        ),
    ]
    summary = vertex.run(vertex.drop("empty.jsonl", jsonl(rows)))
    assert summary["rows"]["succeeded"] == 3
    assert summary["rounds"] == 1


def test_small_shards_lose_nothing(vertex: World, sim: Simulator) -> None:
    sim.reset(batch_seconds=0.2, vertex_files=5)
    rows = [
        line("\u2028 and \u0085 " * (n % 9) + f"{n}", f"\N{GRINNING FACE}{n}") for n in range(120)
    ]
    rows[5] = line("[[sim:u2028]] 5", "5")
    vertex.split_bytes = 1000
    vertex.caps = Caps(rows=30)
    job_id = vertex.drop("cut.jsonl", jsonl(rows))
    summary = vertex.run(job_id)
    results = vertex.result_lines(job_id)
    assert [result["custom_id"] for result in results] == [row["custom_id"] for row in rows]
    for row, result in zip(rows, results, strict=True):
        assert result["text"].split()[1] == digest(row["request"])
    assert max(batch["rows"] for batch in summary["batches"]) <= 30
    assert left(sim) == []


def test_a_row_that_fails_for_a_while_is_tried_again(vertex: World, sim: Simulator) -> None:
    rows = [
        line("fine", "a"),
        line("[[sim:status=500,times=1]] then fine", "b"),
        line("[[sim:status=429]] never", "c"),
        line("[[sim:status=400]] wrong", "d"),
        line("[[sim:null_error,times=1]] strange", "e"),
        line("[[sim:missing,times=1]] lost", "f"),
        line("[[sim:policy]] forbidden", "g"),
    ]
    job_id = vertex.drop("retry.jsonl", jsonl(rows))
    summary = vertex.run(job_id)
    results = vertex.result_lines(job_id)
    good = [result["status"] == "succeeded" for result in results]
    assert good == [True, True, False, False, True, True, False]
    assert [result["round"] for result in results] == [1, 2, 3, 1, 2, 2, 1]
    codes = [result["error"]["code"] for result in results if result["error"]]
    assert codes == ["RESOURCE_EXHAUSTED", "INVALID_ARGUMENT", "blocked"]
    assert results[2]["error"]["retryable"] is True
    assert results[3]["response"]["error"]["code"] == 400
    assert results[6]["response"]["promptFeedback"]
    assert summary["rounds"] == 3
    assert [batch["rows"] for batch in summary["batches"]] == [7, 4, 1]
    assert left(sim) == []


def test_one_poison_row_does_not_take_the_others_down(vertex: World, sim: Simulator) -> None:
    rows = [line(f"good {n}", f"{n}") for n in range(20)]
    rows[13] = line("[[sim:poison_unnamed]]", "13")
    job_id = vertex.drop("poison.jsonl", jsonl(rows))
    summary = vertex.run(job_id)
    assert summary["rows"] == {"total": 20, "succeeded": 19, "failed": 1, "invalid": 0}
    poisoned = vertex.result_lines(job_id)[13]
    assert (poisoned["status"], poisoned["error"]["code"]) == ("failed", "vertex_3")
    assert left(sim) == []


@pytest.mark.parametrize("state", ["JOB_STATE_EXPIRED", "JOB_STATE_CANCELLED"])
def test_a_job_that_ends_early_is_harvested_and_only_the_rest_goes_again(
    vertex: World, sim: Simulator, state: str
) -> None:
    sim.arm(provider="vertex", operation="create", kind="expire_at", fraction=0.4, state=state)
    rows = [line(f"q{n}", f"{n}") for n in range(50)]
    job_id = vertex.drop("late.jsonl", jsonl(rows))
    summary = vertex.run(job_id)
    assert summary["status"] == "succeeded"
    assert [batch["status"] for batch in summary["batches"]] == [state, "JOB_STATE_SUCCEEDED"]
    assert summary["batches"][1]["rows"] == 30
    assert sim.ledger()["providers"]["vertex"]["rows_answered"] == 50
    assert left(sim) == []


def test_a_job_that_succeeded_in_part_has_its_failed_rows_tried_again(
    vertex: World, sim: Simulator
) -> None:
    sim.reset(batch_seconds=0.2, vertex_partial_state=True)
    rows = [line("good", "a"), line("[[sim:status=503,times=1]] later", "b")]
    summary = vertex.run(vertex.drop("part.jsonl", jsonl(rows)))
    assert summary["rows"]["succeeded"] == 2
    assert summary["batches"][0]["status"] == "JOB_STATE_PARTIALLY_SUCCEEDED"


@pytest.mark.parametrize("code", ["8", "13", "7", "9"])
def test_a_job_that_fails_for_no_fault_of_its_rows_goes_again_whole(
    vertex: World, sim: Simulator, code: str
) -> None:
    sim.arm(provider="vertex", operation="create", kind="batch_failed", code=code, message="no")
    rows = [line(f"q{n}", f"{n}") for n in range(4)]
    summary = vertex.run(vertex.drop("again.jsonl", jsonl(rows)))
    assert summary["rows"]["succeeded"] == 4
    assert [batch["rows"] for batch in summary["batches"]] == [4, 4]
    assert left(sim) == []


def test_answers_that_are_lost_on_the_way_are_found_and_nothing_is_paid_twice(
    vertex: World, sim: Simulator
) -> None:
    sim.arm(provider="vertex", operation="create", kind="drop_after")
    sim.arm(provider="gcs", operation="upload", kind="drop_after")
    rows = [line(f"q{n}", f"{n}") for n in range(5)]
    summary = vertex.run(vertex.drop("lost.jsonl", jsonl(rows)))
    assert summary["status"] == "succeeded"
    told = sim.ledger()
    assert len(told["providers"]["vertex"]["batches"]) == 1
    assert told["providers"]["vertex"]["rows_answered"] == 5
    assert left(sim) == []


def test_a_create_that_never_arrived_is_made_again_once(vertex: World, sim: Simulator) -> None:
    sim.arm(provider="vertex", operation="create", kind="status", status=503)
    summary = vertex.run(vertex.drop("drop.jsonl", jsonl([line("q", "1")])))
    assert summary["status"] == "succeeded"
    assert len(sim.ledger()["providers"]["vertex"]["batches"]) == 1
    assert left(sim) == []


def test_a_queue_that_is_full_is_waited_for(vertex: World, sim: Simulator) -> None:
    sim.arm(provider="vertex", operation="create", kind="status", status=429, times=2)
    summary = vertex.run(vertex.drop("full.jsonl", jsonl([line("q", "1")])))
    assert summary["status"] == "succeeded"
    assert summary["rounds"] == 1
    assert left(sim) == []


def test_a_job_that_is_cancelled_midway_keeps_what_was_finished(
    vertex: World, sim: Simulator
) -> None:
    sim.arm(provider="vertex", operation="create", kind="stuck", fraction=0.5)
    job_id = vertex.drop("stop.jsonl", jsonl([line(f"q{n}", f"{n}") for n in range(10)]))
    polls = 0

    def cancel_soon(_: float) -> None:
        nonlocal polls
        polls += 1
        if polls == 10:
            vertex.ledger.update_job(job_id, {"cancel_requested": True})
        time.sleep(0.05)

    vertex.on_wait = cancel_soon
    summary = vertex.run(job_id)
    assert summary["status"] == "cancelled"
    assert summary["rows"] == {"total": 10, "succeeded": 5, "failed": 5, "invalid": 0}
    assert summary["batches"][0]["status"] == "JOB_STATE_CANCELLED"
    assert left(sim) == []


def test_what_cannot_be_deleted_is_recorded_and_the_job_goes_on(
    vertex: World, sim: Simulator
) -> None:
    sim.arm(provider="vertex", operation="delete", kind="undeletable")
    summary = vertex.run(vertex.drop("stays.jsonl", jsonl([line("q", "1")])))
    assert summary["status"] == "succeeded"
    (item,) = summary["provider_files"]["left_items"]
    assert (item["provider"], item["kind"]) == ("vertex", "batch_job")
    assert item["error"]


def test_without_a_key_all_rows_say_which_command_sets_it(vertex: World, sim: Simulator) -> None:
    def keyless() -> Provider:
        return VertexProvider(make_client("{}"))

    vertex.providers = {"vertex": keyless}
    job_id = vertex.drop("keyless.jsonl", jsonl([line("q", "1")]))
    summary = vertex.run(job_id)
    assert summary["rows"]["failed"] == 1
    assert "batchdrop keys set vertex" in vertex.result_lines(job_id)[0]["error"]["message"]
    assert sim.ledger()["providers"]["vertex"]["batches"] == []


def test_a_refused_token_pauses_the_job_until_it_is_taken_again(
    vertex: World, sim: Simulator
) -> None:
    sim.admin("settings", {"require_google_token": True})
    laps = 0

    def grant_later(_: float) -> None:
        nonlocal laps
        laps += 1
        if laps == 3:
            sim.admin("settings", {"require_google_token": False})

    vertex.on_wait = grant_later
    summary = vertex.run(vertex.drop("token.jsonl", jsonl([line("q", "1")])))
    assert summary["status"] == "succeeded"
    assert vertex.alerts.sent
    assert left(sim) == []
