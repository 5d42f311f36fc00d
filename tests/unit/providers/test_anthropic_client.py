"""The adapter over loopback HTTP, its every answer scripted."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any, get_args

import pytest
from anthropic.types.messages import MessageBatch

from functions.batch.errors import (
    AccountBlocked,
    Missing,
    ProviderError,
    Refused,
    Throttled,
    Unavailable,
    Unconfirmed,
)
from functions.batch.model import ProviderFile, ProviderObject, Tag
from functions.batch.rows import Group
from functions.batch.streams.lines import rows_of
from functions.providers.anthropic.client import STATES, AnthropicProvider, make_client
from functions.providers.anthropic.dialect import API_VERSION
from tests.support.scripted_server import Server, serve

KEY = "sk-ant-secret"
TAG = Tag(stack="S", job_id="tickets-0123456789abcdef", shard_id="01-00002", attempt=2)
OURS = "r000000-000000007-89abcdef-01-00002-1"
GROUP = Group("anthropic", "/v1/messages", "claude-haiku-4-5")
SINCE = "2026-11-21T12:00:00.000Z"
BATCHES = "/v1/messages/batches"


def error(kind: str | None, message: str, **more: Any) -> bytes:
    return json.dumps(
        {"type": "error", "error": {"type": kind, "message": message, **more}, "request_id": "q"}
    ).encode()


def batch(identity: str = "b1", status: str = "ended", **changes: Any) -> dict[str, Any]:
    ended = status == "ended"
    counts = dict.fromkeys(("processing", "succeeded", "errored", "canceled", "expired"), 0)
    counts["succeeded" if ended else "processing"] = 4
    url = f"https://elsewhere.example/{identity}"
    return {
        "id": identity,
        "type": "message_batch",
        "processing_status": status,
        "request_counts": counts,
        "created_at": "2026-11-21T12:00:05.123456Z",
        "expires_at": "2026-11-22T12:00:05.123456Z",
        "ended_at": "2026-11-21T12:10:00Z" if ended else None,
        "cancel_initiated_at": None,
        "archived_at": None,
        "results_url": url if ended else None,
        **changes,
    }


def result(custom_id: str) -> bytes:
    return json.dumps({"custom_id": custom_id, "result": {"type": "expired"}}).encode() + b"\n"


@pytest.fixture(scope="module")
def serving() -> Iterator[tuple[Server, AnthropicProvider]]:
    """One client for all tests: each that is made loads the certificates."""
    with serve() as server, make_client(KEY, server.url) as client:
        yield server, AnthropicProvider(client)


@pytest.fixture
def server(serving: tuple[Server, AnthropicProvider]) -> Server:
    serving[0].replies.clear()
    serving[0].requests.clear()
    return serving[0]


@pytest.fixture
def provider(server: Server, serving: tuple[Server, AnthropicProvider]) -> AnthropicProvider:
    return serving[1]


@pytest.fixture
def path(tmp_path: Path) -> Path:
    path = tmp_path / "requests"
    path.write_bytes(b'{"requests":[' + b" " * 3_000_000 + b"]}")
    return path


def create(provider: AnthropicProvider, path: Path, variant: str = "") -> str:
    group = Group(GROUP.provider, GROUP.endpoint, GROUP.model, variant)
    return provider.create(path, TAG, group, [], 4)


def listed(*batches: dict[str, Any], more: bool = False) -> dict[str, Any]:
    ids = [each["id"] for each in batches] or [None]
    return {"data": batches, "has_more": more, "first_id": ids[0], "last_id": ids[-1]}


def test_statuses_are_the_sdks() -> None:
    annotation = MessageBatch.model_fields["processing_status"].annotation
    assert set(STATES) == set(get_args(annotation))


def test_a_base_url_may_be_missing_or_end_in_v1() -> None:
    for base_url in (
        "https://gate.example/a",
        "https://gate.example/a/",
        "https://gate.example/a/v1/",
    ):
        assert str(make_client(KEY, base_url).base_url) == "https://gate.example/a/"
    assert str(make_client(KEY, "").base_url) == "https://api.anthropic.com"


def test_a_create_sends_the_file_as_it_is_with_its_length(
    server: Server, provider: AnthropicProvider, path: Path
) -> None:
    server.reply(f"POST {BATCHES}", batch("b7", "in_progress"))
    assert create(provider, path) == "b7"
    assert create(provider, path, "beta-1,beta-2") == "b7"
    (_, headers, body), (_, with_betas, _) = server.requests
    assert body == path.read_bytes()
    assert headers["content-length"] == str(len(body))
    assert headers["content-type"] == "application/json"
    assert headers["anthropic-version"] == API_VERSION
    assert headers["authorization"] == f"Bearer {KEY}"
    assert "transfer-encoding" not in headers
    assert "anthropic-beta" not in headers
    assert with_betas["anthropic-beta"] == "beta-1,beta-2"


@pytest.mark.parametrize("body", [b"<html>", b"{}", b"[]", b'{"id": null}', b""])
def test_a_create_without_an_id_leaves_the_outcome_unknown(
    server: Server, provider: AnthropicProvider, path: Path, body: bytes
) -> None:
    server.reply(f"POST {BATCHES}", body)
    with pytest.raises(Unavailable):
        create(provider, path)


CREDIT = "Your credit balance is too low to access the Anthropic API."
LINKED = {"error_code": "linked_organization_billing_unavailable"}


@pytest.mark.parametrize(
    ("status", "body", "kind", "code"),
    [
        (400, error("invalid_request_error", "bad"), Refused, "invalid_request_error"),
        (400, error("invalid_request_error", CREDIT), AccountBlocked, "invalid_request_error"),
        (400, error("billing_error", "pay"), AccountBlocked, "billing_error"),
        (
            400,
            error("invalid_request_error", "m", details={"error_code": "organization_on_hold"}),
            AccountBlocked,
            "organization_on_hold",
        ),
        (401, error("authentication_error", "invalid key"), AccountBlocked, "authentication_error"),
        (402, error("billing_error", "m", details=LINKED), AccountBlocked, LINKED["error_code"]),
        (403, error("permission_error", "no"), AccountBlocked, "permission_error"),
        (403, b"<html>blocked</html>", AccountBlocked, "http_403"),
        (404, error("not_found_error", "no such path"), AccountBlocked, "not_found_error"),
        (408, b"", Unavailable, "http_408"),
        (409, error("conflict_error", "busy"), Throttled, "conflict_error"),
        (413, error("request_too_large", "256 MB"), Refused, "request_too_large"),
        (413, b"<html>cloudflare</html>", Refused, "request_too_large"),
        (422, b"", Refused, "http_422"),
        (429, error("rate_limit_error", "slow down"), Throttled, "rate_limit_error"),
        (
            429,
            error("rate_limit_error", "m", details={"error_code": "enforced_spend_limit_reached"}),
            AccountBlocked,
            "enforced_spend_limit_reached",
        ),
        (500, error("api_error", "oops"), Unavailable, "api_error"),
        (503, b"", Unavailable, "http_503"),
        (504, error("timeout_error", "late"), Unavailable, "timeout_error"),
        (529, error("overloaded_error", "Overloaded"), Unavailable, "overloaded_error"),
    ],
)
def test_a_create_is_tried_once_and_its_refusal_translated(
    server: Server,
    provider: AnthropicProvider,
    path: Path,
    status: int,
    body: bytes,
    kind: type[ProviderError],
    code: str,
) -> None:
    server.reply(f"POST {BATCHES}", body, status, retry_after="7.5", x_should_retry="true")
    with pytest.raises(ProviderError) as caught:
        create(provider, path)
    assert type(caught.value) is kind
    assert (caught.value.code, caught.value.retry_after) == (code, 7.5)
    assert f"(HTTP {status})" in caught.value.message
    assert len(server.requests) == 1


def test_a_redirected_create_is_a_wrong_address(
    server: Server, provider: AnthropicProvider, path: Path
) -> None:
    server.reply(f"POST {BATCHES}", b"", 307, location=f"{server.url}/elsewhere")
    with pytest.raises((AccountBlocked, Unavailable)):
        create(provider, path)
    assert len([call for call, _, body in server.requests if body]) == 1


def test_what_cannot_be_reached_is_unavailable(tmp_path: Path) -> None:
    with serve() as closed:
        url = closed.url
    path = tmp_path / "requests"
    path.write_bytes(b"{}")
    with make_client(KEY, url) as client:
        provider = AnthropicProvider(client)
        with pytest.raises(Unavailable, match="could not be reached"):
            create(provider, path)
        with pytest.raises(Unavailable):
            provider.poll("b1")
        with pytest.raises(Unavailable):
            list(rows_of(provider.answers(["b1"])))


@pytest.mark.parametrize(
    ("changes", "ended", "complete"),
    [
        ({"status": "in_progress"}, False, False),
        ({"status": "canceling"}, False, False),
        ({"status": "a_step_of_tomorrow"}, False, False),
        ({"status": "ended"}, True, True),
        ({"status": "ended", "cancel_initiated_at": "2026-11-21T12:05:00Z"}, True, False),
    ],
)
def test_an_ended_batch_is_its_own_output(
    server: Server,
    provider: AnthropicProvider,
    changes: dict[str, Any],
    ended: bool,
    complete: bool,
) -> None:
    server.reply(f"GET {BATCHES}/b1", batch("b1", **changes), retry_after="11")
    state = provider.poll("b1")
    assert state.status == changes["status"]
    assert state.outcome == ("ended" if ended else None)
    assert state.complete is complete
    assert state.outputs == ([ProviderObject(kind="batch", id="b1")] if ended else [])
    assert state.retry_after == 11
    assert state.progress is not None
    assert (state.progress.total, state.progress.completed) == (4, 4 if ended else 0)


def test_a_batch_that_expired_in_part_is_not_complete(
    server: Server, provider: AnthropicProvider
) -> None:
    counts = {"processing": 0, "succeeded": 1, "errored": 1, "canceled": 0, "expired": 2}
    server.reply(f"GET {BATCHES}/b1", batch(request_counts=counts))
    state = provider.poll("b1")
    assert (state.outcome, state.complete) == ("ended", False)
    assert state.progress is not None
    assert (state.progress.total, state.progress.completed, state.progress.failed) == (4, 1, 3)


def test_results_that_anthropic_has_dropped_are_asked_for_again(
    server: Server, provider: AnthropicProvider
) -> None:
    gone = batch(archived_at="2026-12-21T00:00:00Z", results_url=None)
    server.reply(f"GET {BATCHES}/b1", gone)
    state = provider.poll("b1")
    assert (state.outcome, state.outputs) == ("refused", [])
    assert state.refusal is not None
    assert state.refusal.then == "resend"


def test_a_batch_that_is_gone_is_missing(provider: AnthropicProvider) -> None:
    with pytest.raises(Missing):
        provider.poll("b1")
    file = ProviderFile(
        job_id="j", shard_id="s", provider="anthropic", kind="batch", id="b1", created_at=SINCE
    )
    with pytest.raises(Missing):
        provider.delete(file)


def test_results_come_from_the_base_url_and_are_split_at_newlines_only(
    server: Server, provider: AnthropicProvider
) -> None:
    text = "\u2028 \x85 \x0b".encode()
    lines = [b'{"a":"%b"}' % text, b"", b"  ", b'{"b":1}']
    server.reply(f"GET {BATCHES}/b1/results", b"\n".join(lines) + b"\n")
    server.reply(f"GET {BATCHES}/b2/results", b'{"c":1}')
    assert list(rows_of(provider.answers(["b1", "b2"]))) == [
        lines[0],
        lines[3],
        b'{"c":1}',
    ]
    assert [call for call, _, _ in server.requests] == [
        f"GET {BATCHES}/b1/results",
        f"GET {BATCHES}/b2/results",
    ]


def test_results_that_break_off_are_not_taken_for_all(
    server: Server, provider: AnthropicProvider
) -> None:
    server.reply(f"GET {BATCHES}/b1/results", b'{"a":1}\n{"b":', content_length="100")
    with pytest.raises(Unavailable):
        list(rows_of(provider.answers(["b1"])))


def test_a_batch_that_has_ended_needs_no_cancelling(
    server: Server, provider: AnthropicProvider
) -> None:
    call = f"POST {BATCHES}/b1/cancel"
    server.reply(call, batch("b1", "canceling"))
    server.reply(call, error("invalid_request_error", "has ended"), 400)
    server.reply(call, error("conflict_error", "has ended"), 409)
    server.reply(call, error("rate_limit_error", "slow down"), 429)
    for _ in range(3):
        provider.cancel("b1")
    with pytest.raises(Throttled):
        provider.cancel("b1")


def test_a_delete_that_comes_too_early_is_refused(
    server: Server, provider: AnthropicProvider
) -> None:
    server.reply(f"DELETE {BATCHES}/b1", error("invalid_request_error", "in progress"), 400)
    file = ProviderFile(
        job_id="j", shard_id="s", provider="anthropic", kind="batch", id="b1", created_at=SINCE
    )
    with pytest.raises(Refused, match="in progress"):
        provider.delete(file)


def find(provider: AnthropicProvider) -> list[str]:
    return provider.find_batches(TAG, SINCE, 4)


def test_a_lost_batch_is_told_by_the_ids_of_its_results(
    server: Server, provider: AnthropicProvider
) -> None:
    five = {"processing": 0, "succeeded": 4, "errored": 1, "canceled": 0, "expired": 0}
    mixed = {"processing": 0, "succeeded": 1, "errored": 1, "canceled": 1, "expired": 1}
    server.reply(
        f"GET {BATCHES}",
        listed(
            batch("running", "in_progress"),
            batch("five", request_counts=five),
            batch("archived", archived_at="2026-12-21T00:00:00Z"),
            batch("deleted"),
            more=True,
        ),
    )
    server.reply(
        f"GET {BATCHES}",
        listed(
            batch("empty"),
            batch("odd"),
            batch("foreign"),
            batch("sibling"),
            batch("ours", request_counts=mixed, created_at="2026-11-21T11:56:00Z"),
            batch("old", created_at="2026-11-21T11:54:00Z"),
            batch("older", created_at="2026-11-21T10:00:00Z"),
            more=True,
        ),
    )
    server.reply(f"GET {BATCHES}/empty/results", b"")
    server.reply(f"GET {BATCHES}/odd/results", b'{"id": 1}\n')
    server.reply(f"GET {BATCHES}/foreign/results", result("ticket-17"))
    sibling = OURS.replace("01-00002", "01-00003")
    server.reply(f"GET {BATCHES}/sibling/results", result(sibling) + result(OURS))
    server.reply(f"GET {BATCHES}/ours/results", result(OURS) * 100_000)
    assert find(provider) == ["ours"]
    calls = [call for call, _, _ in server.requests if "results" not in call]
    assert calls == [
        f"GET {BATCHES}?limit=100",
        f"GET {BATCHES}/deleted",  # its results may lie elsewhere
        f"GET {BATCHES}?limit=100&after_id=deleted",
    ]
    read = [call for call, _, _ in server.requests if "results" in call]
    assert f"GET {BATCHES}/five/results" not in read
    assert f"GET {BATCHES}/old/results" not in read


@pytest.mark.parametrize("status", ["in_progress", "canceling", "a_step_of_tomorrow"])
def test_a_batch_that_still_runs_is_not_taken_before_it_can_be_told(
    server: Server, provider: AnthropicProvider, status: str
) -> None:
    server.reply(f"GET {BATCHES}", listed(batch("running", status), batch("foreign")))
    server.reply(f"GET {BATCHES}/foreign/results", result("ticket-17"))
    with pytest.raises(Unconfirmed) as caught:
        find(provider)
    assert caught.value.candidates == ["running"]


@pytest.mark.parametrize(
    "status", [200, 404]
)  # https://github.com/anthropics/anthropic-sdk-python/issues/1432
def test_a_candidate_whose_results_are_not_seen_yet_is_not_dismissed(
    server: Server, provider: AnthropicProvider, status: int
) -> None:
    server.reply(f"GET {BATCHES}", listed(batch("ended")))
    server.reply(f"GET {BATCHES}/ended/results", b"", status)
    with pytest.raises(Unconfirmed) as caught:
        find(provider)
    assert caught.value.candidates == ["ended"]


def test_a_candidate_is_told_wherever_its_results_are(
    server: Server, provider: AnthropicProvider
) -> None:
    server.reply(f"GET {BATCHES}", listed(batch("ended")))
    server.reply(f"GET {BATCHES}/ended", batch("ended", results_url="/elsewhere/ended.jsonl"))
    server.reply("GET /elsewhere/ended.jsonl", result(OURS))
    assert find(provider) == ["ended"]


def test_without_a_candidate_nothing_is_found(server: Server, provider: AnthropicProvider) -> None:
    server.reply(f"GET {BATCHES}", listed())
    assert find(provider) == []


def test_a_candidate_that_cannot_be_read_is_not_dismissed(
    server: Server, provider: AnthropicProvider
) -> None:
    server.reply(f"GET {BATCHES}", listed(batch("b1")))
    server.reply(f"GET {BATCHES}/b1/results", error("api_error", "oops"), 500)
    with pytest.raises(Unavailable):
        find(provider)
