"""What a lap of a shard's workflow hands to the next one: how much of a long wait is still owed,
and how often the same trouble was met in a row."""

from __future__ import annotations

from typing import Literal

import msgspec

from functions.batch.errors import ProviderError
from functions.batch.ledger_ports import Ledger
from functions.batch.model import ShardStep, now

SLICE_SECONDS = 900
"""A longer wait is made in slices, so that a cancel, or a provider that is resumed by hand, is
seen within a quarter of an hour."""


def first(delay_seconds: int = 0) -> ShardStep:
    """Before the first lap: what the shard has to wait before it may be sent."""
    return ShardStep(next="wait_to_submit", owed=delay_seconds)


def in_a_row(error: ProviderError, step: ShardStep) -> int:
    return step.troubles if step.trouble == type(error).__name__ else 0


def troubled(
    error: ProviderError, step: ShardStep, wait: int, to: Literal["wait", "wait_to_submit"]
) -> ShardStep:
    """`since` stays the beginning of this trouble for as long as it lasts."""
    known = in_a_row(error, step)
    return sliced(
        ShardStep(
            next=to,
            wait_seconds=wait,
            lap=step.lap + 1,
            waited=step.waited + wait,
            troubles=known + 1,
            trouble=type(error).__name__,
            since=step.since if known else now(),
        )
    )


def sliced(step: ShardStep) -> ShardStep:
    """The first slice of a wait that is longer than one; the rest of it is owed."""
    if step.wait_seconds <= SLICE_SECONDS:
        return step
    return next_slice(msgspec.structs.replace(step, owed=step.wait_seconds))


def next_slice(step: ShardStep) -> ShardStep:
    wait = min(step.owed, SLICE_SECONDS)
    since = step.since or now()
    return msgspec.structs.replace(step, wait_seconds=wait, owed=step.owed - wait, since=since)


def resumed(step: ShardStep, provider: str, ledger: Ledger) -> bool:
    """Whether a person has said since the trouble began that the provider is to be tried again."""
    at = ledger.resumed_at(provider) if step.since else None
    return at is not None and at >= step.since


def afresh(step: ShardStep) -> ShardStep:
    """As if there had been no trouble: waits begin small again."""
    return msgspec.structs.replace(step, owed=0, troubles=0, trouble="", since="")
