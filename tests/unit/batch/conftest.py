"""Providers in memory to which jobs of several files are sent."""

from __future__ import annotations

import pytest

from tests.support.echo_provider import EchoProvider
from tests.support.twin_provider import TwinProvider


@pytest.fixture
def echo() -> EchoProvider:
    return EchoProvider()


@pytest.fixture
def twin() -> TwinProvider:
    return TwinProvider("openai")
