"""Whole jobs, in process: the real use cases and the real OpenAI adapter, over HTTP."""

from __future__ import annotations

import gzip
import json

from functions.batch.rows import Caps
from tests.support.driver import World
from tests.support.lines import body, digest, embedding, jsonl, line
from tests.support.simulator import Simulator


def test_every_row_comes_back_in_order_joined_to_its_own_request(
    world: World, sim: Simulator
) -> None:
    rows = [line(f"id-{n % 7}", body(f"question {n}")) for n in range(300)]
    rows += [line(None, body(f"other {n}", "gpt-5.4-mini")) for n in range(50)]
    rows += [embedding(f"e{n}", f"text {n}") for n in range(20)]
    job_id = world.drop("mixed.jsonl", jsonl(rows))
    summary = world.run(job_id)
    results = world.result_lines(job_id)
    assert summary["status"] == "succeeded"
    assert summary["rows"] == {"total": 370, "succeeded": 370, "failed": 0, "invalid": 0}
    assert [result["row"] for result in results] == list(range(370))
    assert [result["custom_id"] for result in results] == [row["custom_id"] for row in rows]
    for row, result in zip(rows[:350], results[:350], strict=True):
        assert result["text"].split()[1] == digest(row["body"])
    assert {result["text"] for result in results[350:]} == {None}
    assert len(summary["batches"]) == 3
    assert summary["provider_files"]["left"] == 0
    ledger = sim.ledger()["providers"]["openai"]
    assert ledger["files_left"] == []
    assert ledger["rows_answered"] == 370


def test_bad_lines_are_told_and_the_rest_goes_on(world: World) -> None:
    good = line("ok", body("hello"))
    rows = [
        b"\xef\xbb\xbf" + jsonl([good]),
        b"not json\n",
        b"\n  \r\n",
        jsonl([line("no model", {"messages": []})]),
        jsonl([line("where", body("x"), "/v1/nowhere")]),
        jsonl([line("stream", body("x", stream=True))]),
        b'{"custom_id": "nul", "method": "POST", "url": "/v1/responses", "body": {"a": "\0"}}\n',
        jsonl([line("nul escape", body("a\0b"))]),
        b'{"custom_id": "\xff"}\n',
        jsonl([{"just": "data"}]),
        b"[1, 2]\r\n",
        jsonl([good]).rstrip(b"\n"),
    ]
    job_id = world.drop("dirty.jsonl", b"".join(rows))
    summary = world.run(job_id)
    results = world.result_lines(job_id)
    assert summary["status"] == "partial"
    assert summary["rows"] == {"total": 11, "succeeded": 2, "failed": 0, "invalid": 9}
    assert [(result["error"] or {}).get("code") for result in results] == [
        None,
        "not_json",
        "no_model",
        "unknown_endpoint",
        "stream",
        "nul_character",
        "nul_character",
        "not_utf8",
        "needs_recipe",
        "not_an_object",
        None,
    ]
    assert results[2]["custom_id"] == "no model"
    failed = world.results.get(f"{job_id}/failed.jsonl").splitlines()
    assert [json.loads(each).get("custom_id") for each in failed] == [
        "no model",
        "where",
        "stream",
        "nul escape",
        None,
    ]
    assert world.results.get(f"{job_id}/invalid.txt").startswith(b"not json\n")


def test_ranges_and_small_shards_lose_nothing(world: World, sim: Simulator) -> None:
    rows = [line(f"\N{GRINNING FACE}{n}", body("\u2028 and \u0085" * (n % 9))) for n in range(200)]
    data = jsonl(rows)
    world.split_bytes = 1000
    world.caps = Caps(rows=30)
    job_id = world.drop("cut.jsonl", data)
    summary = world.run(job_id)
    results = world.result_lines(job_id)
    assert [result["custom_id"] for result in results] == [row["custom_id"] for row in rows]
    for row, result in zip(rows, results, strict=True):
        assert result["text"].split()[1] == digest(row["body"])
    assert max(batch["rows"] for batch in summary["batches"]) <= 30
    assert len(summary["batches"]) <= 9  # ranges of 7 rows or so do not divide by 30
    assert sim.ledger()["providers"]["openai"]["files_left"] == []


def test_gzip_of_several_members(world: World) -> None:
    rows = [line(f"{n}", body(f"q{n}")) for n in range(10)]
    data = gzip.compress(jsonl(rows[:4])) + gzip.compress(jsonl(rows[4:]))
    summary = world.run(world.drop("a.jsonl.gz", data))
    assert summary["rows"]["succeeded"] == 10


def test_a_row_that_fails_for_a_while_is_tried_again(world: World, sim: Simulator) -> None:
    rows = [
        line("a", body("fine")),
        line("b", body("[[sim:status=500,times=1]] then fine")),
        line("c", body("[[sim:status=429]] never")),
        line("d", body("[[sim:status=400]] wrong")),
        line("e", body("[[sim:status=0,times=1]] strange")),
        line("f", body("[[sim:missing,times=1]] lost")),
    ]
    job_id = world.drop("retry.jsonl", jsonl(rows))
    summary = world.run(job_id)
    results = world.result_lines(job_id)
    assert [result["status"] for result in results] == [
        "succeeded",
        "succeeded",
        "failed",
        "failed",
        "succeeded",
        "succeeded",
    ]
    assert [result["round"] for result in results] == [1, 2, 3, 1, 2, 2]
    assert results[2]["error"]["retryable"] is True
    assert results[3]["error"]["retryable"] is False
    assert results[3]["response"]["error"]
    assert summary["rounds"] == 3
    assert [batch["rows"] for batch in summary["batches"]] == [6, 4, 1]
    assert sim.ledger()["providers"]["openai"]["files_left"] == []


def test_one_poison_row_does_not_take_the_others_down(world: World, sim: Simulator) -> None:
    for marker in ("poison", "poison_unnamed"):
        sim.reset(batch_seconds=0.2)
        rows = [line(f"{n}", body(f"{marker} {n}")) for n in range(40)]
        rows[17] = line("17", body(f"[[sim:{marker}]]"))
        job_id = world.drop(f"{marker}.jsonl", jsonl(rows))
        summary = world.run(job_id)
        assert summary["rows"] == {"total": 40, "succeeded": 39, "failed": 1, "invalid": 0}
        assert world.result_lines(job_id)[17]["status"] == "failed"
        assert sim.ledger()["providers"]["openai"]["files_left"] == []


def test_an_expired_batch_is_harvested_and_only_the_rest_goes_again(
    world: World, sim: Simulator
) -> None:
    sim.arm(operation="create", kind="expire_at", fraction=0.4)
    rows = [line(f"{n}", body(f"q{n}")) for n in range(50)]
    job_id = world.drop("late.jsonl", jsonl(rows))
    summary = world.run(job_id)
    assert summary["status"] == "succeeded"
    assert [batch["status"] for batch in summary["batches"]] == ["expired", "completed"]
    assert summary["batches"][1]["rows"] == 30
    told = sim.ledger()
    assert told["providers"]["openai"]["rows_answered"] == 50
    assert told["providers"]["openai"]["files_left"] == []


def test_a_create_whose_answer_is_lost_is_found_and_not_paid_twice(
    world: World, sim: Simulator
) -> None:
    sim.arm(operation="create", kind="drop_after")
    sim.arm(operation="upload", kind="drop_after")
    rows = [line(f"{n}", body(f"q{n}")) for n in range(5)]
    summary = world.run(world.drop("lost.jsonl", jsonl(rows)))
    assert summary["status"] == "succeeded"
    told = sim.ledger()["providers"]["openai"]
    assert len(told["batches"]) == 1
    assert told["rows_answered"] == 5
    assert told["files_left"] == []


def test_a_job_that_is_cancelled_keeps_what_was_finished(world: World, sim: Simulator) -> None:
    sim.admin("settings", {"batch_seconds": 60})
    job_id = world.drop("stop.jsonl", jsonl([line("a", body("x")), line("b", body("y"))]))
    world.ledger.update_job(job_id, {"cancel_requested": True})
    summary = world.run(job_id)
    assert summary["status"] == "cancelled"
    assert {result["error"]["code"] for result in world.result_lines(job_id)} == {"cancelled"}
    assert sim.ledger()["providers"]["openai"]["batches"] == []
