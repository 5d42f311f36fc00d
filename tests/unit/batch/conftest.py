"""Providers in memory to which jobs of several files are sent."""

from __future__ import annotations

import pytest

from tests.support.echo_provider import EchoProvider


@pytest.fixture
def echo() -> EchoProvider:
    return EchoProvider()
