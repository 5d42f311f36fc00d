"""What AWS charges around a million rows: `make bench`, after the rows.

Counted: state transitions, by walking the state machines as they are synthesized; requests to
DynamoDB and S3, by driving small jobs over counting twins and taking what one shard more adds.
Published: `bench/prices_aws.json`. Taken, not measured: what stands in `Assumed`.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import msgspec
from aws_cdk import App
from aws_cdk.assertions import Template

from bench.counting import CountedJob, Counts
from bench.shapes import PROVIDERS, ROW_BYTES, spelled, templates
from functions.batch.reading.looking import decode
from functions.batch.sending import waits
from functions.handlers.provider_wiring import dialect
from infra.config import Config
from infra.stack import BatchdropStack
from tests.infra.deployed import Deployed

ROOT = Path(__file__).resolve().parents[1]
MILLION = 1_000_000
SPLIT_BYTES = 512 << 20
PIECE = 8 << 20
ROW_STEPS = ("shard", "submit", "collect", "assemble")


class Assumed(msgspec.Struct, kw_only=True):
    """`turnaround_hours` of a batch. `short_seconds` of a call that touches no rows, its share of
    cold starts included. `row_microseconds` of each step for a row of 1.1 kB, more than
    `bench.rows` measures. `stream_mb_per_second`: each byte that a step takes from or gives to S3
    or a provider, as if it did nothing else meanwhile. `log_bytes` of a call."""

    turnaround_hours: float = 6
    short_seconds: float = 0.7
    row_microseconds: float = 60
    stream_mb_per_second: float = 40
    log_bytes: int = 1_500
    secrets_for_a_poll: float = 1


STREAMED = {"shard": 2, "submit": 2, "collect": 4, "assemble": 3}
"""How often a step moves the bytes of its rows: rows in and out; rows in, requests out; answers in
and parts out, each at twice the size; parts in at twice the size, results out. What *Collect* needs
of the rows is a twentieth of them."""


def prices() -> dict[str, float]:
    stored = json.loads((ROOT / "bench" / "prices_aws.json").read_text())
    return {name: each["usd"] for name, each in stored.items() if isinstance(each, dict)}


def synthesized() -> Deployed:
    flags = json.loads((ROOT / "cdk.json").read_text())["context"]
    app = App(context={**flags, "aws:cdk:bundling-stacks": []})
    template = Template.from_stack(BatchdropStack(app, Config.from_context({})))
    return Deployed(dict(template.to_json()))


def walk(definition: dict[str, Any], pick: Callable[[str, set[str]], str]) -> list[str]:
    """The states that an execution visits; `pick` says where a choice leads."""
    visited: list[str] = []
    name: str = definition["StartAt"]
    while True:
        visited.append(name)
        state = definition["States"][name]
        if state["Type"] == "Choice":
            ways = {rule["Next"] for rule in state["Choices"]} | {state["Default"]}
            name = pick(name, ways)
            assert name in ways, (name, ways)
        elif "Next" in state:
            name = state["Next"]
        else:
            return visited


def of_a_shard(definition: dict[str, Any], polls: int) -> list[str]:
    asked = 0

    def pick(choice: str, ways: set[str]) -> str:
        nonlocal asked
        if choice == "Ended?":
            asked += 1
            return "Collect" if asked >= polls else "Wait"
        return {"Submitted?": "Wait", "Cleaned?": "Done"}[choice]

    return walk(definition, pick)


def of_a_job(definition: dict[str, Any]) -> list[str]:
    """One round, few shards."""
    rounds = iter(("Run shards", "Assemble"))
    ways_taken = {
        "Given up?": "Plan",
        "Accepted?": "Shard ranges",
        "Any not to send?": "Price",
        "May it start?": "Start rounds",
        "Any to remember?": "Report",
        "Stopped by a failure?": "Delete work files",
    }
    return walk(
        definition,
        lambda choice, _: next(rounds) if choice == "Rows remain?" else ways_taken[choice],
    )


def of_an_item(definition: dict[str, Any], map_state: str) -> list[str]:
    inner = definition["States"][map_state]["ItemProcessor"]
    return walk(inner, lambda _, ways: sorted(way for way in ways if way.startswith("Run "))[0])


def polls(hours: float, config: Config) -> int:
    waited = lap = 0
    while waited < hours * waits.HOUR:
        waited += waits.poll_wait(
            lap, waited, least=config.min_poll_seconds, most=config.max_poll_seconds
        )
        lap += 1
    return lap


def full_shards(provider: str) -> tuple[int, float]:
    """Rows of a full shard of rows of 1.1 kB, and how many shards a million of them make."""
    line = spelled(templates(provider)[0][0], b"ticket-000000001")
    of = dialect(provider)
    row = of.parse(line, decode(line))
    limits, weight = of.limits(row.group), row.weight
    rows = min(limits.rows, limits.bytes // weight.bytes, limits.output // max(weight.output, 1))
    return rows, MILLION / rows


class Costs:
    """Dollars of a job of a million rows of one provider, or of another number, by service."""

    def __init__(
        self, provider: str, stack: Deployed, assumed: Assumed, rows: int = MILLION
    ) -> None:
        self.rows = rows
        self._assumed = assumed
        self._stack = stack
        self._provider = provider
        self._usd = prices()
        self.rows_of_a_shard, shards = full_shards(provider)
        self.shards = max(shards * rows / MILLION, 1.0)
        self.polls = polls(assumed.turnaround_hours, Config.from_context({}))
        self.ranges = max(rows * ROW_BYTES / SPLIT_BYTES, 1.0)
        self.calls = self._calls()
        self.counts = self._counts()

    def _calls(self) -> dict[str, float]:
        of_the_job = ("intake", "plan", "price", "assemble", "report", "sweep")
        return {
            **dict.fromkeys(of_the_job, 1.0),
            "reconcile": 2.0,
            "shard": self.ranges,
            "submit": self.shards,
            "poll": self.shards * self.polls,
            "collect": self.shards,
            "clean_up": self.shards,
        }

    def _counts(self) -> dict[str, tuple[float, float, float, float, float]]:
        """Reads, writes, S3 reads, S3 writes and events of each step, for all shards."""
        small, large = CountedJob(1), CountedJob(11)
        small.run()
        large.run()
        assert not large.unknown, large.unknown
        return {
            step: _scaled(small.steps[step], large.steps[step], self.shards, self.calls[step])
            for step in small.steps
        }

    def transitions(self) -> float:
        job = self._stack.definition("JobWorkflow")
        name = {"openai": "OpenAI", "anthropic": "Anthropic", "vertex": "Vertex"}[self._provider]
        shard = self._stack.definition(f"{name}Workflow")
        item = len(of_an_item(job, "Run shards")) + len(of_a_shard(shard, self.polls))
        ranges = self.ranges * len(of_an_item(job, "Shard ranges"))
        return len(of_a_job(job)) + ranges + self.shards * item

    def gb_seconds(self) -> float:
        functions = self._stack.functions()
        total = 0.0
        for step, calls in self.calls.items():
            found = functions.get(step) or functions[f"{self._provider}/{step}"]
            seconds = calls * self._assumed.short_seconds
            if step in ROW_STEPS:
                moved = STREAMED[step] * self.rows * ROW_BYTES / 1e6
                seconds += moved / self._assumed.stream_mb_per_second
                seconds += self._assumed.row_microseconds * self.rows / MILLION
            total += seconds * found["MemorySize"] / 1_024
        return total

    def by_service(self) -> dict[str, tuple[str, float]]:
        """What was counted, in words, and its price."""
        usd = self._usd
        reads, writes, s3_reads, s3_writes, events = (
            sum(column) for column in zip(*self.counts.values(), strict=True)
        )
        pieces = self.rows * ROW_BYTES / PIECE
        s3_reads += pieces * 6  # the input, rows twice, parts of twice their size, and some
        s3_writes += pieces * 5
        calls = sum(self.calls.values())
        seconds, transitions = self.gb_seconds(), self.transitions()
        secrets = self.shards * (self.polls * self._assumed.secrets_for_a_poll + 3)
        gigabytes = self.rows * ROW_BYTES / 1e9
        logs = calls * self._assumed.log_bytes / 1e9
        return {
            "Step Functions": (f"{transitions:,.0f} transitions", transitions * usd["transition"]),
            "Lambda": (
                f"{seconds:,.0f} GB-s, {calls:,.0f} calls",
                seconds * usd["lambda_gb_second"] + calls * usd["lambda_request"],
            ),
            "DynamoDB": (
                f"{writes:,.0f} write and {reads:,.0f} read units",
                writes * usd["dynamodb_write_unit"] + reads * usd["dynamodb_read_unit"],
            ),
            "S3": (
                f"{s3_writes:,.0f} writes, {s3_reads:,.0f} reads, a day of work files",
                s3_writes * usd["s3_write"]
                + s3_reads * usd["s3_read"]
                + gigabytes * 4 * usd["s3_gb_day"],
            ),
            "EventBridge, SQS": (
                f"{events + 1:,.0f} events, 3 messages",
                (events + 1) * usd["event"] + 3 * usd["sqs_request"],
            ),
            "Secrets Manager": (f"{secrets:,.0f} reads", secrets * usd["secret_request"]),
            "Logs": (f"{logs * 1e3:,.1f} MB", logs * usd["log_gb"]),
        }


def _scaled(
    one: Counts, eleven: Counts, shards: float, calls: float
) -> tuple[float, float, float, float, float]:
    """What a job has once, and what each further shard adds; of polls, what each one adds."""
    several = eleven.calls > 11
    found: list[float] = []
    for name in ("reads", "writes", "s3_reads", "s3_writes", "events"):
        first, last = getattr(one, name), getattr(eleven, name)
        each = (last - first) / 10
        found.append(last / eleven.calls * calls if several else first + each * (shards - 1))
    reads, writes, s3_reads, s3_writes, events = found
    return reads, writes, s3_reads, s3_writes, events


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m bench.orchestration", description=__doc__)
    parser.add_argument("--hours", type=float, default=6, help="until a batch has ended")
    options = parser.parse_args()
    assumed = Assumed(turnaround_hours=options.hours)
    stack = synthesized()
    out = MILLION * ROW_BYTES / 1e9 * prices()["internet_out_gb"]
    print(f"A million rows in full shards, batches of {options.hours:g} hours:\n")
    print("| provider | rows a shard | polls a shard | service | counted | dollars |")
    print("|---|--:|--:|---|---|--:|")
    for provider in PROVIDERS:
        costs = Costs(provider, stack, assumed)
        services = costs.by_service()
        for service, (counted, price) in services.items():
            print(
                f"| {provider} | {costs.rows_of_a_shard:,} | {costs.polls} "
                f"| {service} | {counted} | {price:.4f} |"
            )
        total = sum(price for _, price in services.values())
        print(f"| {provider} | | | **all of it** | | **{total:.2f}** |")
    print(
        f"\nBeside that, ${out:.2f} for the bytes that leave AWS: they are the requests themselves."
    )


if __name__ == "__main__":
    main()
