from __future__ import annotations

import io
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from rich.console import Console

from cli.errors import CliError
from cli.ledger import find_job
from cli.watch import take_snapshot, watch_jobs
from functions.batch.model import Answered, Job, Progress, Reason, RowCounts, Shard
from functions.batch.money import DOLLAR, Bill, Estimate


class FakeLedger:
    """Plays back states: each look at a job shows its next one, the last one for good."""

    def __init__(self, *states: tuple[Job, list[Shard]]) -> None:
        self._states = list(states)
        self.looks = 0

    def job(self, job_id: str) -> Job | None:
        self.looks += 1
        now = self._states[min(self.looks, len(self._states)) - 1]
        return now[0] if now[0].job_id == job_id else None

    def shards(self, job_id: str) -> list[Shard]:
        return self._states[min(self.looks, len(self._states)) - 1][1]

    def jobs(self, since: datetime | None = None, starting: str = "") -> Iterator[Job]:
        for job, _ in self._states:
            if job.job_id.startswith(starting):
                yield job


def shard(number: int, status: Any, **fields: Any) -> Shard:
    given: dict[str, Any] = {"round": 1, "rows": 10, "bytes": 100} | fields
    return Shard(
        job_id="tickets-1",
        shard_id=f"{given['round']:02d}-{number:05d}",
        number=number,
        provider="openai",
        endpoint="/v1/embeddings",
        model="text-embedding-3-small",
        status=status,
        **given,
    )


def watched(ledger: FakeLedger, *, terminal: bool = False) -> tuple[int, str]:
    screen = io.StringIO()
    console = Console(file=screen, force_terminal=terminal, width=160)
    code = watch_jobs(ledger, ["tickets-1"], console=console, sleep=lambda _seconds: None)
    return code, screen.getvalue()


def test_rows_are_counted_by_answers_and_before_that_by_progress(
    new_job: Callable[..., Job],
) -> None:
    job = new_job("tickets-1", status="running", rows=RowCounts(total=33, invalid=3))
    ledger = FakeLedger(
        (
            job,
            [
                shard(1, "cleaned", answered=Answered(succeeded=6, failed=1, again=3)),
                shard(2, "submitted", progress=Progress(total=10, completed=99)),
                shard(3, "planned"),
            ],
        )
    )
    seen = take_snapshot(ledger, "tickets-1")
    assert (seen.rows, seen.total_rows) == (3 + 7 + 10, 33)
    assert (seen.batches, seen.total_batches, seen.waiting) == (1, 3, 1)


def test_lines_tell_each_change_once(new_job: Callable[..., Job]) -> None:
    planning = (new_job("tickets-1"), [])
    running = (new_job("tickets-1", status="running", round=1), [shard(1, "submitted")])
    again = shard(1, "submitted", round=2, rows=2)
    resent = (
        new_job("tickets-1", status="running", round=2),
        [shard(1, "cleaned", answered=Answered(succeeded=8, again=2)), again],
    )
    done = (
        new_job("tickets-1", status="succeeded", rows=RowCounts(total=10, succeeded=10)),
        resent[1],
    )
    code, told = watched(FakeLedger(planning, planning, running, running, resent, done))
    assert code == 0
    assert [line.split(" ", 1)[1] for line in told.splitlines()] == [
        "tickets-1: planning",
        "tickets-1: running, 0 of 10 rows, 0 of 1 batches",
        "tickets-1: running, round 2, 8 of 10 rows, 1 of 2 batches",
        "tickets-1: succeeded, round 2, 10 of 10 rows, 1 of 2 batches",
        "succeeded: 10 of 10 rows succeeded",
    ]


def test_dollars_are_told_while_it_runs_and_at_the_end(new_job: Callable[..., Job]) -> None:
    estimate = Estimate(low=1, expected=6 * DOLLAR, high=9 * DOLLAR)
    paid = Bill(rows=8, actual=2 * DOLLAR, listed=5 * DOLLAR)
    shards = [shard(1, "cleaned", answered=Answered(succeeded=8), bill=paid), shard(2, "planned")]
    running = (new_job("tickets-1", status="running", estimate=estimate), shards)
    done = (new_job("tickets-1", status="succeeded", estimate=estimate, bill=paid), shards)
    _, told = watched(FakeLedger(running, done))
    first, _, last = told.splitlines()
    assert first.endswith("1 of 2 batches, 1 waiting, $2.00 of about $6.00")
    assert last == "tickets-1 succeeded, $2.00, $3.00 saved"
    assert "$2.00 of about $6.00" in watched(FakeLedger(running, done), terminal=True)[1]


def test_its_expected_end_is_told_while_it_runs(new_job: Callable[..., Job]) -> None:
    soon = datetime.now().astimezone().replace(microsecond=0)
    later = soon + timedelta(days=2)
    expected = {
        "expected_at": soon.astimezone(UTC).isoformat(),
        "expected_by": later.astimezone(UTC).isoformat(),
    }
    running = (new_job("tickets-1", status="running", **expected), [shard(1, "submitted")])
    done = (new_job("tickets-1", status="succeeded", **expected), running[1])
    told = f"ends about {soon:%H:%M}, most likely by {later:%Y-%m-%d %H:%M}"
    first, *rest = watched(FakeLedger(running, done))[1].splitlines()
    assert first.endswith(told)
    assert "ends about" not in "".join(rest)
    assert "ends about" in watched(FakeLedger(running, done), terminal=True)[1]


@pytest.mark.parametrize(
    ("bill", "told"),
    [
        (Bill(rows=3, unpriced=2, actual=DOLLAR), "$1.00 and 2 answers of unknown price"),
        (
            Bill(rows=3, at_list=1, actual=DOLLAR, listed=DOLLAR),
            "$1.00, $0.00 saved, 1 at list price",
        ),
    ],
)
def test_what_is_odd_about_a_bill_is_told(
    new_job: Callable[..., Job], bill: Bill, told: str
) -> None:
    _, said = watched(FakeLedger((new_job("tickets-1", status="succeeded", bill=bill), [])))
    assert said.splitlines()[-1] == f"tickets-1 succeeded, {told}"


@pytest.mark.parametrize("status", ["partial", "failed", "rejected", "cancelled"])
def test_anything_but_success_is_exit_code_1(new_job: Callable[..., Job], status: str) -> None:
    reason = Reason("bad_rows", "Look [here].")
    job = new_job("tickets-1", status=status, reason=reason, rows=RowCounts(total=2, failed=1))
    code, told = watched(FakeLedger((job, [])))
    assert code == 1
    assert f"tickets-1 {status}" in told
    assert "1 failed" in told
    assert "(Look [here].)" in told


def test_a_terminal_gets_bars(new_job: Callable[..., Job]) -> None:
    running = (new_job("tickets-1", status="running"), [shard(1, "submitted")])
    done = (new_job("tickets-1", status="succeeded"), [shard(1, "cleaned")])
    code, told = watched(FakeLedger(running, done), terminal=True)
    assert code == 0
    assert "━" in told
    assert "batches" in told


def test_a_job_that_vanishes_ends_the_watch() -> None:
    with pytest.raises(CliError, match="is gone"):
        watch_jobs(Empty(), ["tickets-1"])


class Empty:
    def job(self, job_id: str) -> Job | None:
        return None

    def shards(self, job_id: str) -> list[Shard]:
        return []

    def jobs(self, since: datetime | None = None, starting: str = "") -> Iterator[Job]:
        return iter(())


def test_a_prefix_names_a_job_only_if_it_is_one_jobs(new_job: Callable[..., Job]) -> None:
    ledger = FakeLedger((new_job("tickets-1"), []), (new_job("tickets-22"), []))
    assert find_job(ledger, "tickets-2").job_id == "tickets-22"
    assert find_job(FakeLedger((new_job("tickets-1"), [])), "tickets-1").job_id == "tickets-1"
    with pytest.raises(CliError, match=r"Several jobs.*tickets-1, tickets-22\."):
        find_job(ledger, "tick")
    with pytest.raises(CliError, match="no job mail"):
        find_job(ledger, "mail")
    with pytest.raises(CliError, match="Name a job"):
        find_job(ledger, "")
