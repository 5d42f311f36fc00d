from __future__ import annotations

import json
from collections.abc import Callable

import msgspec
import pytest

from functions.batch.collecting.mending import mended
from functions.batch.errors import Unavailable
from functions.batch.model import BatchState, Progress, ProviderObject
from functions.providers.openai.dialect import OpenAIDialect
from tests.support.driver import World
from tests.support.fake_provider import FakeProvider
from tests.support.lines import body, jsonl, line

ENDED = BatchState(
    status="completed",
    outcome="ended",
    complete=True,
    outputs=[ProviderObject(kind="output_file", id="out")],
)
USAGE = b'"usage":{"prompt_tokens":3,"completion_tokens":2}'


def answering(contents: list[bytes]) -> Callable[[World, str], None]:
    def fill(world: World, job_id: str) -> None:
        provider = world.providers["openai"]()
        assert isinstance(provider, FakeProvider)
        provider.lines = [
            b'{"custom_id":"r000000-%09d-%b-01-00001-1","response":{"status_code":200,"body":'
            b'{"choices":[{"message":{"content":%b}}],%b}},"error":null}'
            % (row, job_id[-8:].encode(), content, USAGE)
            for row, content in enumerate(contents)
        ]

    return fill


@pytest.mark.parametrize(
    ("content", "text"),
    [
        (rb'"half \ud83d"', "half \ufffd"),
        (rb'"other half \ude00!"', "other half \ufffd!"),
        (b'"bytes \xff\xfe"', "bytes \ufffd\ufffd"),
        (b'"tab\there"', "tab\there"),
        (b'"score","logprob":-Infinity,"x":NaN', "score"),
    ],
)
def test_a_paid_answer_that_is_nearly_json_is_kept_and_not_paid_again(
    content: bytes, text: str
) -> None:
    fake = FakeProvider()
    fake.script["poll"] = [ENDED]
    world = World([OpenAIDialect()], {"openai": lambda: fake})
    rows = [line("a", body("one")), line("b", body("two"))]
    job_id = world.drop("a.jsonl", jsonl(rows))
    answering([content, b'"plain"'])(world, job_id)
    summary = world.run(job_id)
    assert summary["status"] == "succeeded"
    assert len(fake.batches) == 1
    data = world.results.get(f"{job_id}/results.jsonl").decode()  # UTF-8 throughout
    results = [json.loads(each) for each in data.split("\n") if each]
    assert [result["text"] for result in results] == [text, "plain"]
    assert results[0]["usage"]["input_tokens"] == 3


def test_answers_that_end_too_early_are_read_again_before_a_row_is_paid_again() -> None:
    fake = FakeProvider()
    fake.script["poll"] = [ENDED]
    world = World([OpenAIDialect()], {"openai": lambda: fake})
    rows = [line("a", body("one")), line("b", body("two"))]
    job_id = world.drop("a.jsonl", jsonl(rows))
    answering([b'"first"', b'"second"'])(world, job_id)
    fake.script["answers"] = [fake.lines[:1]]
    summary = world.run(job_id)
    assert summary["status"] == "succeeded"
    assert [result["text"] for result in world.result_lines(job_id)] == ["first", "second"]
    assert len(fake.batches) == 1
    assert fake.calls.count("answers") == 2


def test_files_that_are_all_empty_are_not_believed_where_rows_were_counted() -> None:
    fake = FakeProvider()
    fake.script["poll"] = [
        msgspec.structs.replace(ENDED, progress=Progress(total=2, completed=2, failed=0))
    ]
    world = World([OpenAIDialect()], {"openai": lambda: fake})
    job_id = world.drop("a.jsonl", jsonl([line("a", body("one")), line("b", body("two"))]))
    fake.lines = []
    with pytest.raises(Unavailable):
        world.run(job_id)
    assert world.ledger.shard(job_id, "01-00001").unread
    answering([b'"first"', b'"second"'])(world, job_id)
    world.collector("openai").collect(job_id, "01-00001")
    answered = world.ledger.shard(job_id, "01-00001").answered
    assert answered is not None
    assert answered.succeeded == 2
    assert len(fake.batches) == 1


def test_what_was_sound_stays_as_it_was() -> None:
    line = b'{"a":[1,2.5,12345678901234567890123,1e+30,true,null],"b":"\\u0000 \xf0\x9f\x98\x80"}'
    assert json.loads(mended(line) or b"") == json.loads(line)


@pytest.mark.parametrize("line", [b"", b"nothing", b'{"a":', b"[" * 5_000 + b"]" * 5_000])
def test_nothing_is_made_of_what_is_no_json_at_all(line: bytes) -> None:
    assert mended(line) is None
