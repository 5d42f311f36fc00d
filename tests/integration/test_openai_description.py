"""The simulator's OpenAI, and what our adapter asks of it, held to OpenAI's own description of its
API: whole jobs run through Prism, a proxy that checks every request and every answer against it."""

from __future__ import annotations

import os
import re
import subprocess
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from functions.batch.model import ShardStep
from functions.batch.rows import Caps
from functions.batch.sending import laps
from functions.providers.openai.client import OpenAIProvider, make_client
from functions.providers.openai.dialect import OpenAIDialect
from local.guard import Guarded
from local.machine import PROJECT, free_port
from tests.support.driver import World
from tests.support.lines import body, jsonl, line
from tests.support.simulator import Simulator

DESCRIPTION = PROJECT / "tests/openapi/openai.json"
START_SECONDS = 60
COMPLAINT = re.compile(r"violation|Violation|Unable to match|UNPROCESSABLE|[✖]  error")


@dataclass
class Prism:
    url: str
    log: Path

    def said(self) -> str:
        return self.log.read_text()

    def complaints(self) -> list[str]:
        """But for those about a connection that the simulator was told to break."""
        return [
            each
            for each in self.said().splitlines()
            if COMPLAINT.search(each) and "FetchError" not in each
        ]


@pytest.fixture(scope="module")
def prism(
    running_simulator: Simulator, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Prism]:
    folder = tmp_path_factory.mktemp("prism")
    port = free_port()
    command = [str(PROJECT / "node_modules/.bin/prism"), "proxy", str(DESCRIPTION)]
    command += [running_simulator.openai_url, "--errors", "-h", "127.0.0.1", "-p", str(port)]
    found = Prism(f"http://127.0.0.1:{port}", folder / "log")
    with (
        found.log.open("wb") as sink,
        Guarded(command, env={**os.environ}, stdout=sink, stderr=subprocess.STDOUT) as process,
    ):
        deadline = time.monotonic() + START_SECONDS
        while "listening" not in found.said():
            assert process.ended() is None, found.said()
            assert time.monotonic() < deadline, found.said()
            time.sleep(0.1)
        yield found


@pytest.fixture
def world(prism: Prism, sim: Simulator) -> Iterator[World]:
    with make_client("sk-test", prism.url) as client:
        provider = OpenAIProvider(client)
        yield World(
            dialects=(OpenAIDialect(),),
            providers={"openai": lambda: provider},
            caps=Caps(rows=6),
            on_wait=lambda seconds: time.sleep(min(seconds / 1000, 0.1)),
        )


def rows(count: int, text: str = "question") -> bytes:
    return jsonl([line(f"{n}", body(f"{text} {n}")) for n in range(count)])


def test_a_job_with_failures_and_two_rounds(world: World, prism: Prism) -> None:
    wanted = [line("a", body("fine")), line("b", body("[[sim:status=429,times=1]] once"))]
    wanted += [line("c", body("[[sim:status=400]] never")), line("d", body("[[sim:missing]] lost"))]
    summary = world.run(world.drop("a.jsonl", jsonl(wanted)))
    assert summary["rounds"] >= 2
    assert summary["provider_files"]["left"] == 0
    assert prism.complaints() == []


def test_a_batch_that_expires_half_done(world: World, sim: Simulator, prism: Prism) -> None:
    sim.arm(operation="create", kind="expire_at", fraction=0.5)
    summary = world.run(world.drop("late.jsonl", rows(6, "late")))
    assert "expired" in {batch["status"] for batch in summary["batches"]}
    assert prism.complaints() == []


def test_a_batch_that_is_too_much_for_the_queue(world: World, sim: Simulator, prism: Prism) -> None:
    sim.arm(operation="create", kind="token_limit")
    summary = world.run(world.drop("queue.jsonl", rows(5, "queue")))
    statuses = [batch["status"] for batch in summary["batches"]]
    assert statuses == ["failed", *["completed"] * 4]
    assert summary["rows"]["succeeded"] == 5
    assert prism.complaints() == []


def test_a_batch_that_is_refused_for_a_row(world: World, prism: Prism) -> None:
    poison = jsonl([line("bad", body("[[sim:poison]] row"))])
    summary = world.run(world.drop("refused.jsonl", rows(5, "refused") + poison))
    assert [batch["status"] for batch in summary["batches"]] == ["failed", "completed"]
    assert prism.complaints() == []


def test_a_lost_create_is_looked_up(world: World, sim: Simulator, prism: Prism) -> None:
    sim.arm(operation="create", kind="drop_after")
    summary = world.run(world.drop("lost.jsonl", rows(4, "lost")))
    assert summary["status"] == "succeeded"
    assert sim.ledger()["providers"]["openai"]["rows_answered"] == 4
    assert prism.complaints() == []


def test_a_cancelled_job(world: World, prism: Prism) -> None:
    job_id = world.drop("stop.jsonl", rows(6, "stop"))
    world.plan(job_id)
    world.shard(job_id, {"range": 0, "start": 0, "end": None})
    [run] = world.open_round(job_id, 1).shards
    world.submitter("openai").submit(job_id, run.shard_id, laps.first())
    world.ledger.update_job(job_id, {"cancel_requested": True})
    step = ShardStep(next="wait")
    while step.next == "wait":
        step = world.poller("openai").poll(job_id, run.shard_id, step)
        time.sleep(0.05)
    assert prism.complaints() == []


def test_the_proxy_does_complain(prism: Prism) -> None:
    """Else all of this would prove nothing: a batch for no endpoint is against the description."""
    with make_client("sk-test", prism.url) as client, pytest.raises(Exception, match=r"42[02]|500"):
        client.post("/batches", body={"input_file_id": "file-1"}, cast_to=object)
