"""OpenAI's part of the simulator, driven by the official SDK only."""

import io
import json
from collections.abc import Iterator
from typing import Any, get_args

import httpx2
import openai
import pytest
from openai import types
from openai.types import chat, responses
from pydantic import BaseModel

from local.simulator import answers, openai_bodies
from local.simulator.process import Simulator, until

TERMINAL = ("completed", "failed", "expired", "cancelled")
CHAT = "/v1/chat/completions"


@pytest.fixture(scope="module")
def client(simulator_process: Simulator) -> Iterator[openai.OpenAI]:
    with openai.OpenAI(
        api_key="sk-test", base_url=f"{simulator_process.url}/openai/v1", max_retries=0
    ) as client:
        yield client


def ask(text: str, model: str = "gpt-5-mini") -> dict[str, Any]:
    return {"model": model, "messages": [{"role": "user", "content": text}]}


def line(custom_id: str, body: dict[str, Any], url: str = CHAT) -> dict[str, Any]:
    return {"custom_id": custom_id, "method": "POST", "url": url, "body": body}


def jsonl(rows: list[Any]) -> bytes:
    return b"".join(
        (row if isinstance(row, bytes) else json.dumps(row).encode()) + b"\n" for row in rows
    )


def upload(client: openai.OpenAI, rows: list[Any]) -> str:
    file = client.files.create(file=("in.jsonl", io.BytesIO(jsonl(rows))), purpose="batch")
    strict(file)
    return file.id


def submit(client: openai.OpenAI, rows: list[Any], endpoint: Any = CHAT) -> types.Batch:
    batch = client.batches.create(
        completion_window="24h",
        endpoint=endpoint,
        input_file_id=upload(client, rows),
        metadata={"attempt": "1"},
    )
    strict(batch)
    return batch


def strict(value: BaseModel) -> None:
    """The SDK builds its objects without validating them; this does, and refuses extras."""
    type(value).model_validate_json(value.model_dump_json(by_alias=True), strict=True)
    assert not value.model_extra


def ended(client: openai.OpenAI, batch: types.Batch) -> types.Batch:
    final = until(lambda: client.batches.retrieve(batch.id), lambda b: b.status in TERMINAL)
    strict(final)
    return final


def run(client: openai.OpenAI, rows: list[Any], endpoint: Any = CHAT) -> types.Batch:
    return ended(client, submit(client, rows, endpoint))


def read(client: openai.OpenAI, file_id: str | None) -> list[dict[str, Any]]:
    if file_id is None:
        return []
    content = client.files.content(file_id).read()
    return [json.loads(part) for part in content.split(b"\n") if part]


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


def good(custom_id: str = "good") -> dict[str, Any]:
    return line(custom_id, ask("fine"))


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


def codes(batch: types.Batch) -> list[str | None]:
    return [error.code for error in (batch.errors and batch.errors.data) or []]


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


def test_expiry_reports_no_failures(client: openai.OpenAI, simulator: Simulator) -> None:
    simulator.fault("openai", "create", "expire_at", fraction=0.3)
    final = run(client, [line(str(number), ask(f"text {number}")) for number in range(10)])
    assert final.status == "expired"
    assert final.request_counts == types.BatchRequestCounts(total=10, completed=3, failed=0)
    assert len(read(client, final.output_file_id)) == 3
    assert {row["error"]["code"] for row in read(client, final.error_file_id)} == {"batch_expired"}


def test_a_batch_may_fail_after_create_or_get_stuck(
    client: openai.OpenAI, simulator: Simulator
) -> None:
    simulator.fault("openai", "create", "token_limit")
    simulator.fault("openai", "create", "batch_failed", skip=1)
    simulator.fault("openai", "create", "stuck", skip=2, fraction=0.5)
    assert codes(run(client, [good()])) == ["token_limit_exceeded"]
    assert codes(run(client, [good()])) == ["server_error"]
    stuck = submit(client, [good("1"), good("2")])
    until(
        lambda: client.batches.retrieve(stuck.id),
        lambda b: bool(b.request_counts and b.request_counts.completed),
    )
    client.batches.cancel(stuck.id)
    assert len(read(client, ended(client, stuck).output_file_id)) == 1


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


def test_armed_faults_act_on_calls(client: openai.OpenAI, simulator: Simulator) -> None:
    file_id = upload(client, [good()])
    simulator.fault("openai", "content", "status", status=429, code="slow_down", retry_after=3)
    with pytest.raises(openai.RateLimitError) as caught:
        client.files.content(file_id)
    assert caught.value.code == "slow_down"
    assert caught.value.response.headers["retry-after"] == "3"
    simulator.fault("openai", "content", "truncate", bytes=10)
    with pytest.raises((openai.APIConnectionError, httpx2.RemoteProtocolError)):
        client.files.content(file_id)
    simulator.fault("openai", "content", "delay", seconds=0.3)
    with pytest.raises(openai.APITimeoutError):
        client.with_options(timeout=0.1).files.content(file_id)
    assert client.files.content(file_id).read() == jsonl([good()])


def test_a_create_may_take_effect_though_its_reply_is_lost(
    client: openai.OpenAI, simulator: Simulator
) -> None:
    for kind, left in (("drop_before", 0), ("drop_after", 1)):
        simulator.fault("openai", "create", kind)
        with pytest.raises(openai.APIConnectionError):
            submit(client, [good()])
        assert len(client.batches.list().data) == left


def test_an_answer_may_not_come_to_an_end(client: openai.OpenAI, simulator: Simulator) -> None:
    """It is told in the books once the client hangs up, long before its time is over."""
    file_id = upload(client, [good()])
    for part in (0, 10):
        simulator.fault("openai", "content", "stall", bytes=part, seconds=60)
        with pytest.raises(openai.APITimeoutError):
            client.with_options(timeout=0.2).files.content(file_id)

    def stalls() -> int:
        return [each["reason"] for each in simulator.ledger()["refused"]].count("stall")

    until(stalls, lambda count: count == 2, 5)
    simulator.fault("openai", "create", "stall", seconds=0.1)
    with pytest.raises(openai.APIConnectionError):
        client.batches.create(
            input_file_id=file_id, endpoint="/v1/chat/completions", completion_window="24h"
        )
    assert len(client.batches.list().data) == 1


def test_a_call_may_take_effect_after_its_client_has_hung_up(
    client: openai.OpenAI, simulator: Simulator
) -> None:
    file_id = upload(client, [good()])
    simulator.fault("openai", "create", "delay", seconds=0.5)
    with pytest.raises(openai.APITimeoutError):
        client.with_options(timeout=0.1).batches.create(
            input_file_id=file_id, endpoint="/v1/chat/completions", completion_window="24h"
        )
    assert client.batches.list().data == []
    until(lambda: client.batches.list().data, lambda found: len(found) == 1, 5)


def test_things_may_be_gone_or_undeletable(client: openai.OpenAI, simulator: Simulator) -> None:
    file_id = upload(client, [good()])
    simulator.fault("openai", "delete", "undeletable")
    for _ in range(2):
        with pytest.raises(openai.InternalServerError):
            client.files.delete(file_id)
    simulator.fault("openai", "retrieve_file", "gone", target=file_id)
    for _ in range(2):
        with pytest.raises(openai.NotFoundError):
            client.files.retrieve(file_id)
    batch = submit(client, [good()])
    simulator.fault("openai", "retrieve", "gone")
    for _ in range(2):
        with pytest.raises(openai.NotFoundError):
            client.batches.retrieve(batch.id)


def test_dollars_are_counted_at_a_posted_price(client: openai.OpenAI, simulator: Simulator) -> None:
    simulator.admin("settings", {"prices": {"openai/gpt-5-mini": {"input": 1e6, "output": 2e6}}})
    batch = run(client, [good()])
    assert batch.usage is not None
    dollars = batch.usage.input_tokens + 2 * batch.usage.output_tokens
    assert simulator.ledger()["dollars"] == {"openai/gpt-5-mini": dollars}


def test_an_empty_account_fails_batches(client: openai.OpenAI, simulator: Simulator) -> None:
    simulator.admin("settings", {"out_of_credit": ["openai"]})
    assert codes(run(client, [good()])) == ["billing_hard_limit_reached"]
