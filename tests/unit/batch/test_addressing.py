"""Whose answer a line is, told without reading it, and found out when it is read."""

from __future__ import annotations

import json

import pytest

from bench.shapes import PROVIDERS, spelled, templates
from functions.batch.collecting import addressing
from functions.batch.collecting.addressing import Addressing
from functions.batch.model import Shard
from functions.batch.ports import Dialect
from functions.batch.sending.shard_files import row_id
from functions.batch.streams.lines import row_key
from functions.handlers.provider_wiring import DIALECTS
from tests.support.twin_provider import TwinDialect

KEY = row_key(0, 17)
GENERATES = {
    "openai": ("/v1/chat/completions", "gpt-5-mini"),
    "anthropic": ("/v1/messages", "claude-haiku-4-5"),
    "vertex": ("generateContent", "gemini-2.5-flash"),
}


def a_shard(provider: str, shard_id: str = "01-00001") -> Shard:
    endpoint, model = GENERATES.get(provider, ("/twin", "m"))
    return Shard(
        job_id="01KAMNYR7Q-Q7XKD2HM",
        shard_id=shard_id,
        round=1,
        provider=provider,
        endpoint=endpoint,
        model=model,
        number=1,
        bytes=5,
        rows=1,
    )


def of(provider: str) -> tuple[Addressing, Shard]:
    dialects: dict[str, Dialect] = {each.provider: each for each in DIALECTS}
    shard = a_shard(provider)
    return Addressing(shard, dialects[provider]), shard


def answer(provider: str, identity: str, text: str = "fine") -> bytes:
    line = spelled(templates(provider)[0][1], identity.encode())
    said = json.loads(line)
    replies = {
        "openai": lambda: said["response"]["body"]["choices"][0]["message"].update(content=text),
        "anthropic": lambda: said["result"]["message"]["content"][0].update(text=text),
        "vertex": lambda: said["request"]["contents"][0]["parts"][0].update(text=text),
    }
    replies[provider]()
    return json.dumps(said).encode()


@pytest.mark.parametrize("provider", PROVIDERS)
def test_a_usual_line_is_not_read(provider: str, monkeypatch: pytest.MonkeyPatch) -> None:
    subject, shard = of(provider)
    line = answer(provider, row_id(shard, KEY, 2))
    compact = json.dumps(json.loads(line), separators=(",", ":")).encode()
    monkeypatch.setattr(addressing, "read", None)
    assert subject.key(line) == KEY.encode()
    assert subject.key(compact) == KEY.encode()


@pytest.mark.parametrize("provider", PROVIDERS)
def test_an_id_within_a_text_is_nobody_s(provider: str) -> None:
    subject, shard = of(provider)
    other = answer(provider, row_id(shard, row_key(0, 18), 1)).decode()
    line = answer(provider, row_id(shard, KEY, 1), text=other)
    for each in (line, json.dumps(dict(reversed(json.loads(line).items()))).encode()):
        assert subject.key(each) == KEY.encode()
        found = subject.answer(KEY.encode(), each)
        assert found is not None
        assert found.id == row_id(shard, KEY, 1)


@pytest.mark.parametrize("provider", PROVIDERS)
def test_a_line_that_is_not_the_shard_s_answer_has_no_key(provider: str) -> None:
    subject, shard = of(provider)
    good = answer(provider, row_id(shard, KEY, 1))
    lines = [
        answer(provider, row_id(a_shard(provider, "01-00002"), KEY, 1)),
        answer(provider, row_id(shard, "000000-00000000x", 1)),
        answer(provider, f"x{row_id(shard, '1', 1)}"),
        answer(provider, "mine"),
        good[:-40],
        b"",
        b"null",
        b"<html>",
    ]
    assert [subject.key(line) for line in lines] == [None] * len(lines)
    assert subject.answer(KEY.encode(), good[:-1]) is None


@pytest.mark.parametrize("provider", PROVIDERS)
def test_what_is_read_has_the_last_word(provider: str) -> None:
    """A line with a second id deeper in it, which is another row's."""
    subject, shard = of(provider)
    mark = {"vertex": "batchdrop_row"}.get(provider, "custom_id")
    said = {"metadata": {mark: row_id(shard, KEY, 1)}}
    said |= json.loads(answer(provider, row_id(shard, row_key(0, 18), 1)))
    line = json.dumps(said).encode()
    assert subject.key(line) == KEY.encode()
    assert subject.answer(KEY.encode(), line) is None
    assert subject.answer(row_key(0, 18).encode(), line) is not None


@pytest.mark.parametrize("provider", PROVIDERS)
def test_usual_answers_are_those_of_their_rows(provider: str) -> None:
    subject, shard = of(provider)
    keys = [row_key(0, number) for number in range(17, 24)]
    lines = [answer(provider, row_id(shard, key, 1)) for key in keys]
    lines[1] = answer(provider, row_id(shard, row_key(0, 99), 1))
    lines[2] = answer(provider, row_id(a_shard(provider, "01-00002"), keys[2], 1))
    lines[3] = lines[3].replace(b"fine", b"fi\xffne")
    lines[4] = lines[4][:-1]
    given = [*lines[:6], None]
    found = subject.usual_answers([key.encode() for key in keys], given)
    assert [each is not None for each in found] == [True, *[False] * 4, True, False]
    for key, line, each in zip(keys, given, found, strict=True):
        assert each is None or each.in_full() == subject.answer(key.encode(), line or b"")


def test_what_comes_as_it_did_before_is_not_read(monkeypatch: pytest.MonkeyPatch) -> None:
    subject, shard = of("openai")
    line = answer("openai", row_id(shard, KEY, 1))
    monkeypatch.setattr(addressing, "read", None)
    assert subject.better(line, bytes(bytearray(line))) == line


def test_the_answer_that_succeeded_stays_else_the_last() -> None:
    shard = a_shard("twin")
    subject = Addressing(shard, TwinDialect("twin"))

    def said(verdict: str, text: str) -> bytes:
        found = {"id": row_id(shard, KEY, 1), "verdict": verdict, "text": text}
        return json.dumps(found).encode()

    good, again, failed, broken = (
        said("succeeded", "a"),
        said("again", "b"),
        said("failed", "c"),
        b'{"id":',
    )
    assert subject.better(good, failed) == good
    assert subject.better(good, said("succeeded", "d")) == good
    assert subject.better(failed, good) == good
    assert subject.better(again, failed) == failed
    assert subject.better(failed, again) == again
    assert subject.better(failed, broken) == failed
    assert subject.better(broken, failed) == failed
