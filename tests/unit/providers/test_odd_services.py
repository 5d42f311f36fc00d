"""The adapters against services that answer as nobody should, over loopback HTTP."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from functions.aws.items import from_item, to_item, to_plain
from functions.batch.errors import (
    AccountBlocked,
    KeyMissing,
    NotVisible,
    ProviderError,
    Refused,
    Unavailable,
    Unconfirmed,
)
from functions.batch.model import ProviderFile, Shard, Tag
from functions.batch.rows import Group
from functions.batch.streams.lines import rows_of
from functions.providers.anthropic import client as anthropic
from functions.providers.openai import client as openai
from functions.providers.running import MANY
from tests.support.scripted_server import Server, serve

TAG = Tag(stack="S", job_id="tickets-0123456789abcdef", shard_id="01-00002", attempt=2)
GROUP = Group("openai", "/v1/chat/completions", "m")
SINCE = "2026-11-21T12:00:00.000Z"
THEN = 1_795_262_410  # ten seconds later
MARKS = {"batchdrop_stack": "S", "job_id": TAG.job_id, "shard_id": TAG.shard_id}
HTML = b"<html><body>We will be back.</body></html>"
BATCHES = "/v1/messages/batches"


@pytest.fixture(scope="module")
def serving() -> Iterator[tuple[Server, openai.OpenAIProvider, anthropic.AnthropicProvider]]:
    with (
        serve() as server,
        openai.make_client("k", f"{server.url}/v1") as one,
        anthropic.make_client("k", server.url) as other,
    ):
        yield server, openai.OpenAIProvider(one), anthropic.AnthropicProvider(other)


@pytest.fixture
def server(serving: tuple[Server, Any, Any]) -> Server:
    serving[0].replies.clear()
    serving[0].requests.clear()
    return serving[0]


@pytest.fixture
def of_openai(server: Server, serving: tuple[Any, openai.OpenAIProvider, Any]) -> Any:
    return serving[1]


@pytest.fixture
def of_anthropic(server: Server, serving: tuple[Any, Any, anthropic.AnthropicProvider]) -> Any:
    return serving[2]


def batch(identity: str = "b", status: str = "in_progress", **more: Any) -> dict[str, Any]:
    return {"id": identity, "created_at": THEN, "status": status, "metadata": MARKS, **more}


def listed(*data: Any, more: bool = False) -> dict[str, Any]:
    return {"object": "list", "data": data, "has_more": more}


def kept(shard: Shard) -> Shard:
    """As the ledger's table gives it back."""
    return from_item(to_item(to_plain(shard)), Shard)


@pytest.mark.parametrize("body", [HTML, b"", b"{}", b"[]", b"null", b'{"id": null}', b'{"id": 5}'])
def test_a_create_without_an_id_leaves_the_outcome_unknown(
    server: Server, of_openai: openai.OpenAIProvider, tmp_path: Path, body: bytes
) -> None:
    server.reply("POST /v1/batches", body)
    server.reply("POST /v1/files", body)
    path = tmp_path / "requests"
    path.write_bytes(b"{}\n")
    with pytest.raises(Unavailable):
        of_openai.create(None, TAG, GROUP, ["f"], 1)
    with pytest.raises(Unavailable):
        of_openai.stage(path, TAG)


@pytest.mark.parametrize("body", [b"{}", b'{"data": null}', b'{"error": {"message": "later"}}'])
def test_what_is_no_list_does_not_pass_for_an_empty_one(
    server: Server, of_openai: Any, of_anthropic: Any, body: bytes
) -> None:
    server.reply("GET /v1/batches", body)
    server.reply("GET /v1/files", body)
    server.reply(f"GET {BATCHES}", body)
    with pytest.raises(Unavailable):
        of_openai.find_batches(TAG, SINCE, 1)
    with pytest.raises(Unavailable):
        of_openai.find_staged(TAG, SINCE)
    with pytest.raises(Unavailable):
        of_anthropic.find_batches(TAG, SINCE, 1)


@pytest.mark.parametrize(
    "body", [HTML, b"", b"{}", b"[]", b"null", b'{"id": "b", "sta', b'{"status": null}']
)
@pytest.mark.parametrize("kind", ["application/json", "text/html"])
def test_a_gateways_page_is_no_batch(
    server: Server, of_openai: Any, of_anthropic: Any, body: bytes, kind: str
) -> None:
    server.reply("GET /v1/batches/b", body, content_type=kind)
    server.reply(f"GET {BATCHES}/b", body, content_type=kind)
    with pytest.raises(Unavailable):
        of_openai.poll("b")
    with pytest.raises(Unavailable):
        of_anthropic.poll("b")


@pytest.mark.parametrize(
    "counts", [None, {}, {"total": 3}, {"total": None, "completed": "2", "failed": 1.5}]
)
def test_counts_of_any_kind_can_be_kept(server: Server, of_openai: Any, counts: Any) -> None:
    server.reply("GET /v1/batches/b", batch(request_counts=counts))
    shard = Shard(
        job_id="j",
        shard_id="s",
        round=1,
        number=1,
        provider="openai",
        endpoint="e",
        model="m",
        rows=3,
        bytes=1,
        progress=of_openai.poll("b").progress,
    )
    assert kept(shard) == shard


@pytest.mark.parametrize("counts", [None, {}, {"processing": 3}, {"processing": None}])
def test_anthropics_counts_may_be_missing(server: Server, of_anthropic: Any, counts: Any) -> None:
    found = {"id": "b", "processing_status": "ended", "request_counts": counts}
    server.reply(f"GET {BATCHES}/b", found)
    state = of_anthropic.poll("b")
    assert (state.outcome, state.complete) == ("ended", True)


@pytest.mark.parametrize(
    ("errors", "code", "lines"),
    [
        ({"data": [{"code": 400, "line": "2", "message": {"a": 1}}]}, "400", [2]),
        ([{"code": "bad", "line": 1, "message": "no"}], "bad", [1]),
        ("boom", "batch_failed", []),
        ({"data": None}, "batch_failed", []),
        ({"data": [None, "x"]}, "batch_failed", []),
    ],
)
def test_a_failed_batchs_errors_may_have_any_shape(
    server: Server, of_openai: Any, errors: Any, code: str, lines: list[int]
) -> None:
    server.reply("GET /v1/batches/b", batch(status="failed", errors=errors))
    refusal = of_openai.poll("b").refusal
    assert (refusal.code, list(refusal.lines)) == (code, lines)
    assert all(isinstance(reason.message, str) for reason in refusal.lines.values())


@pytest.mark.parametrize(
    ("found", "early"),
    [
        ({"status": "completed"}, "answers"),
        ({"status": "completed", "request_counts": {"completed": 2, "failed": 0}}, "answers"),
        ({"status": "completed", "request_counts": None, "error_file_id": "e"}, None),
        ({"request_counts": {"completed": 2, "failed": 1}, "error_file_id": "e"}, "answers"),
        ({"request_counts": {"completed": 2, "failed": 1}, "output_file_id": "o"}, "errors"),
        ({"request_counts": {"completed": 0, "failed": 3}, "error_file_id": "e"}, None),
        ({"request_counts": {"completed": 3, "failed": 0}, "output_file_id": "o"}, None),
        ({"status": "expired", "request_counts": {"completed": 1, "failed": 0}}, "answers"),
        ({"status": "cancelled", "request_counts": {"completed": 0, "failed": 0}}, None),
        ({"status": "in_progress", "request_counts": {"completed": 1, "failed": 0}}, None),
    ],
)
def test_a_batch_may_end_before_it_names_its_files(
    server: Server, of_openai: Any, found: Any, early: str | None
) -> None:
    server.reply("GET /v1/batches/b", batch(**{"status": "completed", **found}))
    assert of_openai.poll("b").early == early


@pytest.mark.parametrize(
    ("code", "message"),
    [
        ("server_error", "The server had an error."),
        (None, "Cannot find file file-1, or organization org-1 does not have access to it."),
    ],
)
def test_a_batch_that_failed_for_no_fault_of_its_rows_goes_again_whole(
    server: Server, of_openai: Any, code: object, message: str
) -> None:
    errors = {"data": [{"code": code, "message": message, "line": None}]}
    server.reply("GET /v1/batches/b", batch(status="failed", errors=errors))
    refusal = of_openai.poll("b").refusal
    assert (refusal.then, refusal.lines) == ("resend", {})
    assert refusal.delay_seconds > 0


@pytest.mark.parametrize("code", [429, "429"])
def test_a_numbered_code_is_a_text(server: Server, of_openai: Any, code: object) -> None:
    server.reply("GET /v1/batches/b", {"error": {"code": code, "message": 7}}, 429)
    with pytest.raises(ProviderError) as raised:
        of_openai.poll("b")
    assert raised.value.code == "429"


def test_a_numbered_type_is_a_text(server: Server, of_anthropic: Any) -> None:
    body = {"type": "error", "error": {"type": 5, "message": 7}}
    server.reply(f"GET {BATCHES}/b", body, 400)
    with pytest.raises(Refused) as raised:
        of_anthropic.poll("b")
    assert raised.value.code == "5"


@pytest.mark.parametrize("status", [400, 403, 404])
def test_a_model_that_is_not_there_fails_the_rows_at_once(
    server: Server, of_openai: Any, status: int
) -> None:
    error = {"code": "model_not_found", "message": "The model does not exist."}
    server.reply("POST /v1/batches", {"error": error}, status)
    with pytest.raises(Refused) as raised:
        of_openai.create(None, TAG, GROUP, ["f"], 1)
    assert raised.value.then == "fail"


@pytest.mark.parametrize(
    "message",
    [
        "cannot find file",
        "No such File object: file-1",
        "File 'file-1' not found.",
        "The file file-1 does not exist.",
        "File file-1 has not been processed yet.",
    ],
)
def test_a_file_that_is_not_seen_yet_is_no_refusal(
    server: Server, of_openai: Any, message: str
) -> None:
    server.reply("POST /v1/batches", {"error": {"code": None, "message": message}}, 400)
    with pytest.raises(NotVisible):
        of_openai.create(None, TAG, GROUP, ["file-1"], 1)


@pytest.mark.parametrize("message", ["Invalid value: '/v1/x'.", "The input file is too large."])
def test_what_is_wrong_is_refused(server: Server, of_openai: Any, message: str) -> None:
    server.reply("POST /v1/batches", {"error": {"code": None, "message": message}}, 400)
    with pytest.raises(Refused):
        of_openai.create(None, TAG, GROUP, ["file-1"], 1)


def test_an_empty_account_may_be_told_by_the_errors_type_alone(
    server: Server, of_openai: Any
) -> None:
    error = {"code": None, "type": "insufficient_quota", "message": "Pay."}
    server.reply("POST /v1/batches", {"error": error}, 429)
    with pytest.raises(AccountBlocked):
        of_openai.create(None, TAG, GROUP, ["f"], 1)


def test_a_list_that_begins_with_the_oldest_is_read_to_its_end(
    server: Server, of_openai: Any
) -> None:
    others = [batch(f"o{n}", created_at=THEN - 90_000 + n, metadata=None) for n in range(3)]
    server.reply("GET /v1/batches", listed(*others, more=True))
    server.reply("GET /v1/batches", listed(batch("ours")))
    assert of_openai.find_batches(TAG, SINCE, 1) == ["ours"]


def test_a_list_that_begins_with_the_newest_is_not_read_further_than_needed(
    server: Server, of_openai: Any
) -> None:
    old = [batch("o1", created_at=THEN - 5_000), batch("o2", created_at=THEN - 6_000)]
    server.reply("GET /v1/batches", listed(batch("ours"), *old, more=True))
    assert of_openai.find_batches(TAG, SINCE, 1) == ["ours"]
    assert len(server.requests) == 1


def test_a_list_that_always_answers_with_its_first_page_ends(
    server: Server, of_openai: Any, of_anthropic: Any
) -> None:
    server.reply("GET /v1/batches", listed(batch("ours"), more=True))
    assert of_openai.find_batches(TAG, SINCE, 1) == ["ours"]
    counts = {"processing": 1, "succeeded": 0, "errored": 0, "canceled": 0, "expired": 0}
    one = {
        "id": "b",
        "created_at": "2026-11-21T12:00:05",  # of which zone is not said
        "processing_status": "in_progress",
        "request_counts": counts,
    }
    page = {**listed(one, more=True), "first_id": "b", "last_id": "b"}
    server.reply(f"GET {BATCHES}", page)
    with pytest.raises(Unconfirmed):
        of_anthropic.find_batches(TAG, SINCE, 1)


@pytest.mark.parametrize(
    ("statuses", "found"),
    [
        (["in_progress", "cancelled"], ["b0"]),
        (["failed", "completed"], ["b1"]),
        (["cancelled"], ["b0"]),
        (["in_progress", "completed"], ["b0", "b1"]),
    ],
)
def test_of_several_batches_those_that_were_cancelled_do_not_count(
    server: Server, of_openai: Any, statuses: list[str], found: list[str]
) -> None:
    data = [batch(f"b{n}", status) for n, status in enumerate(statuses)]
    server.reply("GET /v1/batches", listed(*data))
    assert of_openai.find_batches(TAG, SINCE, 1) == found


def test_marks_that_are_no_object_are_nobodys(server: Server, of_openai: Any) -> None:
    server.reply("GET /v1/batches", listed(batch("x", metadata="mine"), batch("ours")))
    assert of_openai.find_batches(TAG, SINCE, 1) == ["ours"]


def test_a_batch_without_marks_is_known_by_its_input(server: Server, of_openai: Any) -> None:
    files = [
        {"id": "f1", "created_at": THEN, "filename": f"S.{TAG.job_id}.01-00002.1.jsonl"},
        {"id": "f2", "created_at": THEN, "filename": f"S.{TAG.job_id}.01-00003.1.jsonl"},
    ]
    server.reply("GET /v1/files", listed(*files))
    found = [
        batch("ours", metadata=None, input_file_id="f1"),
        batch("siblings", metadata=None, input_file_id="f2"),
        batch("others", metadata={"a": "b"}, input_file_id="f1"),
        batch("nobodys", metadata={}, input_file_id=None),
    ]
    server.reply("GET /v1/batches", listed(*found))
    assert of_openai.find_batches(TAG, SINCE, 1) == ["ours"]


def test_a_byte_order_mark_costs_no_answer(server: Server, of_openai: Any) -> None:
    server.reply("GET /v1/files/out/content", b"\xef\xbb\xbf" + ANSWER + b"\n" + ANSWER)
    assert list(rows_of(of_openai.answers(["out"]))) == [ANSWER, ANSWER]


def test_a_file_that_is_said_not_to_be_deleted_is_left(server: Server, of_openai: Any) -> None:
    server.reply("DELETE /v1/files/f", {"id": "f", "deleted": False})
    file = ProviderFile(
        job_id="j", shard_id="s", provider="openai", kind="k", id="f", created_at=SINCE
    )
    with pytest.raises(Unavailable):
        of_openai.delete(file)


ANSWER = b'{"custom_id": "r", "response": null}'


@pytest.mark.parametrize("body", [HTML, b'{"custom_id": "r", "resp', ANSWER + b'\n{"custom_id": "'])
def test_what_is_not_all_of_the_answers_is_asked_for_again(
    server: Server, of_openai: Any, of_anthropic: Any, body: bytes
) -> None:
    server.reply("GET /v1/files/out/content", body)
    server.reply(f"GET {BATCHES}/b/results", body)
    with pytest.raises(Unavailable):
        list(rows_of(of_openai.answers(["out"])))
    with pytest.raises(Unavailable):
        list(rows_of(of_anthropic.answers(["b"])))


@pytest.mark.parametrize(
    "body", [b"", b"\n \n", ANSWER, ANSWER + b"\nrubbish\n", b"[" * 9 + b"\n" + ANSWER + b"\r\n"]
)
def test_all_of_the_answers_are_read(server: Server, of_openai: Any, body: bytes) -> None:
    server.reply("GET /v1/files/out/content", body)
    lines = list(rows_of(of_openai.answers(["out"])))
    assert [line.strip() for line in lines if line.startswith(b"{")] == [ANSWER] * (ANSWER in body)


@pytest.mark.parametrize("url", ["/elsewhere/b.jsonl", "{server}/elsewhere/b.jsonl"])
def test_results_are_found_elsewhere_at_the_same_service(
    server: Server, of_anthropic: Any, url: str
) -> None:
    found = {"id": "b", "results_url": url.format(server=server.url)}
    server.reply(f"GET {BATCHES}/b", found)
    server.reply("GET /elsewhere/b.jsonl", ANSWER)
    assert list(rows_of(of_anthropic.answers(["b"]))) == [ANSWER]


@pytest.mark.parametrize("url", [None, "http://127.0.0.1:1/b.jsonl", "https://127.0.0.1/b"])
def test_the_key_goes_to_no_other_service(
    server: Server, of_anthropic: Any, url: str | None
) -> None:
    server.reply(f"GET {BATCHES}/b", {"id": "b", "results_url": url})
    with pytest.raises(ProviderError) as raised:
        list(rows_of(of_anthropic.answers(["b"])))
    assert raised.value.code == "http_404"


@pytest.mark.parametrize("key", ["two\nlines", "k\u00e9y", "\ufeffkey", "tab\tbed"])
def test_a_key_that_no_header_can_hold_is_none(key: str) -> None:
    for make in (openai.make_client, anthropic.make_client):
        with pytest.raises(KeyMissing) as raised:
            make(key, "")
        assert json.dumps(key) not in str(raised.value)
        assert raised.value.code == "bad_key"


ODD_LISTS = [
    HTML,
    [],
    listed(None),
    listed({}),
    listed("b"),
    {"data": None},
    {"data": {"id": "b0"}},
    listed({"id": "b0", "created_at": THEN, "status": None}),
    listed({"id": "b0", "processing_status": "in_progress", "created_at": "x"}, more=True),
]


@pytest.mark.parametrize("status", [200, 429, 500])
@pytest.mark.parametrize("odd", ODD_LISTS)
def test_a_list_that_is_none_tells_nothing(server: Server, odd: Any, status: int) -> None:
    """Each batch is asked itself then."""
    for path in ("/v1/batches", BATCHES):
        server.reply(f"GET {path}", odd, status=status)
    with (
        openai.make_client("k", f"{server.url}/v1") as one,
        anthropic.make_client("k", server.url) as other,
    ):
        for provider in (openai.OpenAIProvider(one), anthropic.AnthropicProvider(other)):
            for number in range(2 * MANY):
                assert provider.running(f"b{number}") is None
    asked = [call.partition("?")[0] for call, _, _ in server.requests]
    assert "GET /v1/batches" in asked
    assert f"GET {BATCHES}" in asked
