"""The same deaths with the real adapters, over HTTP, against the provider simulator: at one call
for each step, port and method, spread over the shards."""

from __future__ import annotations

import json
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import closing
from typing import Any

import pytest

from functions.batch.ports import Provider
from functions.providers.anthropic import client as anthropic
from functions.providers.anthropic.dialect import AnthropicDialect
from functions.providers.openai import client as openai
from functions.providers.openai.dialect import OpenAIDialect
from functions.providers.vertex import client as vertex
from functions.providers.vertex.dialect import VertexDialect
from tests.support.anthropic_lines import params
from tests.support.anthropic_lines import row as anthropic_line
from tests.support.crashing import CrashWorld
from tests.support.lines import body, digest, jsonl, line
from tests.support.simulator import Simulator, simulator
from tests.support.tripwire import Call, Point, Tripwire

KEY = {"project": "p-1", "location": "us-central1", "bucket": "batches", "anonymous": True}
BATCH_SECONDS = 0.03
ONCE = "[[sim:status=500,times=1]] once"
BAD = "[[sim:status=400]] wrong"

Providers = dict[str, Callable[[], Provider]]


def gemini_line(custom_id: Any, text: str) -> dict[str, Any]:
    request = {"contents": [{"role": "user", "parts": [{"text": text}]}]}
    return {"custom_id": custom_id, "model": "gemini-2.5-flash", "request": request}


ROWS: list[Any] = [
    *(line(f"o{n}", body(f"openai {n}")) for n in range(4)),
    *(anthropic_line(f"a{n}", params(f"anthropic {n}")) for n in range(2)),
    *(gemini_line(f"v{n}", f"vertex {n}") for n in range(2)),
    line("o once", body(f"{ONCE} openai")),
    anthropic_line("a once", params("[[sim:overloaded,times=1]] once anthropic")),
    gemini_line("v once", f"{ONCE} vertex"),
    line("o bad", body(BAD)),
    b"no line\n",
]


def request_of(row: dict[str, Any]) -> dict[str, Any]:
    return row.get("body") or row.get("params") or row["request"]


@pytest.fixture(scope="module")
def sim() -> Iterator[Simulator]:
    with simulator(BATCH_SECONDS) as running:
        yield running


@pytest.fixture(scope="module")
def providers(sim: Simulator) -> Iterator[Providers]:
    with (
        openai.make_client("sk-test", sim.openai_url) as first,
        anthropic.make_client("sk-ant-test", f"{sim.url}/anthropic") as second,
        closing(
            vertex.make_client(json.dumps(KEY), f"{sim.url}/vertex", f"{sim.url}/gcs")
        ) as third,
    ):
        yield {
            "openai": lambda: openai.OpenAIProvider(first),
            "anthropic": lambda: anthropic.AnthropicProvider(second),
            "vertex": lambda: vertex.VertexProvider(third),
        }


def run(sim: Simulator, providers: Providers, point: Point | None = None) -> tuple[Any, list[str]]:
    """A job that is killed at `point`, and what is wrong after it. OpenAI's first batch expires."""
    sim.reset(batch_seconds=BATCH_SECONDS)
    sim.arm(operation="create", kind="expire_at", fraction=0.5)
    world = CrashWorld(
        dialects=(OpenAIDialect(), AnthropicDialect(), VertexDialect()),
        providers=dict(providers),
        on_wait=lambda _: time.sleep(BATCH_SECONDS),
        wire=Tripwire(point),
    )
    job_id = world.through("mixed.jsonl", jsonl(ROWS))
    return world, [*wrong_lines(world, job_id), *wrong_books(sim, world.summary(job_id))]


def wrong_lines(world: CrashWorld, job_id: str) -> list[str]:
    results = world.result_lines(job_id)
    if [result["row"] for result in results] != list(range(len(ROWS))):
        return ["rows are missing, or there are too many"]
    wrong = [f"raised: {error!r}" for error in world.raised]
    for row, result in zip(ROWS, results, strict=True):
        if isinstance(row, bytes):
            good = (result["status"], result["custom_id"]) == ("invalid", None)
        elif row["custom_id"] == "o bad":
            good = (result["status"], result["custom_id"]) == ("failed", "o bad")
        else:
            echo = (result["text"] or "- -").split()[1]
            good = (echo, result["custom_id"]) == (digest(request_of(row)), row["custom_id"])
        if not good:
            wrong.append(f"{row} became {result}")
    return wrong


def wrong_books(sim: Simulator, summary: dict[str, Any]) -> list[str]:
    time.sleep(2 * BATCH_SECONDS)  # a batch that nobody asks for is paid too
    told = sim.ledger()
    books = told["providers"].values()
    left = [thing for each in books for thing in each["files_left"]]
    made = sum(each["files_created"] for each in books)
    files = summary["provider_files"]
    wrong = [f"paid twice: {told['answered_twice']}"] * bool(told["answered_twice"]["requests"])
    wrong += [f"left: {left}"] * bool(left)
    wrong += [f"lost: {summary['rows']}"] * (summary["rows"]["succeeded"] != len(ROWS) - 2)
    if (files["created"], files["deleted"]) != (made, made):
        wrong.append(f"{made} were created, the summary tells {files}")
    return wrong


def spread(calls: list[Call]) -> list[Point]:
    """Each kind of call before and after it took effect. Which of the calls of a kind is killed
    differs from kind to kind; how often a batch is polled, and whether a third round follows, is
    chance."""
    chosen: list[Point] = []
    for index, (call, count) in enumerate(sorted(Counter(calls).items())):
        nth = 1 if call.step == "poll" else 1 + index % min(count, 2)
        mode = "stubborn" if index % 4 == 3 else "once"
        chosen += [Point(call, nth, "before", mode), Point(call, nth, "after", mode)]
    return chosen


@pytest.mark.slow
def test_a_job_survives_its_death_at_any_kind_of_call(
    sim: Simulator, providers: Providers, record_property: Callable[[str, object], None]
) -> None:
    whole, problems = run(sim, providers)
    assert problems == []
    calls = whole.wire.calls
    chosen = spread(calls)
    for point in chosen:
        world, problems = run(sim, providers, point)
        assert world.wire.crashes, f"never reached: {point}"
        assert problems == [], str(point)
    print(f"\n{len(chosen)} of {2 * len(calls)} crash points survived, over HTTP")
    record_property("crash_points_over_http", len(chosen))
