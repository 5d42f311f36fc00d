"""The template as it would be deployed, without its bundles."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest
from aws_cdk import App
from aws_cdk.assertions import Template

from infra.config import Config
from infra.stack import BatchdropStack
from tests.infra.deployed import Deployed

ROOT = Path(__file__).resolve().parents[2]
NO_BUNDLES = {"aws:cdk:bundling-stacks": []}


@pytest.fixture(scope="session")
def synthesize() -> Callable[..., Deployed]:
    made: dict[str, Deployed] = {}

    def synthesize(**context: object) -> Deployed:
        key = json.dumps(context, sort_keys=True)
        if key not in made:
            flags = json.loads((ROOT / "cdk.json").read_text())["context"]
            stack = BatchdropStack(
                App(context={**flags, **NO_BUNDLES}), Config.from_context(context)
            )
            made[key] = Deployed(Template.from_stack(stack).to_json())
        return made[key]

    return synthesize


@pytest.fixture(scope="session")
def deployed(synthesize: Callable[..., Deployed]) -> Deployed:
    return synthesize()
