"""The step record as it travels through the shard's workflow."""

from __future__ import annotations

from typing import Any

import msgspec
from aws_lambda_powertools import Logger

from functions.batch.model import ShardStep

_logger = Logger()


def step_of(event: dict[str, Any]) -> ShardStep | None:
    found = event.get("step")
    return None if found is None else msgspec.convert(found, ShardStep)


def first_step() -> ShardStep:
    return ShardStep(next="wait")


def told(state: str, event: dict[str, Any], step: ShardStep) -> dict[str, Any]:
    """The step for the workflow, logged on its way out."""
    plain: dict[str, Any] = msgspec.to_builtins(step)
    _logger.info(state, extra={"job_id": event["job_id"], "shard_id": event["shard_id"], **plain})
    return plain
