"""The janitor: what it deletes, and above all what it does not touch."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Literal

import pytest

from functions.batch.errors import KeyMissing, Missing, Refused, Unavailable
from functions.batch.model import JobStatus, Owned, ProviderFile, now
from functions.batch.ports import Provider
from functions.batch.sending import laps
from functions.batch.upkeep.tidying import Janitor, Tidied
from tests.support.driver import World
from tests.support.fake_provider import FakeProvider
from tests.support.lines import body, jsonl, line

SHARD = "01-00001"


def ago(days: float) -> str:
    return (datetime.now(UTC) - timedelta(days=days)).isoformat()


def owned(job_id: str, identity: str = "stray", days: float = 1) -> Owned:
    return Owned(
        kind="input_file", id=identity, created_at=ago(days), job_id=job_id, shard_id=SHARD
    )


@pytest.fixture
def job_id(world: World) -> str:
    identity = world.drop("a.jsonl", jsonl([line("1", body("q"))]))
    world.shard(identity, {"range": 0, "start": 0, "end": None})
    world.open_round(identity, 1)
    world.submitter("openai").submit(identity, SHARD, laps.first())
    return identity


def janitor(world: World) -> Janitor:
    return Janitor(
        stack="Test",
        name="openai",
        ledger=world.ledger,
        provider=world.providers["openai"],
        alerts=world.alerts,
        metrics=world.metrics,
    )


def make(world: World, job_id: str, status: Literal["cleaned", "submitted"]) -> None:
    shard = world.ledger.shard(job_id, SHARD)
    shard.status = status
    world.ledger.save_shard(shard)


def end(world: World, job_id: str, days: float, status: JobStatus = "failed") -> None:
    world.ledger.update_job(job_id, {"status": status, "finished_at": ago(days)})


def test_a_stray_of_a_cleaned_shard_goes(world: World, provider: FakeProvider, job_id: str) -> None:
    make(world, job_id, "cleaned")
    provider.script["owned"] = [[owned(job_id)]]
    assert janitor(world).tidy() == Tidied(deleted=1)
    assert provider.deleted == ["stray"]
    recorded = {file.id: file for file in world.ledger.files(job_id)}
    assert recorded["stray"].deleted_at is not None


@pytest.mark.parametrize(("days", "deleted"), [(6.9, []), (7.1, ["stray"])])
def test_a_job_that_ended_uncleaned_has_a_week(
    world: World, provider: FakeProvider, job_id: str, days: float, deleted: list[str]
) -> None:
    end(world, job_id, days)
    provider.script["owned"] = [[owned(job_id)]]
    janitor(world).tidy()
    assert provider.deleted == deleted


@pytest.mark.parametrize(("days", "deleted"), [(6.9, []), (7.1, ["stray"])])
def test_so_has_what_the_ledger_does_not_know(
    world: World, provider: FakeProvider, days: float, deleted: list[str]
) -> None:
    provider.script["owned"] = [[owned("nobody-0123456789abcdef", days=days)]]
    janitor(world).tidy()
    assert provider.deleted == deleted
    assert world.ledger.file_records == {}


def test_a_running_job_is_never_touched(world: World, provider: FakeProvider, job_id: str) -> None:
    provider.script["owned"] = [[owned(job_id, "file-1", days=40), owned(job_id, days=40)]]
    assert janitor(world).tidy() == Tidied()
    assert provider.deleted == []


def test_what_was_deleted_is_not_asked_for_again(
    world: World, provider: FakeProvider, job_id: str
) -> None:
    make(world, job_id, "cleaned")
    [file] = world.ledger.files(job_id)
    file.deleted_at = now()
    world.ledger.save_file(file)
    world.ledger.note_left(file)
    provider.script["owned"] = [[owned(job_id, file.id)]]
    assert janitor(world).tidy() == Tidied()
    assert list(world.ledger.left("openai")) == []


def left(world: World, job_id: str) -> ProviderFile:
    make(world, job_id, "cleaned")
    [file] = world.ledger.files(job_id)
    world.ledger.note_left(file)
    return file


@pytest.mark.parametrize("gone", [False, True])
def test_what_could_not_be_deleted_is_tried_again_every_day(
    world: World, provider: FakeProvider, job_id: str, gone: bool
) -> None:
    file = left(world, job_id)
    provider.script["delete"] = [Refused("in_use", "The file is in use.")]
    assert len(janitor(world).tidy().left) == 1
    assert "The file is in use." in world.alerts.sent[0][1]
    assert world.metrics.files_left == [("openai", 1)]
    assert list(world.ledger.left("openai")) != []
    if gone:
        provider.script["delete"] = [Missing("not_found", "no such file")]
    assert janitor(world).tidy() == Tidied(deleted=1)
    assert list(world.ledger.left("openai")) == []
    assert [each.deleted_at is not None for each in world.ledger.files(job_id)] == [True]
    assert file.id == "file-1"
    assert len(world.alerts.sent) == 1
    assert world.metrics.files_left == [("openai", 1)], "what is gone is left no more"


def test_a_provider_that_does_not_tell_is_told(world: World, provider: FakeProvider) -> None:
    provider.script["owned"] = [Unavailable("no_answer", "timed out")]
    assert janitor(world).tidy().left == ["openai does not tell what it keeps: timed out"]
    assert len(world.alerts.sent) == 1
    assert world.metrics.files_left == [("openai", 1)]


def test_without_a_key_there_is_nothing_to_reach(world: World) -> None:
    def none() -> Provider:
        raise KeyMissing("missing_key", "none")

    world.providers["openai"] = none
    assert janitor(world).tidy() == Tidied()
    assert world.alerts.sent == []


def test_a_report_and_a_clean_up_that_gave_up_tell_the_janitor(
    world: World, provider: FakeProvider, job_id: str
) -> None:
    world.reporter().report(job_id, None)
    assert [file.id for file in world.ledger.left("openai")] == ["file-1"]
    assert janitor(world).tidy() == Tidied(), "its shard may still be at work"
