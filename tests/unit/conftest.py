from __future__ import annotations

import pytest

from functions.providers.openai.dialect import OpenAIDialect
from tests.support.driver import World
from tests.support.fake_provider import FakeProvider


@pytest.fixture
def provider() -> FakeProvider:
    return FakeProvider()


@pytest.fixture
def world(provider: FakeProvider) -> World:
    return World(dialects=(OpenAIDialect(),), providers={"openai": lambda: provider})
