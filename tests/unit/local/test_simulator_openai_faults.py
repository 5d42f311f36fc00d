"""Faults that are armed at OpenAI's part of the simulator, as its official SDK sees them."""

import httpx2
import openai
import pytest
from openai import types

from local.simulator.process import Simulator, until
from tests.support.lines import body as ask
from tests.support.lines import line
from tests.support.openai_batches import codes, ended, good, jsonl, read, run, submit, upload


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
