from __future__ import annotations

import json
import time
from collections.abc import Callable, Iterator
from contextlib import closing

import pytest

from functions.batch.errors import KeyMissing
from functions.batch.ports import Provider
from functions.providers.openai.client import OpenAIProvider, make_client
from functions.providers.openai.dialect import OpenAIDialect
from functions.providers.vertex import client as vertex
from tests.support.driver import World
from tests.support.simulator import Simulator, simulator


@pytest.fixture(scope="session")
def running_simulator() -> Iterator[Simulator]:
    with simulator() as sim:
        yield sim


@pytest.fixture
def sim(running_simulator: Simulator) -> Simulator:
    running_simulator.reset(batch_seconds=0.2)
    return running_simulator


@pytest.fixture
def world(sim: Simulator) -> Iterator[World]:
    """A deployment in process, its OpenAI adapter talking to the simulator. Waits of the
    workflow pass a thousand times faster."""
    with make_client("sk-test", sim.openai_url) as client:
        provider = OpenAIProvider(client)
        yield World(
            dialects=(OpenAIDialect(),),
            providers={"openai": lambda: provider},
            on_wait=lambda seconds: time.sleep(min(seconds / 1000, 0.1)),
        )


@pytest.fixture
def vertex_provider(sim: Simulator) -> Iterator[vertex.VertexProvider]:
    key = {"project": "p-1", "location": "us-central1", "bucket": "batches", "anonymous": True}
    made = vertex.make_client(json.dumps(key), f"{sim.url}/vertex", f"{sim.url}/gcs")
    with closing(made):
        yield vertex.VertexProvider(made)


@pytest.fixture
def no_key() -> Callable[[], Provider]:
    def make() -> Provider:
        raise KeyMissing("missing_key", "No key: batchdrop keys set openai.")

    return make
