"""The OpenAI way from end to end, against an emulator of OpenAI that others wrote: aimock, from
npm. What runs is what is deployed everywhere; only `openai_base_url` says where OpenAI is.

aimock gives each row of a batch the same text, so that rows are told apart by their model and by
the kind of answer: neighbours in the input belong to different batches.
"""

from __future__ import annotations

import json
import subprocess
import time
import urllib.request
from collections.abc import Iterator
from typing import Any

import pytest

from local.cloud import EmbeddedCloud
from local.guard import Guarded
from local.machine import PROJECT, free_port
from tests.support.deployment import Deployment
from tests.support.lines import body, embedding, jsonl, line

pytestmark = pytest.mark.e2e

START_SECONDS = 30
DIRECT = urllib.request.build_opener(urllib.request.ProxyHandler({}))


class Aimock:
    def __init__(self, url: str) -> None:
        self.base_url = f"{url}/v1"

    def get(self, path: str) -> Any:
        request = urllib.request.Request(
            f"{self.base_url}/{path}", headers={"authorization": "Bearer sk-test"}
        )
        with DIRECT.open(request, timeout=10) as answer:
            return json.load(answer)

    def answers(self) -> bool:
        try:
            return bool(self.get("batches"))
        except OSError:
            return False


@pytest.fixture(scope="module")
def aimock(cloud: EmbeddedCloud, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Aimock]:
    folder = tmp_path_factory.mktemp("aimock")
    (folder / "none.json").write_text('{"fixtures": []}')  # batches are answered without any
    port = free_port()
    command = [str(PROJECT / "node_modules/.bin/llmock"), "-p", str(port), "-h", "127.0.0.1"]
    log = folder / "log"
    with (
        log.open("wb") as sink,
        Guarded(
            [*command, "-f", str(folder / "none.json")],
            env=cloud.env(),
            stdout=sink,
            stderr=subprocess.STDOUT,
        ) as process,
    ):
        started = Aimock(f"http://127.0.0.1:{port}")
        deadline = time.monotonic() + START_SECONDS
        while not started.answers():
            assert process.ended() is None, log.read_text()
            assert time.monotonic() < deadline, log.read_text()
            time.sleep(0.1)
        yield started


@pytest.fixture(scope="module")
def mocked(cloud: EmbeddedCloud, aimock: Aimock) -> Deployment:
    context = {"openai_base_url": aimock.base_url}
    deployed = Deployment(cloud, cloud.deploy("Aimock", context))
    deployed.set_key("sk-test")
    return deployed


def test_the_happy_path_at_an_emulator_that_is_not_ours(mocked: Deployment, aimock: Aimock) -> None:
    rows = [
        row
        for n in range(12)
        for row in (
            line(f"id-{n % 5}", body(f"question {n}")),
            line(None, body(f"question {n}", "gpt-5.4-mini")),
            embedding(f"\N{GRINNING FACE}{n}", f"text {n}"),
        )
    ]
    job = mocked.drop("peer.jsonl", jsonl(rows))
    summary = mocked.finish(job)
    assert summary["status"] == "succeeded", summary["reason"]
    assert summary["rows"] == {"total": 36, "succeeded": 36, "failed": 0, "invalid": 0}
    results = mocked.results(job)
    assert [result["custom_id"] for result in results] == [row["custom_id"] for row in rows]
    for row, result in zip(rows, results, strict=True):
        assert result["model"] == result["response"]["model"] == row["body"]["model"]
        embedded = row["url"] == "/v1/embeddings"
        assert result["text"] == (None if embedded else "Mock batch completion")
        assert result["usage"]["input_tokens"] == 1
    answers = [result["response"]["id"] for result in results if result["text"]]
    assert len(set(answers)) == len(answers)
    assert [batch["status"] for batch in summary["batches"]] == ["completed"] * 3
    known = aimock.get("batches")["data"]
    assert {batch["id"] for batch in known} == {batch["batch_id"] for batch in summary["batches"]}
    assert {batch["metadata"]["job_id"] for batch in known} == {job}
    assert summary["provider_files"] == {"created": 6, "deleted": 6, "left": 0, "left_items": []}
    assert aimock.get("files")["data"] == []
