"""Whose answer a line is: usual ones are read at once, of others no more than their id."""

from __future__ import annotations

import json
from contextlib import closing
from pathlib import Path

import pytest

from bench.shapes import PROVIDERS, spelled, templates
from functions.batch.collecting import addressing
from functions.batch.collecting.addressing import Addressing
from functions.batch.collecting.answer_spool import AnswerSpool
from functions.batch.collecting.endings import Ending, Endings
from functions.batch.model import Shard
from functions.batch.ports import Dialect
from functions.batch.pricing import Meter
from functions.batch.rows import Answer
from functions.batch.sending.shard_files import row_id
from functions.batch.streams.lines import row_key
from functions.handlers.provider_wiring import DIALECTS
from tests.support.answers import in_full
from tests.support.twin_provider import TwinDialect

KEY = row_key(0, 17)
USUAL = Ending(b"a line's end", True, 0, 0, 0, 1, 1, None)
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


def found_in(subject: Addressing, block: bytes) -> list[tuple[bytes, Answer | bytes]]:
    """With their keys, what usual answers say, and the lines of the others."""
    found: list[tuple[bytes, Answer | bytes]] = []
    for each in subject.read(block):
        found += zip(each.keys, map(in_full, each.answers.usual()), strict=True)
        found += zip(each.line_keys, each.lines, strict=True)
    return found


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
@pytest.mark.parametrize("usual", [True, False])
def test_an_id_deeper_in_the_line_is_not_taken_for_its_own(provider: str, *, usual: bool) -> None:
    """Another row's, before the one that counts."""
    subject, shard = of(provider)
    mark = {"vertex": "batchdrop_row"}.get(provider, "custom_id")
    said = {"metadata": {mark: row_id(shard, KEY, 1)}}
    said |= json.loads(answer(provider, row_id(shard, row_key(0, 18), 1)))
    line = json.dumps(said).encode()
    line = line if usual else line.replace(b"fine", b"fi\tne")
    ((key, found),) = found_in(subject, line)
    assert key == row_key(0, 18).encode()
    assert isinstance(found, Answer) == usual
    assert subject.answer(KEY.encode(), line) is None
    assert subject.answer(key, line) is not None


@pytest.mark.parametrize("provider", PROVIDERS)
@pytest.mark.parametrize("odd", [None, b"", b"null", b"<html>", b" ", b'{"a":1} {"b":2}', b"{"])
@pytest.mark.parametrize("broken", [False, True])
def test_a_block_comes_to_what_its_lines_come_to(
    provider: str, odd: bytes | None, *, broken: bool
) -> None:
    """Usual ones among them, and others."""
    subject, shard = of(provider)
    keys = [row_key(0, number) for number in range(17, 24)]
    lines = [answer(provider, row_id(shard, key, 1)) for key in keys]
    expected = {key.encode(): line for key, line in zip(keys, lines, strict=True)}
    lines.insert(3, answer(provider, row_id(a_shard(provider, "01-00002"), keys[2], 1)))
    lines.insert(5, answer(provider, row_id(shard, "000000-00000000x", 1)))
    if odd is not None:
        lines[2:2] = [odd]
    if broken:
        lines[-1] = expected[keys[-1].encode()] = lines[-1].replace(b"fine", b"fi\xffne")
    found = dict(found_in(subject, b"\n".join(lines)))
    assert found.keys() == expected.keys()
    for key, said in found.items():
        read = subject.answer(key, expected[key])
        assert read is not None
        if isinstance(said, Answer):
            assert said == read
        else:
            assert broken
            assert subject.answer(key, said) == read


def test_a_value_on_two_lines_does_not_move_the_others() -> None:
    """Nor do two on one line make up for it: each counts, as both were paid."""
    subject, shard = of("openai")
    first, second, third = (row_key(0, number) for number in (17, 18, 19))
    whole = {key: answer("openai", row_id(shard, key, 1)) for key in (first, second, third)}
    failed = answer("openai", row_id(shard, third, 1)).replace(b": 200", b": 500")
    cut = whole[first].index(b'"response"')
    broken = [whole[first][:cut], whole[first][cut:]]
    for lines, keys in (
        ([*broken, whole[second], failed], [second, third]),
        ([*broken, whole[second] + b" " + whole[first], failed], [first, second, third]),
    ):
        found = dict(found_in(subject, b"\n".join(lines)))
        assert found.get(third.encode()) == failed
        assert sorted(found) == [key.encode() for key in keys]


@pytest.mark.parametrize("provider", PROVIDERS)
@pytest.mark.parametrize("others", [[], ["fine"], ["fine", "fi\tne"]])
def test_no_response_has_a_newline(provider: str, others: list[str]) -> None:
    """It would be several lines of results."""
    subject, shard = of(provider)
    keys = [row_key(0, number) for number in range(17, 20)]
    printed = json.dumps(json.loads(answer(provider, row_id(shard, keys[0], 1))), indent=1).encode()
    lines = [
        answer(provider, row_id(shard, key, 1), text)
        for key, text in zip(keys[1:], others, strict=False)
    ]
    found = dict(found_in(subject, b"\n".join([printed, *lines])))
    assert [*found] == [key.encode() for key in keys[1:]][: len(others)]
    for said in found.values():
        assert not isinstance(said, Answer) or b"\n" not in said.response


@pytest.mark.parametrize("provider", PROVIDERS)
@pytest.mark.parametrize("size", [1_000, 1_000_000])
def test_a_large_answer_is_kept_as_it_came(provider: str, size: int) -> None:
    """What it says is its response and, once more, its text."""
    subject, shard = of(provider)
    large = answer(provider, row_id(shard, KEY, 1), text="x" * size)
    ((key, said),) = found_in(subject, large)
    assert key == KEY.encode()
    assert isinstance(said, Answer) == (size == 1_000)
    assert subject.answer(KEY.encode(), large) is not None


@pytest.mark.parametrize("provider", PROVIDERS)
def test_an_id_with_bytes_that_are_no_text_is_nobody_s(provider: str) -> None:
    subject, shard = of(provider)
    line = answer(provider, row_id(shard, KEY, 1)).replace(b"r000000-", b"r\xff00000-")
    assert found_in(subject, line) == []


def test_what_comes_as_it_did_before_is_not_read(monkeypatch: pytest.MonkeyPatch) -> None:
    subject, shard = of("openai")
    line = answer("openai", row_id(shard, KEY, 1))
    monkeypatch.setattr(addressing, "read", None)
    assert subject.better(line, bytes(bytearray(line))) == line
    assert subject.better(USUAL, line) is USUAL


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
    assert subject.better(USUAL, failed) is USUAL
    assert subject.better(failed, USUAL) is USUAL
    assert subject.better(good, USUAL) is USUAL


@pytest.mark.parametrize("turned", [False, True])
@pytest.mark.parametrize("blocks", [1, 2])
def test_how_answers_come_in_blocks_does_not_matter(
    tmp_path: Path, *, blocks: int, turned: bool
) -> None:
    """Of two that succeeded, one is cut."""
    subject, shard = of("openai")
    usual = answer("openai", row_id(shard, KEY, 1), text="whole")
    cut = answer("openai", row_id(shard, KEY, 1)).replace(b'"stop"', b'"length"')
    lines = [cut, usual] if turned else [usual, cut]
    endings = Endings(shard, Meter(None))
    with closing(AnswerSpool(tmp_path, subject.better)) as spool:
        for block in [b"\n".join(lines)] if blocks == 1 else lines:
            for found in subject.read(block):
                spool.add_endings(found.keys, endings.of(found.answers))
                spool.add_lines(found.line_keys, found.lines)
        ((kept,),) = spool.find_all([KEY.encode()])
    assert isinstance(kept, Ending)
    assert kept.in_full().text == b'"whole"'
