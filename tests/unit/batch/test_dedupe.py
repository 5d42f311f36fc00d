"""Jobs whose recipe says `dedupe`: what is sent, what each row is told, and what it costs."""

from __future__ import annotations

import csv
import io
import json
from typing import Any

import msgspec
import pytest

from functions.batch.money import DOLLAR
from functions.batch.rows import Caps, Group
from functions.providers.openai.dialect import OpenAIDialect
from tests.support.deduped_job import OUTPUT, RECIPE, dropped, paid, table, world_of
from tests.support.driver import World
from tests.support.echo_provider import EchoProvider
from tests.support.lines import body, jsonl, line
from tests.support.money_twins import MemoryPrices
from tests.support.twin_provider import MAX_OUTPUT, TwinDialect, TwinProvider


def test_slices_have_the_rows_that_were_not_sent(twin: TwinProvider) -> None:
    texts = ["bad", *(f"{n % 7}" * 40 for n in range(60)), "bad"]
    whole = world_of(twin, output={"csv": True})
    job = dropped(whole, texts)
    told = whole.run(job)
    assert told["rows"]["failed"] == 2
    sliced = world_of(TwinProvider("openai"), output={"csv": True})
    sliced.one_call, sliced.slice_bytes, sliced.results.least_piece = 0, 3_000, 100
    assert dropped(sliced, texts) == job
    assert sliced.run(job)["dedupe"] == told["dedupe"]
    assert sliced.work.stored == {}
    outputs = {key: value for key, value in whole.results.stored.items() if "summary" not in key}
    found = {key: value for key, value in sliced.results.stored.items() if "summary" not in key}
    assert found == outputs


def test_rows_that_ask_for_the_same_are_sent_once(twin: TwinProvider) -> None:
    world = world_of(twin, output={"csv": True, "index": True})
    job = dropped(world, ["a", "bb", "a", "a", "bb", "c"])
    summary = world.run(job)
    assert twin.sent == {"a": 1, "bb": 1, "c": 1}
    lines = world.result_lines(job)
    assert [each["row"] for each in lines] == [0, 1, 2, 3, 4, 5]
    assert [each["custom_id"] for each in lines] == [f"id {n}" for n in range(6)]
    assert [each["text"] for each in lines] == [f"echo {t}" for t in ("a", "bb", *"aa", "bb", "c")]
    assert [each.get("cached", False) for each in lines] == [False, False, True, True, True, False]
    first, _, copy, *_ = lines
    assert first["cost_usd"] == paid("a")
    of_its_own = {"usage": None, "cost_usd": 0, "list_cost_usd": 0, "row": 2, "custom_id": "id 2"}
    assert copy == {**first, **of_its_own, "cached": True}
    assert summary["status"] == "succeeded"
    assert summary["rows"] == {"total": 6, "succeeded": 6, "failed": 0, "invalid": 0}
    assert summary["cost"]["actual_usd"] == pytest.approx(paid("a", "bb", "c"))
    assert summary["dedupe"] == {
        "from_earlier_jobs": 0,
        "within_the_job": 3,
        "saved_usd": pytest.approx(paid("a", "a", "bb")),
    }
    rows = csv.DictReader(io.StringIO(world.results.get(f"{job}/results.csv").decode()))
    assert [(row["id"], row["cost_usd"]) for row in rows][2:5] == [
        (f"id {n}", "0") for n in (2, 3, 4)
    ]
    indexed = [json.loads(each["answer"]) for each in world.ledger.rows.values()]
    assert sorted(each["row"] for each in indexed) == [0, 1, 2, 3, 4, 5]
    assert not list(world.work.keys("")), "nothing is left of it"


def test_without_it_every_row_is_sent(twin: TwinProvider) -> None:
    world = world_of(twin, dedupe=False)
    job = dropped(world, ["a", "a"])
    made = world.plan(job)
    assert not made.dedupe
    for piece in json.loads(world.work.get(made.manifest)):
        world.shard(job, piece)
    assert not list(world.work.keys(f"{job}/identities/"))
    summary = world.run(job)
    assert twin.sent == {"a": 2}
    assert "dedupe" not in summary
    assert not world.earlier.known
    again = dropped(world, ["a"], "again")
    world.run(again)
    assert twin.sent == {"a": 3}


def test_a_row_that_was_answered_before_is_not_sent(twin: TwinProvider) -> None:
    world = world_of(twin)
    first = dropped(world, ["a", "bb", "a"])
    world.run(first)
    [a, _, _] = world.result_lines(first)
    job = dropped(world, ["bb", "new", "a", "new", "a"], "later")
    summary = world.run(job)
    assert twin.sent == {"a": 1, "bb": 1, "new": 1}
    lines = world.result_lines(job)
    assert [each["text"] for each in lines] == [f"echo {t}" for t in ("bb", "new", "a", "new", "a")]
    assert [each.get("cached", False) for each in lines] == [True, False, True, True, True]
    of_its_own = {"usage": None, "cost_usd": 0, "list_cost_usd": 0, "row": 2, "custom_id": "id 2"}
    assert lines[2] == {**a, **of_its_own, "cached": True, "round": 0}
    assert summary["cost"]["actual_usd"] == paid("new")
    assert summary["dedupe"] == {
        "from_earlier_jobs": 3,
        "within_the_job": 1,
        "saved_usd": pytest.approx(paid("bb", "a", "new", "a")),
    }
    # A third job is answered by the first and the second, each for what it paid itself.
    third = dropped(world, ["new", "a"], "third")
    summary = world.run(third)
    assert summary["rounds"] == 0
    assert summary["batches"] == []
    assert (summary["status"], summary["cost"]["actual_usd"]) == ("succeeded", 0)
    assert {answer.job_id for answer, _ in world.earlier.known.values()} == {first, job}


def test_a_running_job_counts_what_was_answered_before(twin: TwinProvider) -> None:
    world = world_of(twin)
    world.run(dropped(world, ["a", "b"]))
    job = dropped(world, ["a", "new", "b", "a"], "later")
    [piece] = json.loads(world.work.get(world.plan(job).manifest))
    world.shard(job, piece)
    world.dedupe(job)
    world.open_round(job, 1)
    rows = world.ledger.job(job).rows
    assert rows is not None
    assert (rows.total, rows.succeeded) == (4, 3)


def test_what_is_not_sent_is_not_in_the_estimate(twin: TwinProvider) -> None:
    """So that it passes under a cap which all of its rows would break."""
    most = (MAX_OUTPUT * OUTPUT + 1.5 * 100) / 2_000_000
    world = world_of(twin, max_cost_usd=2.5 * most)
    texts = ["a", "a", "b", "a", "b", "a"]
    job = dropped(world, texts)
    assert world.run(job)["status"] == "succeeded"
    estimate = world.ledger.job(job).estimate
    assert estimate is not None
    assert estimate.high is not None
    assert MAX_OUTPUT * OUTPUT < estimate.high * 1_000_000 / DOLLAR < 2 * most * 1_000_000
    over = dropped(world, ["c", "d", "e", "c"], "over")
    assert world.run(over)["reason"]["code"] == "over_max_cost"
    known = dropped(world, texts, "known")
    world.run(known)
    estimate = world.ledger.job(known).estimate
    assert estimate is not None
    assert (estimate.low, estimate.expected, estimate.high) == (0, 0, 0)


@pytest.mark.parametrize("as_csv", [True, False])
def test_who_waits_for_a_row_that_fails_fails_with_it(twin: TwinProvider, as_csv: bool) -> None:
    world = world_of(twin)
    texts = ["bad", "a", "bad", "a", "bad"]
    if as_csv:
        data, name = table(texts), "failed.csv"
    else:
        rows = [{"id": f"id {n}", "text": text} for n, text in enumerate(texts)]
        data, name = jsonl(rows), "failed.jsonl"
    job = world.drop(f"in/t.{'csv' if as_csv else 'jsonl'}", data)
    summary = world.run(job)
    assert twin.sent == {"bad": 1, "a": 1}
    lines = world.result_lines(job)
    assert [each["status"] for each in lines] == ["failed", "succeeded"] * 2 + ["failed"]
    assert lines[0]["error"] == lines[2]["error"] == lines[4]["error"] is not None
    assert lines[0]["cost_usd"] > 0 == lines[2]["cost_usd"]
    assert [each.get("cached", False) for each in lines] == [False] * 3 + [True, False]
    assert summary["rows"] == {"total": 5, "succeeded": 2, "failed": 3, "invalid": 0}
    assert "3 of 5 rows did not succeed; all of them: No." in summary["reason"]["message"]
    kept = data.splitlines(keepends=True)
    wanted = (0, 1, 3, 5) if as_csv else (0, 2, 4)
    assert world.results.get(f"{job}/{name}") == b"".join(kept[n] for n in wanted)
    # What failed is asked again, and the others are not.
    again = dropped(world, ["bad", "a"], "again")
    world.run(again)
    assert twin.sent == {"bad": 2, "a": 1}


def test_who_waits_for_a_row_that_goes_again_gets_its_answer(twin: TwinProvider) -> None:
    twin.failing = {"a": 2}
    twin.expiring = 1
    world = world_of(twin)
    job = dropped(world, ["b", "a", "a", "b"])
    summary = world.run(job)
    assert summary["status"] == "succeeded"
    assert twin.billed == {"a": 1, "b": 1}
    assert [each["text"] for each in world.result_lines(job)] == [f"echo {t}" for t in "baab"]
    rounds = [each["round"] for each in world.result_lines(job)]
    assert rounds[1] == rounds[2] > rounds[0] == rounds[3]


def test_who_waits_for_a_cancelled_row_is_told_the_same(twin: TwinProvider) -> None:
    world = world_of(twin)
    known = dropped(world, ["known"], "known")
    world.run(known)
    job = dropped(world, ["a", "known", "a"])
    world.ledger.update_job(job, {"cancel_requested": True})
    summary = world.run(job)
    assert summary["status"] == "cancelled"
    lines = world.result_lines(job)
    assert [each["status"] for each in lines] == ["failed", "succeeded", "failed"]
    assert lines[0]["error"]["code"] == lines[2]["error"]["code"] == "cancelled"
    assert world.results.get(f"{job}/failed.csv") == b"id,text\r\nid 0,a\r\nid 2,a\r\n"


def test_what_the_row_that_was_sent_lost_is_lost_for_all(twin: TwinProvider) -> None:
    """Nothing comes back of it, whatever was tried: each of its rows is told."""
    world = world_of(twin)
    job = dropped(world, ["a", "a"])
    [piece] = json.loads(world.work.get(world.plan(job).manifest))
    world.shard(job, piece)
    world.dedupe(job)
    world.open_round(job, 1)
    world.assembler().assemble(job)
    assert [each["error"]["code"] for each in world.result_lines(job)] == ["unresolved"] * 2


def test_rows_are_found_across_ranges_and_sources(twin: TwinProvider) -> None:
    world = world_of(twin, routes=[{"when": "text == 'b'", "model": "other"}])
    world.split_bytes = 200
    world.caps = Caps(rows=3)
    texts = [text for _ in range(7) for text in ("a", "b", "c", "dd", "bad")]
    rows = [{"id": f"id {n}", "text": text} for n, text in enumerate(texts)]
    job = world.drop("in/t.jsonl", jsonl([*rows, b"no row\n"]))
    summary = world.run(job)
    assert twin.sent == {"a": 1, "b": 1, "c": 1, "dd": 1, "bad": 1}
    lines = world.result_lines(job)
    assert [each["text"] for each in lines[:-1]] == [
        None if text == "bad" else f"echo {text}" for text in texts
    ]
    assert [each["custom_id"] for each in lines[:-1]] == [f"id {n}" for n in range(len(texts))]
    assert {each["model"] for each in lines if each["text"] == "echo b"} == {"other"}
    assert summary["rows"] == {"total": 36, "succeeded": 28, "failed": 7, "invalid": 1}
    assert summary["dedupe"]["within_the_job"] == 24
    assert [each["rows"] for each in summary["routes"]] == [7, 28]


def test_a_canary_holds_rows_that_are_sent(twin: TwinProvider) -> None:
    """Of 360 rows, 120 are to be sent: the first hundred of those go first."""
    dialect = TwinDialect("openai")
    most = dialect.limits(Group("openai", "/twin", "small"))
    dialect.limits = lambda group: msgspec.structs.replace(most, rows=1_000)
    world = world_of(twin)
    world.dialects = (dialect,)
    world.canary_above = 110
    world.run(dropped(world, ["x", "y"], "known"))
    texts = [text for n in range(120) for text in ("x", f"t{n}", f"t{n}")]
    job = dropped(world, texts)
    summary = world.run(job)
    assert [batch["rows"] for batch in summary["batches"]] == [100, 20]
    assert twin.sent.total() == 122
    assert [each["text"] for each in world.result_lines(job)] == [f"echo {text}" for text in texts]


def test_a_job_that_is_rejected_looks_for_nothing(twin: TwinProvider) -> None:
    world = world_of(twin)
    job = world.drop("in/t.csv", b"id,,text\n1,2,3\n")
    assert world.run(job)["status"] == "rejected"
    assert not list(world.work.keys(""))
    assert not world.earlier.known


def test_a_price_that_nobody_knows_saves_what_nobody_knows(twin: TwinProvider) -> None:
    world = world_of(twin)
    world.prices = MemoryPrices()
    job = dropped(world, ["a", "a"])
    summary = world.run(job)
    assert summary["dedupe"] == {
        "from_earlier_jobs": 0,
        "within_the_job": 1,
        "saved_usd": None,
    }
    assert [each["cost_usd"] for each in world.result_lines(job)] == [None, 0]


def test_rows_that_are_requests_already_are_deduped_too() -> None:
    echo = EchoProvider(json.dumps)
    world = World(dialects=(OpenAIDialect(),), providers={"openai": lambda: echo})
    world.inputs.others["in/recipe.json"] = b'{"dedupe": true}'
    rows = [
        line("one", body("a")),
        line(None, body("a")),
        line("three", body("a", temperature=0)),
        line("four", body("a", model="gpt-5-nano")),
        line("five", {"model": "gpt-5-mini", "input": "a"}, "/v1/responses"),
        {"url": "/v1/chat/completions", "body": body("a"), "method": "POST", "custom_id": "six"},
        line("one", body("a")),
    ]
    job = world.drop("in/t.jsonl", jsonl(rows))
    assert world.run(job)["status"] == "succeeded"
    assert len(echo.bodies) == 4
    lines = world.result_lines(job)
    assert [each["custom_id"] for each in lines] == [
        *("one", None, "three", "four", "five", "six", "one")
    ]
    assert [each.get("cached", False) for each in lines] == [
        *(False, True, False, False, False, True, True)
    ]


def test_a_failed_request_comes_back_as_it_was() -> None:
    """Of a file of requests `failed.jsonl` has the lines themselves, each with its own id."""
    world = World(dialects=(OpenAIDialect(),), providers={"openai": _no_key})
    world.inputs.others["in/recipe.json"] = b'{"dedupe": true}'
    data = jsonl([line(n, body("a")) for n in ("one", "two")] + [line("three", body("b"))])
    job = world.drop("in/t.jsonl", data)
    world.run(job)
    assert [each["error"]["code"] for each in world.result_lines(job)] == ["missing_key"] * 3
    assert world.results.get(f"{job}/failed.jsonl") == data


def _no_key() -> Any:
    from functions.batch.errors import KeyMissing

    raise KeyMissing("missing_key", "No key.")


def test_answers_under_other_terms_are_not_the_same(twin: TwinProvider) -> None:
    """What a schema lets pass, and who answers what it does not, belongs to the answer."""
    schema = {"type": "object", "properties": {"n": {"type": "integer"}}, "required": ["n"]}
    world = world_of(twin, response_schema=schema, escalate_to="big")
    twin.say = lambda _: '{"n": 1}' if twin.billed["a"] > 1 else "no JSON"
    job = dropped(world, ["a", "a"])
    world.run(job)
    assert twin.billed == {"a": 2}
    assert [each["model"] for each in world.result_lines(job)] == ["big", "big"]
    again = dropped(world, ["a"], "again")
    world.run(again)
    assert twin.billed == {"a": 2}, "the stronger model's answer is the request's, too"
    [told] = world.result_lines(again)
    assert (told["text"], told["model"], told["cached"]) == ('{"n": 1}', "big", True)
    for number, keys in enumerate(
        ({"response_schema": schema}, {}, {"model": "other"}, {"prompt": "{{ text }} "})
    ):
        recipe = {**RECIPE, **keys}
        world.inputs.others["in/recipe.json"] = json.dumps(recipe).encode()
        sent = twin.sent.total()
        world.run(dropped(world, ["a"], f"other {number}"))
        assert twin.sent.total() > sent, keys
