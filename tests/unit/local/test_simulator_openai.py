"""OpenAI's part of the simulator, driven by the official SDK only."""

import json
from typing import Any, get_args

import openai
import pytest
from openai import types
from openai.types import chat, responses
from pydantic import BaseModel

from local.simulator import answers, openai_bodies
from local.simulator.process import Simulator, until
from tests.support.lines import CHAT, line
from tests.support.lines import body as ask
from tests.support.openai_batches import (
    TERMINAL,
    codes,
    ended,
    good,
    jsonl,
    read,
    run,
    submit,
    upload,
)


def test_every_row_is_answered_and_joined_by_its_echo(
    client: openai.OpenAI, simulator: Simulator
) -> None:
    rows = [line(f"row-{number}", ask(f"text {number}")) for number in range(40)]
    batch = run(client, rows)
    assert batch.status == "completed"
    assert batch.request_counts == types.BatchRequestCounts(total=40, completed=40, failed=0)
    assert (batch.model, batch.error_file_id) == ("gpt-5-mini", None)
    found = read(client, batch.output_file_id)
    assert [row["custom_id"] for row in found] != [row["custom_id"] for row in rows]
    bodies = {row["custom_id"]: row["body"] for row in rows}
    for row in found:
        body = bodies.pop(row["custom_id"])
        completion = chat.ChatCompletion.model_validate(row["response"]["body"], strict=True)
        text = completion.choices[0].message.content
        assert text == f"echo {answers.digest(body)} {body['messages'][0]['content']}"
    assert not bodies
    tokens = [chat.ChatCompletion(**row["response"]["body"]).usage for row in found]
    assert batch.usage is not None
    assert batch.usage.input_tokens == sum(usage.prompt_tokens for usage in tokens if usage)
    books = simulator.ledger()
    assert books["tokens"]["openai/gpt-5-mini"]["input"] == batch.usage.input_tokens
    assert books["providers"]["openai"]["rows_answered"] == 40
    assert books["answered_twice"]["requests"] == 0


def test_statuses_follow_each_other(client: openai.OpenAI, simulator: Simulator) -> None:
    simulator.admin("settings", {"batch_seconds": 1.5})
    batch = submit(client, [line(str(number), ask("hi")) for number in range(20)])
    seen = [batch.status]
    counts: list[int] = []

    def look() -> types.Batch:
        now = client.batches.retrieve(batch.id)
        if now.status != seen[-1]:
            seen.append(now.status)
        if now.request_counts:
            counts.append(now.request_counts.completed)
        return now

    final = until(look, lambda b: b.status in TERMINAL)
    assert seen == ["validating", "in_progress", "finalizing", "completed"]
    assert counts == sorted(counts)
    assert len(set(counts)) > 3
    assert None not in (final.in_progress_at, final.finalizing_at, final.completed_at)
    assert set(seen) < set(get_args(types.Batch.model_fields["status"].annotation))


BODIES: dict[str, tuple[dict[str, Any], type[BaseModel]]] = {
    "/v1/responses": ({"model": "gpt-5", "input": "hello"}, responses.Response),
    CHAT: (ask("hello"), chat.ChatCompletion),
    "/v1/embeddings": (
        {"model": "text-embedding-3-small", "input": ["a", "b"], "dimensions": 8},
        types.CreateEmbeddingResponse,
    ),
    "/v1/completions": (
        {"model": "gpt-3.5-turbo-instruct", "prompt": "hello", "max_tokens": 60},
        types.Completion,
    ),
    "/v1/moderations": (
        {"model": "omni-moderation-latest", "input": "hello"},
        types.ModerationCreateResponse,
    ),
    "/v1/images/generations": ({"model": "gpt-image-1", "prompt": "a cat"}, types.ImagesResponse),
    "/v1/images/edits": (
        {"model": "gpt-image-1", "prompt": "a cat", "images": [{"file_id": "file-1"}]},
        types.ImagesResponse,
    ),
    "/v1/videos": ({"model": "sora-2", "prompt": "a cat", "seconds": "8"}, types.Video),
}


@pytest.mark.parametrize("endpoint", openai_bodies.ENDPOINTS)
def test_each_endpoint_answers_in_its_own_shape(client: openai.OpenAI, endpoint: str) -> None:
    body, shape = BODIES[endpoint]
    batch = run(client, [line("one", body, endpoint)], endpoint)
    assert batch.status == "completed"
    (row,) = read(client, batch.output_file_id)
    assert (row["response"]["status_code"], row["error"]) == (200, None)
    shape.model_validate_json(json.dumps(row["response"]["body"]), strict=True)


def test_a_schema_is_answered_with_a_document_that_fits(client: openai.OpenAI) -> None:
    schema = {"type": "object", "properties": {"kind": {"enum": ["bug", "feature"]}}}
    wanted = {"type": "json_schema", "json_schema": {"name": "kind", "schema": schema}}
    body = {**ask("hello"), "response_format": wanted}
    batch = run(client, [line("one", body)])
    (row,) = read(client, batch.output_file_id)
    text = row["response"]["body"]["choices"][0]["message"]["content"]
    assert json.loads(text)["kind"] in ("bug", "feature")


@pytest.mark.parametrize(
    ("rows", "code", "number"),
    [
        ([good(), b"{nonsense"], "invalid_json_line", 2),
        ([good(), good()], "duplicate_custom_id", 2),
        ([b"", good(), {**good("x"), "custom_id": None}], "missing_required_parameter", 3),
        ([line("x", ask("hi"), "/v1/responses")], "invalid_url", 1),
        ([good(), line("x", ask("hi", "gpt-4.1"))], "mismatched_model", 2),
        ([line("x", ask("hi", "llama"))], "model_not_found", 1),
        ([line("x", {**ask("hi"), "stream": True})], "streaming_unsupported", 1),
        ([b"", b""], "empty_file", None),
        ([good(), line("x", ask("[[sim:poison]]"))], "invalid_request", 2),
        ([good(), line("x", ask("[[sim:poison_unnamed]]"))], "invalid_request", None),
    ],
)
def test_validation_fails_the_batch(
    client: openai.OpenAI, rows: list[Any], code: str, number: int | None
) -> None:
    batch = run(client, rows)
    assert batch.status == "failed"
    assert batch.errors
    assert batch.errors.data
    assert (batch.errors.data[0].code, batch.errors.data[0].line) == (code, number)
    assert batch.request_counts is not None
    assert batch.request_counts.total == 0
    assert (batch.output_file_id, batch.error_file_id) == (None, None)


def test_too_many_requests_and_inputs(client: openai.OpenAI) -> None:
    many = jsonl([good(str(number)) for number in range(50_001)])
    file = client.files.create(file=("in.jsonl", many), purpose="batch")
    batch = client.batches.create(completion_window="24h", endpoint=CHAT, input_file_id=file.id)
    assert codes(ended(client, batch)) == ["too_many_tasks"]
    body = {"model": "text-embedding-3-small", "input": ["a"] * 50_001}
    final = run(client, [line("one", body, "/v1/embeddings")], "/v1/embeddings")
    assert codes(final) == ["too_many_inputs"]


def test_marked_rows_fail_in_their_own_way(client: openai.OpenAI, simulator: Simulator) -> None:
    kinds = ["status=429", "status=500", "status=0", "null_error", "missing", "policy"]
    kinds.append("overloaded")
    rows = [line(kind, ask(f"[[sim:{kind}]]")) for kind in kinds]
    batch = run(client, [*rows, good(), line("empty", {"model": "gpt-5-mini"})])
    assert batch.status == "completed"
    assert [row["custom_id"] for row in read(client, batch.output_file_id)] == ["good"]
    failed = {row["custom_id"]: row for row in read(client, batch.error_file_id)}
    assert set(failed) == {*kinds, "empty"} - {"missing"}
    assert failed["status=429"]["response"]["body"]["error"]["code"] == "rate_limit_exceeded"
    empty: dict[str, Any] = {"status_code": 0, "request_id": "", "body": {}}
    assert failed["status=0"]["response"] == empty
    assert failed["status=0"]["error"] is None
    assert (failed["null_error"]["response"], failed["null_error"]["error"]) == (None, None)
    assert failed["policy"]["response"]["status_code"] == 400
    assert failed["overloaded"]["response"]["status_code"] == 503
    assert failed["empty"]["response"]["body"]["error"]["param"] == "messages"
    assert simulator.ledger()["providers"]["openai"]["rows"]["answered"] == 1


def test_malformed_requests_fail_alone(client: openai.OpenAI) -> None:
    bodies: list[dict[str, Any]] = [
        {**ask("hi"), "n": "many"},
        {**ask("hi"), "response_format": "json"},
        {**ask("hi"), "messages": "hi"},
        {**ask("hi"), "messages": [7, None, {"content": [[]]}]},
        {**ask("hi"), "max_tokens": "few"},
    ]
    batch = run(client, [line(str(number), body) for number, body in enumerate(bodies)])
    assert batch.status == "completed"
    answered = read(client, batch.output_file_id) + read(client, batch.error_file_id)
    assert len(answered) == len(bodies)


def test_a_marker_may_act_a_number_of_times(client: openai.OpenAI) -> None:
    for custom_id, file in (("1", "error"), ("2", "error"), ("3", "output")):
        batch = run(client, [line(custom_id, ask("[[sim:status=500,times=2]] go"))])
        assert (batch.output_file_id is not None) == (file == "output")


def test_answers_may_be_large_and_hold_odd_line_breaks(client: openai.OpenAI) -> None:
    rows = [line("big", ask("[[sim:big=300000]]")), line("odd", ask("[[sim:u2028]]"))]
    found = {
        row["custom_id"]: row["response"]["body"]["choices"][0]["message"]["content"]
        for row in read(client, run(client, rows).output_file_id)
    }
    assert 299_000 < len(found["big"]) < 301_000
    assert {"\u2028", "\u0085"} < set(found["odd"])


def test_cancelling_keeps_the_finished_part(client: openai.OpenAI, simulator: Simulator) -> None:
    simulator.admin("settings", {"batch_seconds": 2})
    rows = [line(str(number), ask(f"text {number}")) for number in range(40)]
    batch = submit(client, rows)
    until(
        lambda: client.batches.retrieve(batch.id),
        lambda b: bool(b.request_counts and b.request_counts.completed),
    )
    assert client.batches.cancel(batch.id).status == "cancelling"
    final = ended(client, batch)
    assert final.status == "cancelled"
    done, rest = read(client, final.output_file_id), read(client, final.error_file_id)
    assert done
    assert rest
    assert len({row["custom_id"] for row in done + rest}) == 40
    assert {row["error"]["code"] for row in rest} == {"batch_cancelled"}
    assert simulator.ledger()["providers"]["openai"]["rows_answered"] == len(done)
    with pytest.raises(openai.ConflictError):
        client.batches.cancel(batch.id)


def test_enqueued_tokens_are_limited_by_model(client: openai.OpenAI, simulator: Simulator) -> None:
    simulator.admin("settings", {"enqueued_token_limits": {"gpt-5-mini": 6}, "batch_seconds": 1})
    first = submit(client, [good()])
    until(lambda: client.batches.retrieve(first.id), lambda b: b.status == "in_progress")
    assert codes(run(client, [good()])) == ["token_limit_exceeded"]
    ended(client, first)
    assert run(client, [good()]).status == "completed"


def test_files_are_listed_paged_expired_and_deleted(
    client: openai.OpenAI, simulator: Simulator
) -> None:
    ids = [upload(client, [good()]) for _ in range(5)]
    assert [file.id for file in client.files.list(limit=2)] == ids[::-1]
    assert [file.id for file in client.files.list(order="asc", after=ids[2])] == ids[3:]
    file = client.files.create(
        file=("in.jsonl", b"{}"),
        purpose="batch",
        expires_after={"anchor": "created_at", "seconds": 3600},
    )
    assert file.expires_at == file.created_at + 3600
    assert client.files.delete(ids[0]).deleted
    for call in (client.files.retrieve, client.files.delete, client.files.content):
        with pytest.raises(openai.NotFoundError) as caught:
            call(ids[0])
        assert caught.value.request_id
    books = simulator.ledger()["providers"]["openai"]
    assert (books["files_created"], books["files_deleted"]) == (6, 1)
    assert ids[1] in {left["id"] for left in books["files_left"]}


def test_bad_uploads_and_creates_are_refused(client: openai.OpenAI, simulator: Simulator) -> None:
    with pytest.raises(openai.BadRequestError, match="jsonl"):
        client.files.create(file=("in.txt", b"{}"), purpose="batch")
    file_id = upload(client, [good()])
    create: Any = client.batches.create
    wanted: dict[str, Any] = {
        "completion_window": "24h",
        "endpoint": CHAT,
        "input_file_id": file_id,
    }
    for wrong in ({"completion_window": "48h"}, {"endpoint": "/v1/x"}, {"input_file_id": "file-x"}):
        with pytest.raises(openai.BadRequestError) as caught:
            create(**{**wanted, **wrong})
        assert caught.value.param == next(iter(wrong))
    with pytest.raises(openai.BadRequestError):
        create(**wanted, metadata={str(number): "" for number in range(17)})
    simulator.admin("settings", {"visible_after_seconds": 60})
    with pytest.raises(openai.BadRequestError):
        create(**wanted)


def test_keys_are_checked(client: openai.OpenAI, simulator: Simulator) -> None:
    simulator.admin("settings", {"revoked_keys": ["sk-revoked"]})
    for key in ("nonsense", "sk-revoked"):
        with pytest.raises(openai.AuthenticationError) as caught:
            client.with_options(api_key=key).batches.list()
        assert caught.value.code == "invalid_api_key"
    assert {call["status"] for call in simulator.ledger()["refused"]} == {401}


def test_batches_are_listed_newest_first(client: openai.OpenAI) -> None:
    ids = [submit(client, [good()]).id for _ in range(5)]
    assert [batch.id for batch in client.batches.list(limit=2)] == ids[::-1]
    assert client.batches.list(after=ids[1]).data[0].metadata == {"attempt": "1"}
    with pytest.raises(openai.NotFoundError):
        client.batches.retrieve("batch_x")


def test_dollars_are_counted_at_a_posted_price(client: openai.OpenAI, simulator: Simulator) -> None:
    simulator.admin("settings", {"prices": {"openai/gpt-5-mini": {"input": 1e6, "output": 2e6}}})
    batch = run(client, [good()])
    assert batch.usage is not None
    dollars = batch.usage.input_tokens + 2 * batch.usage.output_tokens
    assert simulator.ledger()["dollars"] == {"openai/gpt-5-mini": dollars}


def test_an_empty_account_fails_batches(client: openai.OpenAI, simulator: Simulator) -> None:
    simulator.admin("settings", {"out_of_credit": ["openai"]})
    assert codes(run(client, [good()])) == ["billing_hard_limit_reached"]
