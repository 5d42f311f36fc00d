"""Really deployed: the CDK command line, to the embedded cloud, whose waits run 50 times faster."""

from __future__ import annotations

import json
from collections.abc import Iterator

import pytest

from local.cloud import EmbeddedCloud
from tests.support.deployment import Deployment
from tests.support.simulator import Simulator, simulator

WAIT_SCALE = 0.02
GOOGLE = {"project": "p", "location": "us-central1", "bucket": "answers", "anonymous": True}


@pytest.fixture(scope="session")
def running_simulator() -> Iterator[Simulator]:
    with simulator(5) as sim:
        yield sim


@pytest.fixture
def sim(running_simulator: Simulator) -> Simulator:
    running_simulator.reset(batch_seconds=2)
    return running_simulator


@pytest.fixture(scope="session")
def cloud() -> Iterator[EmbeddedCloud]:
    with EmbeddedCloud(wait_scale=WAIT_SCALE) as started:
        started.bootstrap()
        yield started


@pytest.fixture(scope="session")
def stack(cloud: EmbeddedCloud, running_simulator: Simulator) -> Deployment:
    context = _base_urls(running_simulator.url)
    return _with_keys(Deployment(cloud, cloud.deploy("Main", context), context))


@pytest.fixture(scope="session")
def keyless(cloud: EmbeddedCloud, running_simulator: Simulator) -> Deployment:
    """A second deployment beside the first, for which nobody has set a key; small shards, and
    results in slices where they are more than a few."""
    context = {
        "openai_base_url": running_simulator.openai_url,
        "max_rows_per_shard": "40",
        "assemble_bytes": "20000",
    }
    return Deployment(cloud, cloud.deploy("Second", context))


@pytest.fixture(scope="session")
def troubled(cloud: EmbeddedCloud, running_simulator: Simulator) -> Deployment:
    """A third one, whose functions are tampered with as `Deployment` allows; small shards."""
    context = {**_base_urls(running_simulator.url), "max_rows_per_shard": "25"}
    return _with_keys(Deployment(cloud, cloud.deploy("Third", context), name="Third"))


def _base_urls(url: str) -> dict[str, str]:
    return {
        "openai_base_url": f"{url}/openai/v1",
        "anthropic_base_url": f"{url}/anthropic",
        "vertex_base_url": f"{url}/vertex",
        "gcs_base_url": f"{url}/gcs",
    }


def _with_keys(deployed: Deployment) -> Deployment:
    deployed.set_key("sk-test")
    deployed.set_key("sk-test", "Anthropic")
    deployed.set_key(json.dumps(GOOGLE), "Vertex")
    return deployed
