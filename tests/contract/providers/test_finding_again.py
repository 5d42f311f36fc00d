"""Finding again what was created at a provider, all of it, and nothing that is another's."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest

from functions.batch.errors import Unconfirmed
from functions.batch.model import Tag
from tests.support.provider_subjects import FOREIGN, NO_SINCE, TAG, WITH_NAMES, Subject, named
from tests.support.simulator import Simulator

LATER = Tag(stack=TAG.stack, job_id=TAG.job_id, shard_id=TAG.shard_id, attempt=2)


def test_a_create_is_found_again_whatever_its_attempt(subject: Subject) -> None:
    batch_id, _, _ = subject.send(["a", "b", "c"])
    for tag in (TAG, LATER):
        assert subject.found(tag, 3) == [batch_id]


def test_a_running_batch_is_found_or_left_open(subject: Subject, sim: Simulator) -> None:
    sim.reset(batch_seconds=60)
    batch_id, _, _ = subject.send(["a", "b", "c"])
    try:
        found = subject.provider.find_batches(TAG, subject.since, 3)
    except Unconfirmed as doubt:
        found = doubt.candidates
    assert found == [batch_id]


def test_no_foreign_batch_is_found(subject: Subject) -> None:
    """Of the same size, at the same time, in the same account."""
    theirs = [subject.send(["a", "b", "c"], tag)[0] for tag in FOREIGN[1:]]
    for batch_id in theirs:
        subject.end(batch_id)
    assert subject.found(TAG, 3) == []


@pytest.mark.parametrize("kind", WITH_NAMES, ids=named)
def test_another_deployments_batch_is_not_found(subject: Subject) -> None:
    """Anthropic keeps no name: a row's id says the job and the shard, and a job's id is made of
    its bucket's name, so that no two deployments share one."""
    subject.end(subject.send(["a", "b", "c"], FOREIGN[0])[0])
    assert subject.found(TAG, 3) == []


def test_staged_files_are_found_again_and_no_others(subject: Subject) -> None:
    path, _ = subject.write(["a"])
    staged = subject.provider.stage(path, TAG)
    for tag in FOREIGN:
        subject.provider.stage(path, tag)
    for tag in (TAG, LATER):
        assert subject.provider.find_staged(tag, subject.since) == staged


def test_what_carries_the_stacks_name_is_told_and_nothing_else(subject: Subject) -> None:
    """But for batches that have no names: those are known to the ledger alone."""
    batch_id, _, staged = subject.send(["a", "b"])
    subject.send(["c"], FOREIGN[0])
    state = subject.end(batch_id)
    found = {each.id: each for each in subject.provider.owned(TAG.stack, NO_SINCE)}
    wanted = {file.id for file in subject.to_delete(batch_id, staged, state)}
    assert set(found) == (wanted if subject.provider.uses_staged_files else set())
    assert {(each.job_id, each.shard_id) for each in found.values()} <= {(TAG.job_id, TAG.shard_id)}
    recent = (datetime.now(UTC) - timedelta(hours=1)).isoformat()
    assert all(each.created_at > recent for each in found.values())
