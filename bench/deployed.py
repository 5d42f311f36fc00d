"""A large file goes through the deployed stack: `python -m bench.deployed`. Not in `make bench`.

The stack is deployed to the embedded cloud as the demo's is, and the file dropped into its inbox.
What is told of the workflows is read from the histories of their executions.
"""

from __future__ import annotations

import argparse
import os
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Iterator
from datetime import UTC, datetime
from itertools import cycle
from pathlib import Path
from typing import Any

from bench.large import unaccounted
from bench.rows import SCRATCH
from bench.shapes import PROVIDERS, spelled, templates
from local.cloud import EmbeddedCloud, running_simulator
from local.demo import PROVIDERS as SETTINGS
from tests.support.deployment import Deployment

WAIT_SCALE = 0.02
BATCH_SECONDS = 5.0
MOST_SECONDS = 3_600.0


def make_input(path: Path, provider: str, rows: int) -> None:
    made = [row for row, _ in templates(provider)]
    with path.open("wb", buffering=1 << 20) as file:
        for number, row in zip(range(rows), cycle(made), strict=False):
            file.write(spelled(row, b"ticket-%09d" % number) + b"\n")


def run(cloud: EmbeddedCloud, provider: str, path: Path, rows: int) -> None:
    with running_simulator(cloud, batch_seconds=BATCH_SECONDS) as address:
        context = {
            name: address + suffix for each in SETTINGS for name, suffix in each.settings.items()
        }
        cloud.bootstrap()
        stack = Deployment(cloud, cloud.deploy("Bench", context), context)
        [key] = [each.key for each in SETTINGS if each.name == provider]
        stack.set_key(key, {"openai": "OpenAI"}.get(provider, provider.title()))
        begun = time.monotonic()
        stack.s3.upload_file(str(path), stack.outputs["InboxBucket"], path.name)
        uploaded = time.monotonic()
        job = awaited(stack)
        summary = stack.finish(job, seconds=MOST_SECONDS)
        ended = time.monotonic()
        results = path.with_name("results.jsonl")
        stack.s3.download_file(stack.outputs["ResultsBucket"], f"{job}/results.jsonl", str(results))
        wrong = unaccounted(results, rows)
        assert not wrong, wrong
        assert summary["provider_files"]["left"] == 0, summary["provider_files"]
        print(f"| upload of {path.stat().st_size / 1e6:,.0f} MB | {uploaded - begun:.1f} s |")
        print(f"| from there to `summary.json` | {ended - uploaded:.1f} s |")
        print(f"| rows a second | {rows / (ended - uploaded):,.0f} |")
        print(f"| batches | {len(summary['batches'])} |")
        for what, count in sorted(walked(cloud).items()):
            print(f"| {what} | {count:,} |")


def awaited(stack: Deployment) -> str:
    deadline = time.monotonic() + 120
    while time.monotonic() < deadline:
        for job in stack.jobs():
            return str(job["job_id"])
        time.sleep(0.5)
    raise AssertionError("the upload never became a job")


def walked(cloud: EmbeddedCloud) -> Counter[str]:
    """Executions, and the states and functions that they entered and called."""
    states = cloud.client("stepfunctions")
    found = Counter[str]()
    for machine in states.list_state_machines()["stateMachines"]:
        pages = states.get_paginator("list_executions").paginate(
            stateMachineArn=machine["stateMachineArn"]
        )
        for execution in (each for page in pages for each in page["executions"]):
            found["executions"] += 1
            for event in history(states, execution["executionArn"]):
                found["states entered"] += event["type"].endswith("StateEntered")
                found["calls of functions and executions"] += event["type"] in (
                    "LambdaFunctionScheduled",
                    "TaskScheduled",
                )
    return found


def history(states: Any, execution: str) -> Iterator[dict[str, Any]]:
    pages = states.get_paginator("get_execution_history").paginate(executionArn=execution)
    for page in pages:
        yield from page["events"]


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m bench.deployed", description=__doc__)
    parser.add_argument("--provider", choices=PROVIDERS, default="openai")
    parser.add_argument("--rows", type=int, default=200_000)
    options = parser.parse_args()
    load = "/".join(f"{each:.1f}" for each in os.getloadavg())
    print(
        f"{datetime.now(UTC):%d %B %Y}, {options.rows:,} rows of {options.provider}, load {load}\n"
    )
    print("| | |\n|---|--:|")
    SCRATCH.mkdir(parents=True, exist_ok=True)
    with (
        tempfile.TemporaryDirectory(dir=SCRATCH) as folder,
        EmbeddedCloud(wait_scale=WAIT_SCALE) as cloud,
    ):
        path = Path(folder) / "large.jsonl"
        make_input(path, options.provider, options.rows)
        run(cloud, options.provider, path, options.rows)
    return 0


if __name__ == "__main__":
    sys.exit(main())
