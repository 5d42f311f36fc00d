"""Estimates against recorded counts of a real tokenizer."""

from __future__ import annotations

import json
import random

import pytest

from bench.calibrate import errors
from functions.batch.reading.tokens import SAMPLE, json_tokens, text_tokens, unindented
from tests.support.corpus import KINDS, PASSAGES, of

PROSE = " ".join(passage.text for passage in of("english"))


def test_the_corpus_has_what_it_should() -> None:
    assert len(KINDS) >= 20
    for kind in KINDS:
        held_out = [passage for passage in of(kind) if passage.held_out]
        assert len(held_out) >= 4, kind
        assert sum(passage.tokens for passage in held_out) >= 150, kind


@pytest.mark.parametrize("held_out", [False, True], ids=["fitted", "held out"])
def test_each_language_and_kind_is_met_within_ten_percent(held_out: bool) -> None:
    found = errors([passage for passage in PASSAGES if passage.held_out is held_out])
    assert {kind: error for kind, (_, error) in found.items() if abs(error) > 0.1} == {}


def test_no_passage_is_far_off() -> None:
    for passage in PASSAGES:
        assert text_tokens(passage.text) == pytest.approx(passage.tokens, rel=0.35), passage


@pytest.mark.parametrize("kind", KINDS)
def test_a_long_text_is_estimated_like_its_pieces(kind: str) -> None:
    """Of which it is a sample, and a sample of a sample."""
    passages = of(kind)
    tokens = sum(passage.tokens for passage in passages)
    text = "\n".join(passage.text for passage in passages)
    for times in (1, 50):
        estimate = text_tokens("\n".join([text] * times))
        assert estimate == pytest.approx(times * tokens, rel=0.15)


def test_many_rows_of_any_length_sum_up_right() -> None:
    """Of a row every second to fourth character is read; over many rows the error vanishes."""
    chance = random.Random(3)
    whole = few = 0.0
    for _ in range(400):
        at, length = chance.randrange(1_000), chance.randrange(350, 1_400)
        text = PROSE[at : at + length]
        few += text_tokens(text)
        pieces = [text[start : start + SAMPLE] for start in range(0, len(text), SAMPLE)]
        whole += sum(map(text_tokens, pieces))
    assert few == pytest.approx(whole, rel=0.02)


def test_the_heaviest_sample_does_not_wrap_the_sum() -> None:
    for character in ("\N{GRINNING FACE}", "\U000f0000", "\x07", "Q", "\u3042", "9", "{"):
        one = text_tokens(character * 8)
        assert one > 0
        assert text_tokens(character * SAMPLE) == pytest.approx(one * SAMPLE / 8)


def test_nothing_is_nothing() -> None:
    assert text_tokens("") == 0
    assert 0 <= text_tokens(" ") <= 1


def test_indentation_costs_next_to_nothing() -> None:
    code = "def f():\n" + "    return 1\n" * 20
    deep = code.replace("    ", " " * 16)
    assert text_tokens(deep) == pytest.approx(text_tokens(code), rel=0.25)
    assert unindented("a  b\n        c\n            d") == "a b\n c\n  d"


def test_json_counts_without_the_writers_spaces_and_escapes() -> None:
    value = {"name": "größe", "enum": ["a", "b"], "at": 1.5}
    compact = json.dumps(value, ensure_ascii=False, separators=(",", ":")).encode()
    assert json_tokens(json.dumps(value, indent=8).encode()) == json_tokens(compact) > 5
    huge = b'{"a": 1e999, "b": "\xc3\xa4"}'
    assert json_tokens(huge) > 5
    deep = b"[" * 5_000 + b"]" * 5_000
    assert json_tokens(deep) > 100
    large = json.dumps([value] * 1_000).encode()
    assert json_tokens(large) == pytest.approx(1_000 * json_tokens(compact), rel=0.25)
