"""What a template may cost, and that no more than its row pays for it."""

from __future__ import annotations

import json
import time
from collections.abc import Iterator
from typing import Any

import pytest

from functions.recipes import process
from functions.recipes.process import RenderProcess
from functions.recipes.templates import MOST_CHARACTERS

BASE = {"provider": "openai", "endpoint": "/v1/chat/completions", "model": "m"}


@pytest.fixture
def started() -> Iterator[list[RenderProcess]]:
    made: list[RenderProcess] = []
    yield made
    for each in made:
        each.close()


def rendering(started: list[RenderProcess], prompt: str, row_seconds: float = 0.5) -> RenderProcess:
    recipe = json.dumps({**BASE, "prompt": prompt}).encode()
    made = RenderProcess(recipe, row_seconds=row_seconds)
    started.append(made)
    return made


def rows(*values: dict[str, Any]) -> list[bytes]:
    return [json.dumps(value).encode() for value in values]


def said(line: bytes) -> str:
    return json.loads(line)["body"]["messages"][-1]["content"]


LOOP = (
    "{% if n is defined %}{% for a in range(n) %}{% for b in range(n) %}{% endfor %}{% endfor %}"
    "{% endif %}{{ text }}"
)


def test_an_endless_loop_costs_its_row_and_no_other(started: list[RenderProcess]) -> None:
    maker = rendering(started, LOOP)
    good = [{"text": f"t{number}"} for number in range(5)]
    made = maker.make(rows(*good[:3], {"text": "slow", "n": 99_999}, *good[3:]))
    assert [each.code for each in made] == ["", "", "", "too_slow", "", ""]
    assert [said(each.line) for each in made if each.line] == [each["text"] for each in good]
    assert "more than 0.5 s" in made[3].message


@pytest.mark.parametrize(
    ("prompt", "code", "words"),
    [
        ("{% for i in range(10**9) %}x{% endfor %}", "template_error", "Range too big"),
        ("{{ 'a' * 10**9 }}", "template_error", "repetition is too long"),
        ("{{ 2 ** 1000000000 }}", "template_error", "power is too large"),
        ("{{ text | center(20000000000) }}", "template_error", "MemoryError"),
        ("{{ text | center(17000000) }}", "too_large", f"more than {MOST_CHARACTERS}"),
        (
            "{% set ns = namespace(s='aaaa') %}{% for i in range(60) %}"
            "{% set ns.s = ns.s ~ ns.s %}{% endfor %}{{ ns.s }}",
            "template_error",
            "MemoryError",
        ),
        ("{% macro f() %}{{ f() }}{% endmacro %}{{ f() }}", "template_error", "RecursionError"),
        ("{{ text.__class__.__mro__ }}", "template_error", "unsafe"),
        ("{{ row.clear() }}", "template_error", "SecurityError"),
        ("{{ missing_one }}", "missing_column", 'no column "missing_one"'),
    ],
)
def test_what_a_template_cannot_do(
    started: list[RenderProcess], prompt: str, code: str, words: str
) -> None:
    maker = rendering(started, prompt, row_seconds=30)
    [made] = maker.make(rows({"text": "t"}))
    assert made.line == b""
    assert made.code == code
    assert words in made.message


def test_after_some_rows_that_do_not_end_no_more_are_tried(
    started: list[RenderProcess], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(process, "MOST_STOPPED", 2)
    maker = rendering(started, LOOP)
    begun = time.monotonic()
    made = maker.make(rows(*[{"text": "slow", "n": 99_999}] * 50))
    assert {each.code for each in made} == {"too_slow"}
    assert "2 rows before it" in made[-1].message
    assert time.monotonic() - begun < 20


def test_a_process_that_dies_is_started_again(started: list[RenderProcess]) -> None:
    maker = rendering(started, "{{ text }}")
    maker.make(rows({"text": "a"}))
    maker._process.kill()  # type: ignore[union-attr]
    [made] = maker.make(rows({"text": "b"}, {"text": "c"}))[1:]
    assert said(made.line) == "c"


def test_a_process_is_told_nothing_of_ours(
    started: list[RenderProcess], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "secret")
    monkeypatch.setenv("LD_LIBRARY_PATH", "/somewhere")
    assert set(process._environment()) <= {"PATH", "LD_LIBRARY_PATH", "LANG", "SYSTEMROOT"} | {
        "PYTHONPATH"
    }


def test_a_recipe_that_cannot_be_compiled_after_all_is_no_rows_fault(
    started: list[RenderProcess],
) -> None:
    with pytest.raises(RuntimeError, match="did not start"):
        rendering(started, "{{ broken").make(rows({"text": "a"}))


def test_a_large_row_goes_through(started: list[RenderProcess]) -> None:
    maker = rendering(started, "{{ text }}")
    text = "x" * 3_000_000
    [made] = maker.make(rows({"text": text}))
    assert said(made.line) == text
