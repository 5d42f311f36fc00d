"""The demo's tables, answered by the simulator as in the demo, but without a cloud."""

from __future__ import annotations

import json
import time
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest

from functions.prices.library import PriceLibrary
from functions.providers.anthropic import client as anthropic
from functions.providers.anthropic.dialect import AnthropicDialect
from functions.providers.openai import client as openai
from functions.providers.openai.dialect import OpenAIDialect
from functions.providers.vertex import client as vertex
from functions.providers.vertex.dialect import VertexDialect
from local.demo import Example, check, make_tables
from local.recipe_examples import DATA, head_of_sheet
from tests.support.driver import World
from tests.support.simulator import Simulator

KEY = {"project": "p-1", "location": "us-central1", "bucket": "batches", "anonymous": True}


@pytest.fixture(scope="module")
def tables(tmp_path_factory: pytest.TempPathFactory) -> list[Example]:
    return make_tables(tmp_path_factory.mktemp("inputs"))


@pytest.fixture
def providers(sim: Simulator) -> Iterator[World]:
    with (
        openai.make_client("sk-test", sim.openai_url) as first,
        anthropic.make_client("sk-ant-test", f"{sim.url}/anthropic") as second,
        closing(vertex.make_client(json.dumps(KEY), f"{sim.url}/vertex", f"{sim.url}/gcs")) as last,
    ):
        made = (
            openai.OpenAIProvider(first),
            anthropic.AnthropicProvider(second),
            vertex.VertexProvider(last),
        )
        yield World(
            dialects=(OpenAIDialect(), AnthropicDialect(), VertexDialect()),
            providers={each.name: lambda each=each: each for each in made},
            prices=PriceLibrary(),
            on_wait=lambda seconds: time.sleep(min(seconds / 1000, 0.1)),
        )


@pytest.mark.parametrize("number", range(len(DATA)), ids=DATA)
def test_a_table_comes_back_as_the_demo_expects_it(
    providers: World, tables: list[Example], tmp_path: Path, number: int
) -> None:
    example = tables[number]
    assert example.recipe is not None
    folder = example.path.parent.name
    providers.inputs.others[f"{folder}/recipe.yaml"] = example.recipe.read_bytes()
    job_id = providers.drop(f"{folder}/{example.path.name}", example.path.read_bytes())
    summary = providers.run(job_id)
    for key in providers.results.keys(f"{job_id}/"):
        (tmp_path / key.rpartition("/")[2]).write_bytes(providers.results.get(key))
    check(example, summary, tmp_path)
    assert (tmp_path / "results.csv").is_file() == example.sheet
    if example.sheet:
        assert len(head_of_sheet(tmp_path)) == 4
    if folder == "phrases":
        assert summary["cache"]["hit_rate"] > 0.8
        assert summary["cache"]["saved_usd"] > 0
        assert summary["cache"]["note"] is None
    else:
        assert "cache" not in summary
