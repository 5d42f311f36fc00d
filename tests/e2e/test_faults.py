"""Everything goes wrong at once, on the deployed stack: answers are lost, downloads end early,
DynamoDB throttles, and functions run into their timeouts.

The slow form of `tests/crash`: here the steps are processes that die, driven by Step Functions.
"""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from local.simulator.answers import digest
from tests.support.deployment import Deployment
from tests.support.lines import body, jsonl, line
from tests.support.mixed_lines import claude, gemini, of_each, request_of
from tests.support.simulator import Simulator
from tests.support.throttling import Proxy, throttling

pytestmark = [pytest.mark.e2e, pytest.mark.slow]

ROWS = 24
"""Of each provider: one batch, and a second one for the row that fails once."""

TIMEOUT_SECONDS = 20
STALL_SECONDS = 120.0
LATE_SECONDS = TIMEOUT_SECONDS + 4.0
"""After its function is dead, before the look-ups for it are over."""

AS_OFTEN_AS_BOTO_TRIES = 6

LOST: list[dict[str, Any]] = [
    {"provider": "openai", "operation": "upload", "kind": "drop_after"},
    {"provider": "openai", "operation": "create", "kind": "drop_after"},
    {"provider": "openai", "operation": "create", "kind": "stall", "skip": 1},
    {"provider": "openai", "operation": "content", "kind": "truncate", "bytes": 700},
    {"provider": "openai", "operation": "content", "kind": "stall", "bytes": 700, "skip": 1},
    {"provider": "anthropic", "operation": "create", "kind": "drop_after"},
    {"provider": "anthropic", "operation": "create", "kind": "delay", "skip": 1},
    {"provider": "anthropic", "operation": "results", "kind": "truncate", "bytes": 700},
    {"provider": "gcs", "operation": "upload", "kind": "drop_after"},
    {"provider": "gcs", "operation": "content", "kind": "truncate", "bytes": 700},
    {"provider": "vertex", "operation": "create", "kind": "drop_after"},
]
"""What is skipped meets the next call of its kind."""


def all_rows() -> list[dict[str, Any]]:
    """All different, so that the provider's books tell which was paid twice; one row of each
    provider fails once."""
    rows = [row for n in range(ROWS) for row in of_each(f"id {n}", f"question {n}")]
    once = "[[sim:status=500,times=1]] once"
    rows.append(line("o once", body(once)))
    rows.append(claude("a once", "[[sim:overloaded,times=1]] once"))
    rows.append(gemini("v once", once))
    return rows


@pytest.fixture
def proxy(troubled: Deployment) -> Iterator[Proxy]:
    """All functions reach DynamoDB through it alone."""
    with (
        throttling(troubled.cloud.endpoint) as running,
        troubled.environment(AWS_ENDPOINT_URL_DYNAMODB=running.url),
    ):
        yield running


def test_a_job_survives_everything_at_once(
    troubled: Deployment,
    sim: Simulator,
    proxy: Proxy,
    record_property: Callable[[str, object], None],
) -> None:
    for fault in LOST:
        sim.arm(**fault, seconds=LATE_SECONDS if fault["kind"] == "delay" else STALL_SECONDS)
    proxy.regular = True
    proxy.refuse("PutItem", "collected", times=AS_OFTEN_AS_BOTO_TRIES, when="after")
    rows = all_rows()
    with troubled.timeout(TIMEOUT_SECONDS, "OpenAISubmit", "OpenAICollect", "AnthropicSubmit"):
        started = time.monotonic()
        job = troubled.drop("everything.jsonl", jsonl(rows))
        summary = troubled.finish(job, seconds=420)
    seconds = time.monotonic() - started
    record_property("seconds", seconds)
    print(f"\n{len(rows)} rows through everything at once: {seconds:.1f} s")
    wrong = [*wrong_lines(rows, troubled.results(job)), *wrong_books(sim, summary, len(rows))]
    assert wrong == []
    assert faults_that_did_not_happen(troubled, sim, proxy) == []


def wrong_lines(rows: list[dict[str, Any]], results: list[dict[str, Any]]) -> list[str]:
    if [result["row"] for result in results] != list(range(len(rows))):
        return ["rows are missing, or there are too many"]
    return [
        f"{row} became {result}"
        for row, result in zip(rows, results, strict=True)
        if (result["custom_id"], (result["text"] or "- -").split()[1])
        != (row["custom_id"], digest(request_of(row)))
    ]


def wrong_books(sim: Simulator, summary: dict[str, Any], rows: int) -> list[str]:
    """By what the provider itself knows."""
    told = sim.ledger()
    books = told["providers"].values()
    left = [thing for each in books for thing in each["files_left"]]
    made = sum(each["files_created"] for each in books)
    paid = sum(each["rows_answered"] for each in books)
    files = summary["provider_files"]
    wrong = [f"paid twice: {told['answered_twice']}"] * bool(told["answered_twice"]["requests"])
    wrong += [f"{paid} rows were paid"] * (paid != rows)
    wrong += [f"left: {left}"] * bool(left)
    wrong += [f"lost: {summary['rows']}"] * (summary["rows"]["succeeded"] != rows)
    if (files["created"], files["deleted"]) != (made, made):
        wrong.append(f"{made} were created, the summary tells {files}")
    return wrong


def faults_that_did_not_happen(troubled: Deployment, sim: Simulator, proxy: Proxy) -> list[str]:
    refused = sim.ledger()["refused"]
    met = Counter((each["provider"], each["operation"], each["reason"]) for each in refused)
    wanted = [
        (fault["provider"], fault["operation"], fault["kind"])
        for fault in LOST
        if fault["kind"] != "delay"
    ]
    missing = [f"{fault}: {met[fault]} times" for fault in wanted if met[fault] != 1]
    missing += [f"armed: {fault}" for fault in sim.admin("faults")["armed"]]
    for provider, least in (("OpenAI", 2), ("Anthropic", 1)):
        found = troubled.broken_off(provider)
        missing += [f"{provider}: {found}"] * (found["Sandbox.Timedout"] < least)
    for operation in ("GetItem", "PutItem"):
        for when in ("before", "after"):
            missing += [f"{operation} {when}"] * (proxy.refused[operation, when] < 3)
    return missing + [f"streaks: {proxy.streaks}"] * any(each.times for each in proxy.streaks)
