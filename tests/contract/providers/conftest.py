"""Each suite of this folder runs over the real adapters, each of which talks to the simulator with
its own SDK over HTTP, and over their in-memory twins."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest

from tests.support.provider_subjects import KINDS, TWINS, Kind, Subject, named
from tests.support.simulator import Simulator, simulator


@pytest.fixture(scope="module")
def running_simulator() -> Iterator[Simulator]:
    with simulator() as sim:
        yield sim


@pytest.fixture
def sim(running_simulator: Simulator) -> Simulator:
    running_simulator.reset(batch_seconds=0.2)
    return running_simulator


@pytest.fixture(params=[*KINDS, *TWINS], ids=named)
def kind(request: pytest.FixtureRequest) -> Kind:
    return request.param


@pytest.fixture
def subject(kind: Kind, sim: Simulator, tmp_path: Path) -> Iterator[Subject]:
    with ExitStack() as stack:
        yield Subject(kind, kind.connect(sim.url, stack), tmp_path)
