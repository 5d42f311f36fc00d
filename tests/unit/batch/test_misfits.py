"""Answers that do not fit the recipe's schema: what goes again, to which model, and is kept."""

from __future__ import annotations

import json
from typing import Any

from tests.support.echo_provider import EchoProvider, last_text
from tests.support.lines import body, jsonl, line
from tests.support.recipe_job import RECIPE, SCHEMA, sheet, world_of


def test_an_answer_that_does_not_fit_goes_again_once_and_is_kept(echo: EchoProvider) -> None:
    echo.say = lambda sent: '{"kind": "bug"}' if "good" in last_text(sent) else '{"kind": "=other"}'
    world = world_of(echo, RECIPE, response_schema=SCHEMA)
    job = world.drop("s.csv", b"id,text\n1,good\n2,bad\n")
    summary = world.run(job)
    assert [last_text(sent) for sent in echo.bodies] == ["Sort good", "Sort bad", "Sort bad"]
    assert {sent["model"] for sent in echo.bodies} == {"small"}
    assert echo.bodies[0]["response_format"]["json_schema"]["schema"] == SCHEMA
    good, bad = world.result_lines(job)
    assert (good["status"], good["round"]) == ("succeeded", 1)
    assert (bad["status"], bad["round"]) == ("failed", 2)
    assert bad["text"] == '{"kind": "=other"}'
    assert bad["response"]["choices"]
    assert bad["error"]["code"] == "schema_mismatch"
    assert "kind: '=other' is not one of" in bad["error"]["message"]
    assert summary["rounds"] == 2
    assert [row[:4] for row in sheet(world, job)] == [
        ["id", "text", "status", "kind"],
        ["1", "good", "succeeded", "bug"],
        ["2", "bad", "failed", "'=other"],
    ]
    assert sheet(world, job, "failed.csv") == [["id", "text"], ["2", "bad"]]


def test_a_row_that_did_not_fit_goes_to_the_stronger_model(echo: EchoProvider) -> None:
    echo.say = lambda sent: '{"kind": "bug"}' if sent["model"] == "big" else "no JSON"
    world = world_of(echo, RECIPE, response_schema=SCHEMA, escalate_to="big")
    job = world.drop("s.csv", b"id,text\n1,a\n2,b\n")
    assert world.run(job)["status"] == "succeeded"
    assert [sent["model"] for sent in echo.bodies] == ["small", "small", "big", "big"]
    assert {each["model"] for each in world.result_lines(job)} == {"big"}
    assert [each["custom_id"] for each in world.result_lines(job)] == ["1", "2"]


def test_a_cancelled_jobs_misfit_is_not_sent_again(echo: EchoProvider) -> None:
    world = world_of(echo, RECIPE, response_schema=SCHEMA)
    job = world.drop("s.csv", b"id,text\n1,a\n")

    def say(_: dict[str, Any]) -> str:
        world.ledger.update_job(job, {"cancel_requested": True})
        return "no JSON"

    echo.say = say
    world.run(job)
    [row] = world.result_lines(job)
    assert (row["error"]["code"], row["text"], len(echo.bodies)) == (
        "schema_mismatch",
        "no JSON",
        1,
    )


def test_an_answer_whose_check_does_not_end_is_kept_and_not_paid_twice(
    echo: EchoProvider,
) -> None:
    pattern = {"type": "object", "properties": {"kind": {"type": "string", "pattern": "^(a+)+$"}}}
    endless = json.dumps({"kind": "a" * 40 + "!"})
    echo.say = lambda sent: endless if "bad" in last_text(sent) else '{"kind": "aa"}'
    world = world_of(echo, RECIPE, response_schema=pattern)
    job = world.drop("s.csv", b"id,text\n1,bad\n2,good\n")
    summary = world.run(job)
    assert len(echo.bodies) == 2
    assert summary["rows"] == {"total": 2, "succeeded": 1, "failed": 1, "invalid": 0}
    bad, good = world.result_lines(job)
    assert (bad["status"], bad["text"], good["status"]) == ("failed", endless, "succeeded")
    assert (bad["error"]["code"], bad["error"]["retryable"]) == ("schema_mismatch", False)
    assert "stopped after 2 s" in bad["error"]["message"]


def test_a_request_in_the_same_file_is_held_against_no_schema(echo: EchoProvider) -> None:
    echo.say = lambda sent: "plain" if last_text(sent) == "native" else '{"kind": "bug"}'
    world = world_of(echo, RECIPE, response_schema=SCHEMA)
    rows: list[Any] = [{"id": 1, "text": "a"}, line("n", body("native", model="small"))]
    job = world.drop("m.jsonl", jsonl(rows))
    assert world.run(job)["status"] == "succeeded"
