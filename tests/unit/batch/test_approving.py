from __future__ import annotations

from decimal import Decimal

import pytest

from functions.batch.rows import Weight
from tests.support.priced_job import PricedWorld

TEXTS = [f"text {n}" for n in range(4)]
ASKED = "waits for approval"


@pytest.fixture
def world() -> PricedWorld:
    made = PricedWorld(daily_budget_usd=Decimal(5))
    made.limit(approve_above_usd="0.000001")
    return made


def alerts(world: PricedWorld) -> list[str]:
    return [message for subject, message in world.alerts.sent if ASKED in subject]


def kinds(world: PricedWorld) -> list[str]:
    return [kind for kind, _ in world.events.published]


def waiting(world: PricedWorld) -> tuple[str, str]:
    """A job that has asked, and its token."""
    job_id = world.submit(TEXTS)
    world.shard(job_id, {"range": 0, "start": 0, "end": None})
    assert world.gate().admit(job_id) == "ask"
    return job_id, asked(world, job_id)


def asked(world: PricedWorld, job_id: str) -> str:
    token = f"token {len(world.workflows.tokens)}"
    world.workflows.begin_to_wait(token)
    world.asker().ask(job_id, token)
    return token


def test_a_job_asks_once_with_figures_and_the_commands(world: PricedWorld) -> None:
    job_id, token = waiting(world)
    [message] = alerts(world)
    assert "in/a.jsonl: The job may cost up to $0.0" in message
    assert f"batchdrop approve {job_id} --stack Test" in message
    assert f"batchdrop refuse {job_id} --stack Test" in message
    assert "refused after 3 days" in message
    [(kind, detail)] = world.events.published
    assert kind == "Job Awaiting Approval"
    assert (detail["job_id"], detail["status"]) == (job_id, "awaiting_approval")
    assert detail["cost"]["estimate"]["high_usd"] > detail["cost"]["estimated_usd"]
    assert detail["input"]["key"] == "in/a.jsonl"
    assert world.ledger.job(job_id).status == "awaiting_approval"
    assert token in world.workflows.waiting
    assert not world.budgets.leases


def test_below_the_bound_nobody_is_asked(world: PricedWorld) -> None:
    world.limit(approve_above_usd="1")
    assert world.run(world.submit(TEXTS))["status"] == "succeeded"
    assert alerts(world) == []


def test_an_approved_job_starts(world: PricedWorld) -> None:
    world.answers = lambda _: "Approve Job"
    summary = world.run(world.submit(TEXTS))
    assert summary["status"] == "succeeded"
    assert kinds(world) == ["Job Awaiting Approval", "Job Accepted", "Job Completed"]
    assert list(world.budgets.spent.values()) == [world.charged()]


def test_a_refused_job_is_rejected_and_nothing_is_sent(world: PricedWorld) -> None:
    world.answers = lambda _: "Refuse Job"
    summary = world.run(world.submit(TEXTS))
    assert (summary["status"], summary["reason"]["code"]) == ("rejected", "refused")
    assert (world.twin.begun, sum(world.budgets.committed.values())) == (0, 0)


def test_a_job_that_nobody_answers_is_refused(world: PricedWorld) -> None:
    summary = world.run(world.submit(TEXTS))
    assert (summary["status"], summary["reason"]["code"]) == ("rejected", "unanswered")
    assert "within 3 days" in summary["reason"]["message"]
    assert len(alerts(world)) == 1
    job_id = summary["job_id"]
    assert not world.command("Approve Job", job_id=job_id)


def test_an_approval_that_comes_as_time_runs_out_counts(world: PricedWorld) -> None:
    job_id, token = waiting(world)
    assert world.command("Approve Job", job_id=job_id)
    assert world.workflows.woken == [token]
    assert world.gate().admit(job_id, unanswered=True) == "start"


def test_an_approved_job_may_still_be_over_the_budget(world: PricedWorld) -> None:
    world.answers = lambda _: "Approve Job"
    world.daily_budget_usd = Decimal("0.000001")
    summary = world.run(world.submit(TEXTS))
    assert (summary["status"], summary["reason"]["code"]) == ("rejected", "over_daily_budget")


def test_a_cancel_ends_the_waiting(world: PricedWorld) -> None:
    world.answers = lambda _: "Cancel Job"
    job_id = world.submit(TEXTS)
    summary = world.run(job_id)
    assert summary["status"] == "cancelled"
    assert {line["error"]["code"] for line in world.result_lines(job_id)} == {"cancelled"}
    assert (world.twin.begun, sum(world.budgets.committed.values())) == (0, 0)
    assert not world.workflows.waiting


def test_the_first_answer_counts_and_a_second_is_harmless(world: PricedWorld) -> None:
    job_id, token = waiting(world)
    assert world.command("Approve Job", job_id=job_id)
    assert world.command("Approve Job", job_id=job_id)
    assert not world.command("Refuse Job", job_id=job_id)
    assert world.workflows.woken == [token] * 3
    assert world.gate().admit(job_id) == "start"
    assert world.ledger.job(job_id).status == "planning"


def test_a_job_that_did_not_ask_cannot_be_answered(world: PricedWorld) -> None:
    job_id = world.submit(TEXTS)
    assert not world.command("Approve Job", job_id=job_id)
    assert not world.command("Refuse Job", job_id="nobody")
    assert world.approvals.find(job_id) is None


def test_a_later_execution_asks_again_without_a_second_message(world: PricedWorld) -> None:
    job_id, _ = waiting(world)
    assert world.gate().admit(job_id) == "ask"
    token = asked(world, job_id)
    assert len(alerts(world)) == 1
    assert kinds(world) == ["Job Awaiting Approval"]
    world.command("Approve Job", job_id=job_id)
    assert world.workflows.woken == [token]


def test_an_answer_that_came_before_the_state_waited_ends_it(world: PricedWorld) -> None:
    job_id, _ = waiting(world)
    world.command("Approve Job", job_id=job_id)
    token = asked(world, job_id)
    assert world.workflows.woken[-1] == token
    assert world.ledger.job(job_id).status == "awaiting_approval"


def test_a_cancel_that_came_before_the_state_waited_ends_it(world: PricedWorld) -> None:
    job_id = world.submit(TEXTS)
    world.shard(job_id, {"range": 0, "start": 0, "end": None})
    assert world.gate().admit(job_id) == "ask"
    world.command("Cancel Job", job_id=job_id)
    token = asked(world, job_id)
    assert world.workflows.woken == [token]
    assert alerts(world) == []


def test_a_message_that_did_not_get_out_is_sent_by_the_next_try(
    world: PricedWorld, monkeypatch: pytest.MonkeyPatch
) -> None:
    job_id = world.submit(TEXTS)
    world.shard(job_id, {"range": 0, "start": 0, "end": None})
    world.gate().admit(job_id)
    with monkeypatch.context() as broken:

        def fail(subject: str, message: str) -> None:
            raise ConnectionError

        broken.setattr(world.alerts, "alert", fail)
        with pytest.raises(ConnectionError):
            asked(world, job_id)
    assert world.approvals.find(job_id) is not None
    asked(world, job_id)
    assert len(alerts(world)) == 1


def test_what_is_not_known_is_asked_about(world: PricedWorld) -> None:
    """An unknown price breaks no promise here: a person may decide."""
    world.daily_budget_usd = None
    world.price(None)
    world.answers = lambda _: "Approve Job"
    assert world.run(world.submit(TEXTS))["status"] == "succeeded"
    assert "No price is known for openai/m." in alerts(world)[0]
    assert "What the job may cost is not known." in alerts(world)[0]


def test_rows_without_a_limit_are_asked_about_too(
    world: PricedWorld, monkeypatch: pytest.MonkeyPatch
) -> None:
    def weigh(line: bytes) -> Weight:
        return Weight(rows=1, bytes=len(line), tokens=len(line), unbounded=1)

    world.daily_budget_usd = None
    monkeypatch.setattr(world.dialects[0], "weigh", weigh)
    waiting(world)
    assert "not known, at least $0.0" in alerts(world)[0]
    assert "4 rows have no limit on their output." in alerts(world)[0]
