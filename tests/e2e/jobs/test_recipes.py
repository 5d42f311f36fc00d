"""Rows of data, from the drop to `results.csv`, with recipes as people would write them."""

from __future__ import annotations

import csv
import io
import json
import os
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from tests.support.deployment import Deployment
from tests.support.simulator import Simulator

pytestmark = pytest.mark.e2e
csv.field_size_limit(1 << 24)  # the examples have huge cells

EXAMPLES = Path(__file__).resolve().parents[3] / "examples"
ROWS = 10_000
FILES = ("tickets.csv", "changes.jsonl", "corpus.jsonl", "phrases.csv")
MODELS = {
    "openai": ("gpt-5-mini", "gpt-5.4-mini", "text-embedding-3-small"),
    "anthropic": ("claude-haiku-4-5", "claude-sonnet-4-5", ""),
    "vertex": ("gemini-2.5-flash", "gemini-2.5-pro", "gemini-embedding-001"),
}
"""One for most rows, a larger one, and one that embeds."""

OTHERS = [
    (name, provider)
    for name in FILES
    for provider, models in MODELS.items()
    if os.environ.get("EVERY_PROVIDER") and (models[2] or name != "corpus.jsonl")
]
"""`make examples` sends each file to every provider that can answer it."""


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("data")
    subprocess.run(
        [sys.executable, str(EXAMPLES / "make_data.py"), "--out", str(folder), "--rows", f"{ROWS}"],
        check=True,
        capture_output=True,
    )
    return folder


def put(stack: Deployment, key: str, content: bytes) -> None:
    stack.s3.put_object(Bucket=stack.outputs["InboxBucket"], Key=key, Body=content)


def sheet(stack: Deployment, job: str) -> list[list[str]]:
    text = (stack.read(job, "results.csv") or b"").decode()
    return list(csv.reader(io.StringIO(text, newline="")))


def unguarded(cell: str) -> str:
    return cell[1:] if re.match(r"'+[=+\-@\t\r]", cell) else cell


def for_provider(recipe: bytes, provider: str) -> bytes:
    """An example's recipe, for the models of another provider."""
    model, larger, embedding = (each.encode() for each in MODELS[provider])
    for key, value in {
        rb"provider: ": provider.encode(),
        rb"model: ": embedding if b"\ninput:" in recipe else model,
        rb"    model: ": larger,
        rb"escalate_to: ": larger,
    }.items():
        recipe = re.sub(rb"(?m)^(%b).*$" % key, rb"\g<1>" + value, recipe)
    return re.sub(rb"(?m)^params:.*$", b"", recipe)  # they are OpenAI's


@pytest.mark.slow
@pytest.mark.parametrize(("name", "provider"), OTHERS or [(name, None) for name in FILES])
def test_an_example_of_10_000_rows(
    stack: Deployment, sim: Simulator, data: Path, name: str, provider: str | None
) -> None:
    folder = name.split(".")[0]
    unfit = json.loads((data / "expected.json").read_text())[name]
    recipe = (data / folder / "recipe.yaml").read_bytes().replace(b"output: {csv: true}\n", b"")
    if provider is not None:
        recipe = for_provider(recipe, provider)
    if folder == "tickets" or provider is not None:
        # The simulator repeats what it is given, up to the limit on output: no canary survives it.
        recipe += b"\ncanary: off\n"
    inbox = f"{folder}-of-{provider}" if provider is not None else folder
    # Each row's item in the ledger would slow the embedded cloud down for all later tests.
    recipe += b"\noutput: {csv: true, index: false}\n"
    put(stack, f"{inbox}/recipe.yaml", recipe)
    job = stack.drop(f"{inbox}/{name}", (data / folder / name).read_bytes())
    summary = stack.finish(job, seconds=420)
    assert summary["status"] == "partial", summary["reason"]
    counts = {"total": ROWS, "succeeded": ROWS - unfit, "failed": 0, "invalid": unfit}
    assert summary["rows"] == counts
    results = stack.results(job)
    assert [result["row"] for result in results] == list(range(ROWS))
    columns, *rows = sheet(stack, job)
    assert len(rows) == ROWS
    assert provider in (None, *{result["provider"] for result in results})
    assert columns[-2:] == ["error", "cost_usd"]
    width = columns.index("status")
    for result, row in zip(results, rows, strict=True):
        assert row[width] == result["status"]
        if result["status"] == "succeeded":
            assert unguarded(row[0]) == result["custom_id"]


def test_every_provider_answers_a_table(stack: Deployment, sim: Simulator) -> None:
    rows = [[f"{number}", f"text {number}", "=1+1"] for number in range(40)]
    out = io.StringIO()
    csv.writer(out).writerows([["id", "text", "formula"], *rows])
    schema = {
        "type": "object",
        "properties": {"kind": {"enum": ["bug", "question"]}, "why": {"type": "string"}},
        "required": ["kind", "why"],
        "additionalProperties": False,
    }
    models = {"openai": "gpt-5-mini", "anthropic": "claude-haiku-4-5", "vertex": "gemini-2.5-flash"}
    jobs: dict[str, str] = {}
    for provider, model in models.items():
        recipe: dict[str, Any] = {
            "provider": provider,
            "model": model,
            "id": "id",
            "prompt": "Sort {{ text }}",
            "max_tokens": 200,
            "response_schema": schema,
            "output": {"csv": True},
        }
        put(stack, f"{provider}/recipe.json", json.dumps(recipe).encode())
        jobs[provider] = stack.drop(f"{provider}/table.csv", out.getvalue().encode())
    for provider, job in jobs.items():
        summary = stack.finish(job)
        assert summary["status"] == "succeeded", summary["reason"]
        columns, *found = sheet(stack, job)
        assert columns == ["id", "text", "formula", "status", "kind", "why", "error", "cost_usd"]
        assert [row[:2] for row in found] == [row[:2] for row in rows], provider
        assert {row[2] for row in found} == {"'=1+1"}
        assert {row[4] for row in found} <= {"bug", "question"}
        for result, row in zip(stack.results(job), rows, strict=True):
            assert result["provider"] == provider
            assert result["custom_id"] == row[0]


def test_data_may_come_before_its_recipe(stack: Deployment, sim: Simulator) -> None:
    job = stack.drop("late/table.csv", b"id,text\n1,a\n2,b\n")
    recipe = b'provider: openai\nmodel: gpt-5-mini\nid: id\nprompt: "Say {{ text }}"\n'
    put(stack, "late/recipe.yaml", recipe)
    summary = stack.finish(job)
    assert summary["status"] == "succeeded", summary["reason"]
    assert [result["custom_id"] for result in stack.results(job)] == ["1", "2"]


def test_what_never_gets_a_recipe_is_rejected(stack: Deployment, sim: Simulator) -> None:
    summary = stack.finish(stack.drop("none/table.csv", b"id,text\n1,a\n"))
    assert (summary["status"], summary["reason"]["code"]) == ("rejected", "needs_recipe")


def test_answers_that_do_not_fit_and_rows_that_do_not_end(
    stack: Deployment, sim: Simulator
) -> None:
    recipe = {
        "provider": "openai",
        "model": "gpt-5-mini",
        "id": "id",
        "prompt": "{% if id == 'loop' %}{% for a in range(99999) %}{% for b in range(99999) %}"
        "{% endfor %}{% endfor %}{% endif %}{{ text }}",
        "response_schema": {"type": "object", "properties": {"a": {"type": "string"}}},
        "output": {"csv": True},
    }
    put(stack, "odd/recipe.json", json.dumps(recipe).encode())
    table = b"id,text\ngood,x\nloop,x\nbad,[[sim:off_schema]] x\n"
    job = stack.drop("odd/table.csv", table)
    summary = stack.finish(job)
    assert summary["rows"] == {"total": 3, "succeeded": 1, "failed": 1, "invalid": 1}
    good, loop, bad = stack.results(job)
    assert good["status"] == "succeeded"
    assert loop["error"]["code"] == "too_slow"
    assert (bad["error"]["code"], bad["round"]) == ("schema_mismatch", 2)
    assert bad["text"]
    assert (stack.read(job, "failed.csv") or b"").splitlines() == [
        b"id,text",
        b"loop,x",
        b"bad,[[sim:off_schema]] x",
    ]


def test_a_shared_prefix_is_read_from_the_cache(stack: Deployment, sim: Simulator) -> None:
    """20,000 tokens over 1,000 rows: at least 90 % of the prefix tokens are billed as reads."""
    recipe = {
        "provider": "anthropic",
        "model": "claude-haiku-4-5",
        "id": "id",
        "system": "glossary entry number seven " * 4_600,
        "prompt": "Translate {{ text }}",
        "max_tokens": 50,
        "cache": "auto",
    }
    put(stack, "cached/recipe.json", json.dumps(recipe).encode())
    table = "id,text\n" + "".join(f"{number},text {number}\n" for number in range(1_000))
    job = stack.drop("cached/table.csv", table.encode())
    summary = stack.finish(job)
    assert summary["status"] == "succeeded", summary["reason"]
    usages = [result["usage"] for result in stack.results(job)]
    read = sum(usage["cached_input_tokens"] for usage in usages)
    prefix = max(usage["cached_input_tokens"] for usage in usages)
    assert prefix > 18_000
    assert read >= 0.9 * prefix * len(usages)
