"""One simulator process for all tests of this folder, reset before each."""

from collections.abc import Iterator

import openai
import pytest

from local.simulator.process import Simulator, running


@pytest.fixture(scope="session")
def simulator_process() -> Iterator[Simulator]:
    with running("--batch-seconds", "0.2", "--seed", "7") as simulator:
        yield simulator


@pytest.fixture(autouse=True)
def simulator(simulator_process: Simulator) -> Simulator:
    simulator_process.reset()
    return simulator_process


@pytest.fixture(scope="module")
def client(simulator_process: Simulator) -> Iterator[openai.OpenAI]:
    """OpenAI's; another SDK's tests have a client of their own."""
    with openai.OpenAI(
        api_key="sk-test", base_url=f"{simulator_process.url}/openai/v1", max_retries=0
    ) as client:
        yield client
