from __future__ import annotations

import json
import signal
import time
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest

from functions.batch.errors import NotChecked
from functions.recipes.schemas import BadSchema, check, checker, inlined, is_strict
from functions.recipes.stopping import Patience, TooSlow

TREE = {
    "type": "object",
    "properties": {"next": {"$ref": "#"}, "name": {"$ref": "#/$defs/a~1b"}},
    "$defs": {"a/b": {"type": "string"}},
}


@pytest.mark.parametrize(
    ("schema", "path", "words"),
    [
        ({"type": "object", "properties": {"a": {"type": 5}}}, ".properties.a.type", "no JSON"),
        ({"type": "object", "items": {"$ref": "http://x/y"}}, ".items.$ref", "lies elsewhere"),
        ({"type": "object", "items": {"$ref": "#/$defs/no"}}, ".$ref", "nothing lies at"),
        ({"type": "array"}, ".type", '"type": "object"'),
    ],
)
def test_a_schema_that_cannot_be_used(schema: dict[str, Any], path: str, words: str) -> None:
    with pytest.raises(BadSchema, match=words) as raised:
        check(schema, of_object=True)
    assert raised.value.path == path


def test_one_that_refers_to_itself_can_be_checked_but_not_written_out() -> None:
    check(TREE, of_object=True)
    with pytest.raises(BadSchema, match="refers to itself"):
        inlined(TREE)
    misfit = checker(json.dumps(TREE).encode())
    assert misfit(json.dumps('{"next": {"name": "x"}}').encode()) is None
    assert misfit(json.dumps('{"next": {"name": 5}}').encode()) is not None


def test_definitions_of_definitions_do_not_explode() -> None:
    levels = {f"d{n}": {"anyOf": [{"$ref": f"#/$defs/d{n + 1}"}] * 2} for n in range(20)}
    schema = {"type": "object", "$defs": {**levels, "d20": {}}, "items": {"$ref": "#/$defs/d0"}}
    with pytest.raises(BadSchema, match="too large"):
        inlined(schema)


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ('{"kind": "bug"}', None),
        ('{"kind": "other"}', "kind: 'other' is not one of"),
        ("{}", "'kind' is a required property"),
        ("bug", "is not JSON"),
        ('{"kind": "bug"', "is not JSON"),
        ("[" * 5_000, "is not JSON"),
        (None, "has no text"),
    ],
)
def test_whether_an_answer_fits(text: str | None, words: str | None) -> None:
    schema = {"type": "object", "properties": {"kind": {"enum": ["bug"]}}, "required": ["kind"]}
    told = checker(json.dumps(schema).encode())(json.dumps(text).encode())
    assert told is None if words is None else words in (told or "")


@pytest.mark.parametrize(
    ("step", "number", "fits"),
    [
        (0.01, "19.99", True),
        (0.01, "1.1", True),
        (0.1, "0.3", True),
        (0.01, "-4.35", True),
        (1e-300, "1e308", True),
        (5, "10.0", True),
        (3, "123456789012345678901234566", True),
        (0.01, "19.995", False),
        (5, "7", False),
        (0.5, "true", True),
        (0.5, '"7"', True),
    ],
)
def test_a_multiple_is_one_of_decimals(step: float, number: str, fits: bool) -> None:
    """Prices are given in hundredths, and no double is one: such an answer was paid for twice."""
    schema = {"type": "object", "properties": {"n": {"multipleOf": step}}}
    misfit = checker(json.dumps(schema).encode())(json.dumps(f'{{"n": {number}}}').encode())
    assert misfit is None if fits else "is not a multiple of" in (misfit or "")


@pytest.mark.parametrize(
    "schema",
    [
        {"properties": {"a": {"$ref": "#/properties/a"}}},
        {"properties": {"a": {"$dynamicRef": "http://x/y"}}},
        {"properties": {"a": {"$id": "b", "$ref": "#/$defs/c"}}, "$defs": {"c": {}}},
    ],
)
def test_an_answer_is_not_to_blame_for_its_schema(schema: dict[str, Any]) -> None:
    """To ask again for what cannot be checked would pay twice for nothing."""
    check({"type": "object", **schema}, of_object=True)
    with pytest.raises(NotChecked, match="could not be held against the schema"):
        checker(json.dumps(schema).encode())(json.dumps('{"a": 1}').encode())


@pytest.mark.parametrize(
    ("schema", "strict"),
    [
        ({"type": "object", "properties": {}, "additionalProperties": False}, True),
        ({"type": "object", "properties": {"a": {}}, "additionalProperties": False}, False),
        ({"type": "object"}, False),
        (
            {
                "type": "object",
                "properties": {"a": {"type": "object"}},
                "required": ["a"],
                "additionalProperties": False,
            },
            False,
        ),
    ],
)
def test_what_openais_strict_mode_takes(schema: dict[str, Any], strict: bool) -> None:
    assert is_strict(schema) == strict


CATASTROPHIC = {"type": "object", "properties": {"a": {"type": "string", "pattern": "^(a+)+$"}}}
ENDLESS = json.dumps(json.dumps({"a": "a" * 40 + "!"})).encode()
GOOD = json.dumps(json.dumps({"a": "aaa"})).encode()
PATIENCE = {"seconds": 0.2, "total": 0.5}


@pytest.mark.parametrize(
    "schema",
    [
        CATASTROPHIC,
        {"type": "object", "patternProperties": {"^(a+)+$": {}}},
        {"type": "object", "patternProperties": {"^(a+)+$": {}}, "additionalProperties": False},
    ],
)
def test_a_pattern_that_does_not_end_is_stopped(schema: dict[str, Any]) -> None:
    endless = ENDLESS if "properties" in schema else json.dumps(json.dumps({"a" * 40 + "!": 1}))
    misfit = checker(json.dumps(schema).encode(), Patience(**PATIENCE))
    began = time.monotonic()
    with pytest.raises(NotChecked, match=r"stopped after 0\.2 s"):
        misfit(endless if isinstance(endless, bytes) else endless.encode())
    assert time.monotonic() - began < 2
    assert misfit(GOOD) is None, "the next one is held against it"


def test_after_some_that_do_not_end_no_more_are_tried() -> None:
    misfit = checker(json.dumps(CATASTROPHIC).encode(), Patience(**PATIENCE))
    for _ in range(3):
        with pytest.raises(NotChecked):
            misfit(ENDLESS)
    began = time.monotonic()
    for answer in (ENDLESS, GOOD):
        with pytest.raises(NotChecked, match="others before it took too long"):
            misfit(answer)
    assert time.monotonic() - began < 0.1


def test_many_that_are_slow_are_stopped_together() -> None:
    patience = Patience(seconds=1, total=0.03)
    for _ in range(3):
        patience.run(lambda: time.sleep(0.01))
    with pytest.raises(TooSlow):
        patience.run(lambda: None)


def test_no_alarm_is_left_behind() -> None:
    def mine(*_: object) -> None: ...

    before = signal.signal(signal.SIGALRM, mine)
    try:
        patience = Patience(seconds=0.05)
        patience.run(lambda: None)
        assert signal.getsignal(signal.SIGALRM) is mine
        assert signal.getitimer(signal.ITIMER_REAL) == (0.0, 0.0)
        with pytest.raises(ZeroDivisionError):
            patience.run(lambda: 1 // 0)
        with pytest.raises(TooSlow):
            patience.run(lambda: time.sleep(1))
        assert signal.getsignal(signal.SIGALRM) is mine
    finally:
        signal.signal(signal.SIGALRM, before)


def test_in_another_thread_nothing_is_stopped() -> None:
    with ThreadPoolExecutor(1) as pool:
        assert pool.submit(Patience(seconds=0.01).run, lambda: time.sleep(0.05) or 5).result() == 5


@pytest.mark.parametrize(
    ("schema", "path"),
    [
        ({"properties": {"a": {"pattern": "("}}}, ".properties.a.pattern"),
        ({"properties": {"a": {"pattern": r"\p{L}"}}}, ".properties.a.pattern"),
        ({"patternProperties": {"[": {}}}, ".patternProperties"),
    ],
)
def test_a_pattern_that_python_cannot_read_is_refused(schema: dict[str, Any], path: str) -> None:
    with pytest.raises(BadSchema, match="is not a 'regex'") as raised:
        check({"type": "object", **schema}, of_object=True)
    assert raised.value.path == path


def test_a_property_called_pattern_is_none() -> None:
    check({"type": "object", "properties": {"pattern": {"type": "string"}}}, of_object=True)
