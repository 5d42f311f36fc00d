"""Anthropic's part of the simulator, driven by the official SDK only."""

import json
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import anthropic
import pytest
from anthropic.types.messages import MessageBatch, MessageBatchIndividualResponse
from pydantic import BaseModel

from local.simulator import answers
from local.simulator.process import Simulator, until

MODEL = "claude-haiku-4-5"


@pytest.fixture(scope="module")
def client(simulator_process: Simulator) -> Iterator[anthropic.Anthropic]:
    with anthropic.Anthropic(
        api_key="sk-ant-test", base_url=f"{simulator_process.url}/anthropic", max_retries=0
    ) as client:
        yield client


def ask(text: str, **more: Any) -> dict[str, Any]:
    messages = [{"role": "user", "content": text}]
    return {"model": MODEL, "max_tokens": 100, "messages": messages, **more}


def row(custom_id: str, params: dict[str, Any]) -> Any:
    return {"custom_id": custom_id, "params": params}


def strict(value: BaseModel) -> None:
    type(value).model_validate_json(value.model_dump_json(by_alias=True), strict=True)
    assert not value.model_extra


def ended(client: anthropic.Anthropic, batch_id: str) -> MessageBatch:
    retrieve = client.messages.batches.retrieve
    batch = until(lambda: retrieve(batch_id), lambda b: b.processing_status == "ended")
    strict(batch)
    return batch


def run(
    client: anthropic.Anthropic, rows: list[Any]
) -> tuple[MessageBatch, dict[str, MessageBatchIndividualResponse]]:
    batch = ended(client, client.messages.batches.create(requests=rows).id)
    return batch, results(client, batch.id)


def results(
    client: anthropic.Anthropic, batch_id: str
) -> dict[str, MessageBatchIndividualResponse]:
    return {line.custom_id: line for line in client.messages.batches.results(batch_id)}


def text_of(line: MessageBatchIndividualResponse) -> str:
    assert line.result.type == "succeeded"
    (block,) = line.result.message.content
    assert block.type == "text"
    return block.text


def error_of(line: MessageBatchIndividualResponse) -> str:
    assert line.result.type == "errored"
    return line.result.error.error.type


def test_every_request_is_answered(client: anthropic.Anthropic, simulator: Simulator) -> None:
    rows = [row(f"row-{number}", ask(f"text {number}")) for number in range(30)]
    batch = client.messages.batches.create(requests=rows)
    strict(batch)
    assert batch.processing_status == "in_progress"
    assert batch.request_counts.processing == 30
    assert batch.results_url is None
    final = ended(client, batch.id)
    assert (final.request_counts.succeeded, final.request_counts.processing) == (30, 0)
    found = results(client, batch.id)
    assert list(found) != [item["custom_id"] for item in rows]
    for item in rows:
        line = found[item["custom_id"]]
        strict(line)
        text = item["params"]["messages"][0]["content"]
        assert text_of(line) == f"echo {answers.digest(item['params'])} {text}"
    books = simulator.ledger()
    assert books["providers"]["anthropic"]["rows_answered"] == 30
    assert books["tokens"][f"anthropic/{MODEL}"]["input"] == sum(
        line.result.message.usage.input_tokens
        for line in found.values()
        if line.result.type == "succeeded"
    )


def test_a_large_create_is_streamed(
    client: anthropic.Anthropic, simulator: Simulator, tmp_path: Path
) -> None:
    path = tmp_path / "create.json"
    rows = [row(f"row-{number}", ask("word " * 400)) for number in range(5000)]
    path.write_text(json.dumps({"requests": rows}, indent=1))
    with path.open("rb") as body:
        batch = client.post(
            "/v1/messages/batches",
            content=body,
            cast_to=MessageBatch,
            options={"headers": {"content-type": "application/json"}},
        )
    assert ended(client, batch.id).request_counts.succeeded == 5000


@pytest.mark.parametrize(
    ("rows", "message"),
    [
        ([row("a b", ask("hi"))], "custom_id"),
        ([row("x" * 65, ask("hi"))], "custom_id"),
        ([row("a", ask("hi")), row("a", ask("hi"))], "requests.1"),
        ([], "at least 1"),
        ([{"custom_id": "a"}], "params"),
        ([row("a", ask("hi")), row("b", ask("[[sim:poison]]"))], "requests.1.params"),
    ],
)
def test_a_bad_create_is_refused(
    client: anthropic.Anthropic, rows: list[Any], message: str
) -> None:
    with pytest.raises(anthropic.BadRequestError, match=message) as caught:
        client.messages.batches.create(requests=rows)
    assert caught.value.type == "invalid_request_error"
    assert caught.value.request_id


def test_params_are_validated_when_the_batch_runs(client: anthropic.Anthropic) -> None:
    bad = {
        "temperature": ask("hi", temperature=1.0),
        "stream": ask("hi", stream=True),
        "zero": ask("hi", max_tokens=0),
        "none": {"model": MODEL, "messages": [{"role": "user", "content": "hi"}]},
        "empty": ask(""),
        "tools": ask("hi", tools=7),
        "messages": ask("hi") | {"messages": 7},
    }
    rows = [row(name, params) for name, params in bad.items()]
    batch, found = run(
        client, [*rows, row("model", ask("hi", model="claud-x")), row("ok", ask("hi"))]
    )
    assert batch.request_counts.errored == len(bad) + 1
    assert {error_of(found[name]) for name in bad} == {"invalid_request_error"}
    assert error_of(found["model"]) == "not_found_error"
    assert found["ok"].result.type == "succeeded"


def test_older_versions_take_sampling_parameters(client: anthropic.Anthropic) -> None:
    older = client.with_options(default_headers={"anthropic-version": "2023-06-01"})
    _, found = run(older, [row("a", ask("hi", temperature=0.5))])
    assert found["a"].result.type == "succeeded"


def test_marked_rows_fail_in_their_own_way(client: anthropic.Anthropic) -> None:
    marks = ["status=429", "status=500", "expired", "overloaded", "policy", "missing", "u2028"]
    rows = [row(f"r{index}", ask(f"[[sim:{mark}]]")) for index, mark in enumerate(marks)]
    _, found = run(client, rows)
    assert error_of(found["r0"]) == "rate_limit_error"
    assert error_of(found["r1"]) == "api_error"
    assert found["r2"].result.type == "expired"
    assert error_of(found["r3"]) == "overloaded_error"
    assert error_of(found["r4"]) == "invalid_request_error"
    assert "r5" not in found
    assert "\u2028" in text_of(found["r6"])


def test_cancelling_keeps_the_finished_part(
    client: anthropic.Anthropic, simulator: Simulator
) -> None:
    simulator.admin("settings", {"batch_seconds": 2})
    rows = [row(str(number), ask(f"text {number}")) for number in range(40)]
    batch = client.messages.batches.create(requests=rows)
    until(simulator.ledger, lambda books: books["providers"]["anthropic"]["rows_answered"])
    cancelled = client.messages.batches.cancel(batch.id)
    assert cancelled.processing_status == "canceling"
    assert cancelled.cancel_initiated_at
    with pytest.raises(anthropic.BadRequestError):
        client.messages.batches.delete(batch.id)
    counts = ended(client, batch.id).request_counts
    assert counts.succeeded
    assert counts.canceled
    assert counts.succeeded + counts.canceled == 40 == len(results(client, batch.id))
    assert client.messages.batches.delete(batch.id).type == "message_batch_deleted"
    with pytest.raises(anthropic.NotFoundError):
        client.messages.batches.retrieve(batch.id)
    assert simulator.ledger()["providers"]["anthropic"]["files_left"] == []


def test_expiry_leaves_the_rest_expired(client: anthropic.Anthropic, simulator: Simulator) -> None:
    simulator.fault("anthropic", "create", "expire_at", fraction=0.4)
    batch, _ = run(client, [row(str(number), ask("hi")) for number in range(10)])
    assert (batch.request_counts.succeeded, batch.request_counts.expired) == (4, 6)


def test_batches_are_paged_both_ways(client: anthropic.Anthropic) -> None:
    ids = [client.messages.batches.create(requests=[row("a", ask("hi"))]).id for _ in range(5)]
    ids.reverse()
    assert [batch.id for batch in client.messages.batches.list(limit=2)] == ids
    assert client.messages.batches.list(limit=2, before_id=ids[3]).data[0].id == ids[1]
    after = client.messages.batches.list(after_id=ids[3])
    assert ([batch.id for batch in after.data], after.has_more) == (ids[4:], False)


def test_headers_are_checked(client: anthropic.Anthropic, simulator: Simulator) -> None:
    with pytest.raises(anthropic.AuthenticationError):
        client.with_options(api_key="nonsense").messages.batches.list()
    url = f"{simulator.url}/anthropic/v1/messages/batches"
    older = {"x-api-key": "sk-ant-1", "anthropic-version": "2023-06-01"}
    with urllib.request.urlopen(urllib.request.Request(url, headers=older)) as reply:
        assert json.loads(reply.read())["data"] == []
    wrong = client.with_options(default_headers={"anthropic-version": "2020-01-01"})
    with pytest.raises(anthropic.BadRequestError):
        wrong.messages.batches.list()


def test_prefixes_are_cached(client: anthropic.Anthropic, simulator: Simulator) -> None:
    def usage_of(seconds: str, words: int) -> Any:
        system = [
            {
                "type": "text",
                "text": "word " * words,
                "cache_control": {"type": "ephemeral", "ttl": seconds},
            }
        ]
        _, found = run(client, [row("a", ask("hi", system=system))])
        assert found["a"].result.type == "succeeded"
        return found["a"].result.message.usage

    first = usage_of("1h", 2000)
    assert first.cache_creation.ephemeral_1h_input_tokens > 2000
    assert first.cache_read_input_tokens == 0
    again = usage_of("1h", 2000)
    assert again.cache_creation_input_tokens == 0
    assert again.cache_read_input_tokens == first.cache_creation_input_tokens
    assert again.input_tokens == first.input_tokens
    short = usage_of("5m", 20)
    assert (short.cache_creation_input_tokens, short.cache_read_input_tokens) == (0, 0)
    books = simulator.ledger()["tokens"][f"anthropic/{MODEL}"]
    assert books["cached_input"] == again.cache_read_input_tokens
    assert books["cache_write_1h"] == first.cache_creation_input_tokens


def test_schemas_and_forced_tools_are_answered(client: anthropic.Anthropic) -> None:
    schema = {"type": "object", "properties": {"kind": {"enum": ["bug", "feature"]}}}
    tool = {"name": "sort", "input_schema": schema}
    wanted = {"format": {"type": "json_schema", "schema": schema}}
    rows = [
        row("tool", ask("hi", tools=[tool], tool_choice={"type": "tool", "name": "sort"})),
        row("json", ask("hi", output_config=wanted)),
    ]
    _, found = run(client, rows)
    assert found["tool"].result.type == "succeeded"
    block = found["tool"].result.message.content[0]
    assert block.type == "tool_use"
    assert block.input["kind"] in ("bug", "feature")
    assert json.loads(text_of(found["json"]))["kind"] in ("bug", "feature")


def test_an_account_may_run_out(client: anthropic.Anthropic, simulator: Simulator) -> None:
    simulator.admin("settings", {"out_of_credit": ["anthropic"], "anthropic_queue_limit": 2})
    _, found = run(client, [row("a", ask("hi"))])
    assert error_of(found["a"]) == "billing_error"
    with pytest.raises(anthropic.RateLimitError):
        client.messages.batches.create(requests=[row(str(i), ask("hi")) for i in range(3)])


def test_results_may_be_cut_short(client: anthropic.Anthropic, simulator: Simulator) -> None:
    batch, found = run(client, [row(str(number), ask("hi")) for number in range(50)])
    simulator.fault("anthropic", "results", "truncate", bytes=500)
    with pytest.raises(Exception, match=r"closed|incomplete|peer"):
        results(client, batch.id)
    assert len(results(client, batch.id)) == len(found)


def test_what_runs_side_by_side_reads_nothing_that_it_writes(
    client: anthropic.Anthropic, simulator: Simulator
) -> None:
    def reads(control: dict[str, str]) -> list[int]:
        system = [{"type": "text", "text": "word " * 2000, "cache_control": control}]
        _, found = run(client, [row(str(n), ask(f"{n}", system=system)) for n in range(80)])
        return [each.result.message.usage.cache_read_input_tokens for each in found.values()]

    five = {"type": "ephemeral"}
    assert sum(read == 0 for read in reads(five)) == 10
    assert 0 not in reads(five)
    simulator.admin("settings", {"cache_5m_seconds": 0.0, "cache_1h_seconds": 3600.0})
    other = {"type": "ephemeral", "ttl": "1h"}
    assert 0 not in reads(other), "the text is the same, and still kept"
    simulator.reset(cache_5m_seconds=0.0)
    assert set(reads(five)) == {0}, "kept for no time at all"
    assert sum(read == 0 for read in reads(other)) == 10


def test_marks_are_bounded_in_number_and_order(client: anthropic.Anthropic) -> None:
    def system(*lives: str) -> list[dict[str, Any]]:
        return [
            {"type": "text", "text": "x", "cache_control": {"type": "ephemeral", "ttl": life}}
            for life in lives
        ]

    rows = [
        row("good", ask("hi", system=system("1h", "1h", "5m", "5m"))),
        row("order", ask("hi", system=system("5m", "1h"))),
        row("five", ask("hi", system=system("1h", "1h", "1h", "1h", "1h"))),
    ]
    _, found = run(client, rows)
    assert found["good"].result.type == "succeeded"
    assert error_of(found["order"]) == error_of(found["five"]) == "invalid_request_error"
