"""A big job's first rows go first: what is sent when, and what a person may say to it."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Any

import msgspec
import pytest

from functions.batch.errors import KeyMissing
from functions.batch.model import CANARY_ROWS, at
from functions.batch.money import DOLLAR, Bill, Estimate, JobLimits
from functions.batch.ports import Provider
from functions.batch.rows import Answer, Group, ReadAnswers, Weight
from functions.batch.spending import canary
from functions.batch.spending.approving import LEEWAY_SECONDS
from functions.batch.work import Collected, Source, Tally
from tests.support.driver import World
from tests.support.lines import jsonl
from tests.support.priced_job import PricedWorld, row
from tests.support.twin_provider import TwinDialect

ROWS = 250
GOOD = [f"text {n}" for n in range(ROWS)]
BAD = [f"bad {n}" for n in range(CANARY_ROWS)]
ASKED = "waits for approval"


class Roomy(TwinDialect):
    """A batch takes all rows there are; an answer to `cut` ends at its limit."""

    def limits(self, group: Group) -> Any:
        return msgspec.structs.replace(super().limits(group), rows=10_000, inputs=10_000)

    def answer(self, line: bytes, group: Group) -> Answer:
        said = super().answer(line, group)
        said.cut = said.text.startswith(b'"echo cut')
        return said

    def read_answers(self, block: bytes, group: Group) -> ReadAnswers:
        if b'"echo cut' in block:
            return ReadAnswers.of([], block.split(b"\n"))
        return super().read_answers(block, group)


@pytest.fixture
def world() -> PricedWorld:
    made = PricedWorld(canary_above=200, daily_budget_usd=Decimal(5))
    made.dialects = (Roomy("openai"),)
    return made


def sent(world: World, job_id: str) -> list[tuple[str, int, bool]]:
    """Of each batch its round and rows, and whether the provider heard of it."""
    return [
        (each.shard_id[:2], each.rows, each.batch_id is not None)
        for each in world.ledger.shards(job_id)
    ]


def alerts(world: World) -> list[str]:
    return [message for subject, message in world.alerts.sent if ASKED in subject]


def statuses(world: World, job_id: str) -> list[tuple[str, str | None]]:
    return [
        (line["status"], line["error"] and line["error"]["code"])
        for line in world.result_lines(job_id)
    ]


def test_a_canary_that_comes_back_well_lets_the_rest_go(world: PricedWorld) -> None:
    job_id = world.submit(GOOD)
    summary = world.run(job_id)
    assert summary["status"] == "succeeded"
    assert sent(world, job_id) == [("01", CANARY_ROWS, True), ("02", ROWS - CANARY_ROWS, True)]
    assert [line["text"] for line in world.result_lines(job_id)] == [f"echo {t}" for t in GOOD]
    assert (alerts(world), set(world.twin.sent.values())) == ([], {1})
    assert list(world.budgets.spent.values()) == [world.charged()]


def test_a_job_that_is_not_big_has_none(world: PricedWorld) -> None:
    job_id = world.submit(GOOD[:200])
    assert world.run(job_id)["status"] == "succeeded"
    assert sent(world, job_id) == [("01", 200, True)]
    estimate = world.ledger.job(job_id).estimate
    assert estimate is not None
    assert estimate.canary is None


@pytest.mark.parametrize(("rows", "batches"), [(canary.ABOVE, 1), (canary.ABOVE + 1, 2)])
def test_big_is_above_5_000_rows(rows: int, batches: int) -> None:
    world = PricedWorld()
    world.dialects = (Roomy("openai"),)
    job_id = world.submit([f"{n}" for n in range(rows)])
    assert world.run(job_id)["status"] == "succeeded"
    assert len(sent(world, job_id)) == batches


def test_a_recipe_may_say_that_there_is_none(world: PricedWorld) -> None:
    world.inputs.others["in/recipe.yaml"] = b"canary: off\n"
    job_id = world.submit(GOOD)
    assert world.run(job_id)["status"] == "succeeded"
    assert sent(world, job_id) == [("01", ROWS, True)]


def test_each_model_has_its_own(world: PricedWorld) -> None:
    world.daily_budget_usd = None
    texts = [row(f"m {n}") for n in range(150)] + [row(f"n {n}", "n") for n in range(60)]
    job_id = world.drop("in/a.jsonl", jsonl(texts))
    assert world.run(job_id)["status"] == "succeeded"
    assert sent(world, job_id) == [("01", 100, True), ("01", 60, True), ("02", 50, True)]


def test_a_model_whose_first_range_is_small_takes_a_later_one(world: PricedWorld) -> None:
    world.split_bytes = 1_000
    job_id = world.submit(GOOD)
    summary = world.run(job_id)
    assert summary["status"] == "succeeded"
    first, *_ = sent(world, job_id)
    assert first[1] < CANARY_ROWS
    assert sum(rows for _, rows, _ in sent(world, job_id)) == ROWS
    assert set(world.twin.sent.values()) == {1}


def test_more_than_half_failed_asks_with_figures_and_goes_on_if_approved(
    world: PricedWorld,
) -> None:
    world.answers = lambda _: "Approve Job"
    job_id = world.submit(BAD[:51] + GOOD)
    summary = world.run(job_id)
    [message] = alerts(world)
    assert "51 failed of 100 of openai/m (most often: No.)" in message
    assert "is spent; 201 rows wait." in message
    assert "To let the rest go on:" in message
    assert f"batchdrop approve {job_id} --stack Test" in message
    assert (summary["status"], summary["rows"]["succeeded"]) == ("partial", ROWS)
    [detail] = [each for kind, each in world.events.published if "Awaiting" in kind]
    assert detail["reason"]["code"] == "canary"
    assert detail["cost"]["estimate"]["high_usd"] > 0
    assert list(world.budgets.spent.values()) == [world.charged()]
    assert world.ledger.job(job_id).reason != detail["reason"]


def test_half_of_them_is_not_more_than_half(world: PricedWorld) -> None:
    job_id = world.submit(BAD[:50] + GOOD)
    assert world.run(job_id)["rows"]["succeeded"] == ROWS
    assert alerts(world) == []


@pytest.mark.parametrize(
    ("command", "code"), [("Refuse Job", "canary_refused"), (None, "canary_unanswered")]
)
def test_without_a_yes_the_rest_fails_and_what_is_finished_is_kept(
    world: PricedWorld, command: str | None, code: str
) -> None:
    world.answers = lambda _: command
    job_id = world.submit(BAD[:60] + GOOD)
    summary = world.run(job_id)
    assert summary["status"] == "partial"
    assert summary["rows"] == {"total": 310, "succeeded": 40, "failed": 270, "invalid": 0}
    assert summary["reason"]["code"] == code
    found = statuses(world, job_id)
    assert found[:60] == [("failed", "twin")] * 60
    assert found[60:100] == [("succeeded", None)] * 40
    assert found[100:] == [("failed", code)] * 210
    assert sent(world, job_id) == [("01", 100, True), ("02", 210, False)]
    failed = world.results.get(f"{job_id}/failed.jsonl")
    assert len(failed.splitlines()) == 270
    assert list(world.budgets.spent.values()) == [world.charged()]
    assert len(alerts(world)) == 1


def test_if_nothing_of_it_succeeded_the_job_failed(world: PricedWorld) -> None:
    world.answers = lambda _: "Refuse Job"
    assert world.run(world.submit(BAD + GOOD))["status"] == "failed"


def test_a_key_that_nobody_set_asks_nobody(world: PricedWorld) -> None:
    def none() -> Provider:
        raise KeyMissing("missing_key", "Set it with `batchdrop keys set openai`.")

    world.providers["openai"] = none
    job_id = world.submit(GOOD)
    assert world.run(job_id)["status"] == "failed"
    assert set(statuses(world, job_id)) == {("failed", "missing_key")}
    assert alerts(world) == []


def test_answers_that_were_cut_count_too(world: PricedWorld) -> None:
    world.answers = lambda _: "Refuse Job"
    summary = world.run(world.submit([f"cut {n}" for n in range(40)] + BAD[:20] + GOOD))
    assert summary["rows"]["succeeded"] == 80
    [message] = alerts(world)
    assert "20 failed, 40 were cut at their limit on output of 100" in message


def test_twice_the_estimate_asks(world: PricedWorld, monkeypatch: pytest.MonkeyPatch) -> None:
    """A tokenizer that finds far more in the text than was estimated."""
    charge = world.twin._charged  # pyright: ignore[reportPrivateUsage]

    def dearer(given: Any, output: int) -> Any:
        usage = charge(given, output)
        usage.input_tokens += 1_000
        world.twin.tokens["input"] += 1_000
        return usage

    monkeypatch.setattr(world.twin, "_charged", dearer)
    world.answers = lambda _: "Refuse Job"
    job_id = world.submit(GOOD)
    summary = world.run(job_id)
    assert summary["rows"]["succeeded"] == CANARY_ROWS
    [message] = alerts(world)
    assert "they cost $0.1" in message
    assert "was expected" in message
    assert summary["cost"]["actual_usd"] == world.charged() / DOLLAR


def test_a_model_without_a_price_is_judged_by_its_answers_alone(world: PricedWorld) -> None:
    world.daily_budget_usd = None
    world.price(None)
    assert world.run(world.submit(GOOD))["status"] == "succeeded"


def test_a_cancel_while_it_waits_ends_the_job(world: PricedWorld) -> None:
    world.answers = lambda _: "Cancel Job"
    job_id = world.submit(BAD + GOOD)
    summary = world.run(job_id)
    assert summary["status"] == "cancelled"
    assert set(statuses(world, job_id)[100:]) == {("failed", "cancelled")}
    assert not world.workflows.waiting
    assert sum(each[2] for each in sent(world, job_id)) == 1


def test_the_question_is_another_than_whether_it_may_start(world: PricedWorld) -> None:
    world.limit(approve_above_usd="0.000001")
    replies = iter(["Approve Job", "Refuse Job"])
    world.answers = lambda _: next(replies)
    summary = world.run(world.submit(BAD + GOOD))
    assert summary["reason"]["code"] == "canary_refused"
    assert len(alerts(world)) == 2
    kinds = [kind for kind, _ in world.events.published]
    assert kinds == [
        "Job Awaiting Approval",
        "Job Accepted",
        "Job Awaiting Approval",
        "Job Completed",
    ]


def until_asked(world: PricedWorld) -> str:
    job_id = world.submit(BAD + GOOD)
    world.shard(job_id, {"range": 0, "start": 0, "end": None})
    assert world.gate().admit(job_id) == "start"
    [run] = world.open_round(job_id, 1).shards
    world.run_shard(job_id, run.provider, run.shard_id)
    assert world.open_round(job_id, 2).run == "ask"
    return job_id


def test_it_waits_as_a_job_that_waits_for_approval(world: PricedWorld) -> None:
    job_id = until_asked(world)
    token = f"{job_id} 0"
    world.workflows.begin_to_wait(token)
    world.asker().ask(job_id, token, "canary")
    job = world.ledger.job(job_id)
    assert job.status == "awaiting_approval"
    assert job.reason is not None
    assert job.reason.code == "canary"
    assert world.open_round(job_id, 2).run == "ask"
    assert world.command("Approve Job", job_id=job_id)
    assert not world.workflows.waiting
    opened = world.open_round(job_id, 2)
    assert (opened.run, opened.number) == ("inline", 2)
    job = world.ledger.job(job_id)
    assert (job.status, job.reason) == ("running", None)


def test_a_message_that_comes_again_does_not_answer_what_was_asked_after_it(
    world: PricedWorld,
) -> None:
    """The one that let the job start, delivered for the second time."""
    world.limit(approve_above_usd="0.000001")
    said_at: list[str] = []

    def reply(job_id: str) -> str | None:
        if said_at:
            world.command("Approve Job", said_at[0], job_id=job_id)
            return None
        said_at.append(at(datetime.now(UTC) - timedelta(seconds=LEEWAY_SECONDS + 1)))
        return "Approve Job"

    world.answers = reply
    summary = world.run(world.submit(BAD + GOOD))
    assert summary["reason"]["code"] == "canary_unanswered"
    assert world.twin.sent.total() == 100


@pytest.mark.parametrize(
    "said_at", ["", "yesterday", "2026-01-01T00:00:00", "2999-01-01T00:00:00Z"]
)
def test_a_message_without_a_time_answers_the_last_question(
    world: PricedWorld, said_at: str
) -> None:
    job_id = until_asked(world)
    world.asker().ask(job_id, "token", "canary")
    assert world.command("Approve Job", said_at or "-", job_id=job_id)
    assert world.open_round(job_id, 2).run == "inline"


def test_a_later_execution_neither_starts_nor_rejects_it_anew(world: PricedWorld) -> None:
    """Its price may be another by then: the canary has taught."""
    job_id = until_asked(world)
    world.asker().ask(job_id, "token", "canary")
    before = world.ledger.job(job_id).estimate
    capped = JobLimits(max_cost_usd=Decimal("0.0000001"))
    world.ledger.update_job(job_id, {"limits": capped})
    assert world.gate().admit(job_id) == "start"
    job = world.ledger.job(job_id)
    assert (job.status, job.verdict) == ("awaiting_approval", None)
    assert before is not None
    assert job.estimate is not None
    assert job.estimate.canary == before.canary
    assert world.open_round(job_id, 1).run == "inline"
    assert world.open_round(job_id, 2).run == "ask"
    assert len(alerts(world)) == 1


def test_an_approval_that_comes_as_time_runs_out_counts(world: PricedWorld) -> None:
    job_id = until_asked(world)
    world.asker().ask(job_id, "token", "canary")
    assert world.command("Approve Job", job_id=job_id)
    opened = world.open_round(job_id, 2, unanswered=True)
    assert opened.run == "inline"
    assert world.ledger.shard(job_id, "02-00001").refusal is None


def test_what_was_said_once_stays_said(world: PricedWorld) -> None:
    job_id = until_asked(world)
    world.asker().ask(job_id, "token", "canary")
    assert world.open_round(job_id, 2, unanswered=True).run == "inline"
    assert not world.command("Approve Job", job_id=job_id)
    again = world.open_round(job_id, 2)
    assert again.run == "inline"
    refusal = world.ledger.shard(job_id, "02-00001").refusal
    assert refusal is not None
    assert refusal.code == "canary_unanswered"


def test_a_canary_whose_workflow_broke_is_waited_for(world: PricedWorld) -> None:
    job_id = world.submit(GOOD)
    world.shard(job_id, {"range": 0, "start": 0, "end": None})
    world.gate().admit(job_id)
    world.open_round(job_id, 1)
    opened = world.open_round(job_id, 2)
    assert [run.name for run in opened.shards] == [f"{job_id}-01-00001-2"]
    world.run_shard(job_id, "openai", "01-00001")
    opened = world.open_round(job_id, 3)
    assert [run.shard_id for run in opened.shards] == ["03-00001"]
    assert world.ledger.shard(job_id, "03-00001").rows == ROWS - CANARY_ROWS


def test_rows_of_the_canary_that_failed_for_now_spend_no_more_than_their_own_round(
    world: PricedWorld,
) -> None:
    """Neither is a failure that may pass a reason to ask."""
    world.twin.failing = dict.fromkeys(GOOD[:90], 2) | dict.fromkeys(GOOD[-90:], 2)
    job_id = world.submit(GOOD)
    assert world.run(job_id)["status"] == "succeeded"
    assert alerts(world) == []
    world.twin.failing = {GOOD[0]: 3, GOOD[-1]: 3}
    again = world.submit(GOOD, "again.jsonl")
    assert world.run(again)["rows"]["failed"] == 2


def collected(**fields: Any) -> Collected:
    given: dict[str, Any] = {"succeeded": 0, "failed": 0, "problems": {}, **fields}
    return Collected(shard_id="s", parts=[], failed_parts=[], remainder=[], **given)


def test_answers_that_do_not_fit_count_too() -> None:
    again = Source(key="k", first="a", last="b", group=Group("p", "e", "m"), weight=Weight(rows=60))
    came = collected(succeeded=40, unfit=60, problems={"x": Tally(count=1, message="Rare.")})
    came.remainder = [again]
    reason = canary.trouble({"s": came}, {"s": "p/m"}, None, [])
    assert reason is not None
    assert "60 did not fit the schema of 100 of p/m" in reason.message
    came.unfit = 50
    assert canary.trouble({"s": came}, {"s": "p/m"}, None, []) is None


def test_one_model_in_trouble_is_enough() -> None:
    came = {"a": collected(succeeded=100), "b": collected(failed=2, succeeded=1)}
    reason = canary.trouble(came, {"a": "p/a", "b": "p/b"}, None, [])
    assert reason is not None
    assert "2 failed of 3 of p/b" in reason.message
    assert "p/a" not in reason.message


def test_cost_is_judged_for_all_of_it() -> None:
    came = {"a": collected(succeeded=1, bill=Bill(actual=3)), "b": collected(succeeded=1)}
    models = {"a": "p/a", "b": "p/b"}
    assert canary.trouble(came, models, Estimate(canary=1), []) is not None
    came["a"].bill = Bill(actual=2)
    assert canary.trouble(came, models, Estimate(canary=1), []) is None
    assert canary.trouble(came, models, Estimate(), []) is None
