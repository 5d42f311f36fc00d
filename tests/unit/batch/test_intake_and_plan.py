from __future__ import annotations

import gzip
import json

import pytest

from functions.batch.reading.intake import Upload, is_job, job_id, take_in
from tests.support.driver import BUCKET, World
from tests.support.lines import body, jsonl, line

ROW = jsonl([line("a", body("x"))])


def upload(key: str = "in/a+b %41.jsonl", sequencer: str = "1") -> Upload:
    return Upload(bucket=BUCKET, key=key, size=3, sequencer=sequencer, etag="e")


def test_the_same_event_is_the_same_job_and_a_new_upload_another() -> None:
    assert job_id(upload()) == job_id(upload())
    assert job_id(upload()) != job_id(upload(sequencer="2"))
    assert job_id(upload()).startswith("a-b-41-")
    assert len(job_id(upload("x" * 500 + ".jsonl"))) <= 41
    assert job_id(upload("\N{SNOWMAN}.jsonl")).startswith("job-")


@pytest.mark.parametrize(
    "key",
    ["recipe.yaml", "a/recipe.json", "a/", "_files/a.pdf", "x/_files/deep/er.jsonl"],
)
def test_what_is_no_job(key: str) -> None:
    assert not is_job(key)


def test_a_key_that_only_looks_like_a_folder_of_files_is_a_job() -> None:
    assert is_job("my_files/a.jsonl")


def test_a_second_delivery_starts_nothing_once_the_job_has_begun(world: World) -> None:
    first = take_in(upload(), ledger=world.ledger, workflows=world.workflows, retention_days=30)
    assert first is not None
    world.workflows.started.clear()  # the first delivery's start failed, say
    take_in(upload(), ledger=world.ledger, workflows=world.workflows, retention_days=30)
    assert world.workflows.started == [first]
    world.workflows.started.clear()
    world.ledger.update_job(first, {"status": "running"})
    take_in(upload(), ledger=world.ledger, workflows=world.workflows, retention_days=30)
    assert world.workflows.started == []


@pytest.mark.parametrize(
    ("key", "data", "code", "words"),
    [
        ("notes.txt", b"x", "wrong_name", "does not end in .jsonl"),
        ("empty.jsonl", b"", "empty", "The file is empty"),
        ("blank.jsonl", b"\n \n\r\n", "empty", "no rows"),
        ("table.csv", b"a,b\n1,2\n", "needs_recipe", "recipe.yaml"),
        ("with/recipe/a.jsonl", ROW, "bad_recipe", "with/recipe.yaml: prompt is"),
        ("cut.jsonl.gz", gzip.compress(ROW * 50, mtime=0)[:-9], "damaged", "too early"),
        ("plain.jsonl.gz", ROW, "damaged", "not valid gzip"),
    ],
)
def test_a_file_that_cannot_be_a_job_is_rejected_with_a_sentence(
    world: World, key: str, data: bytes, code: str, words: str
) -> None:
    world.inputs.others["with/recipe.yaml"] = b"prompt: '{{ text }}'"
    identity = world.drop(key, data)
    summary = world.run(identity)
    assert summary["status"] == "rejected"
    assert summary["reason"]["code"] == code
    assert words in summary["reason"]["message"]
    assert summary["rows"]["total"] == 0
    assert summary["outputs"]["results"] is None
    assert world.ledger.job(identity).status == "rejected"
    assert [kind for kind, _ in world.events.published] == ["Job Rejected"]
    assert world.events.published[0][1]["reason"]["code"] == code
    assert list(world.work.keys("")) == []


def test_an_upload_that_is_gone_is_rejected(world: World) -> None:
    for when in ("before", "while"):
        identity = world.drop(f"{when}.jsonl", ROW)
        if when == "while":
            world.split_bytes = 100
            world.plan(identity)
            del world.inputs.uploads[f"{when}.jsonl"]
            world.shard(identity, {"range": 0, "start": 0, "end": None})
            assert world.open_round(identity, 1).run == "none"
            world.assembler().assemble(identity)
            world.reporter().report(identity, None)
            summary = world.summary(identity)
        else:
            del world.inputs.uploads[f"{when}.jsonl"]
            summary = world.run(identity)
        assert summary["status"] == "rejected"
        assert summary["reason"]["code"] == "input_changed"


def test_ranges_cover_the_file_without_gaps(world: World) -> None:
    identity = world.drop("big.jsonl", b"x" * 1050)
    world.split_bytes = 100
    made = world.plan(identity)
    ranges = json.loads(world.work.get(made.manifest))
    assert [each["range"] for each in ranges] == list(range(11))
    assert [each["end"] for each in ranges[:-1]] == [each["start"] for each in ranges[1:]]
    assert ranges[0]["start"] == 0
    assert ranges[-1]["end"] is None


def test_cancelling_what_has_ended_or_never_was_is_no_error(world: World) -> None:
    identity = world.drop("a.txt", b"x")
    assert world.command("Cancel Job", job_id=identity)
    world.run(identity)
    assert not world.command("Cancel Job", job_id=identity)
    assert not world.command("Cancel Job", job_id="nobody")
    with pytest.raises(ValueError, match="no command"):
        world.command("Dance", job_id=identity)
