"""From a recipe file's bytes to plain values: YAML or JSON, each only as far as JSON goes.

YAML is read by the rules of its version 1.2, so that `off` is a word and `12:30` is no number.
Anchors are refused: a few lines of them can stand for more than fits anywhere.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from typing import Any, ClassVar, cast

import yaml

MOST_BYTES = 256 * 1024
_MOST_LEVELS = 50
_LARGEST = 2**63


class Unreadable(ValueError):
    """Why a file is no YAML, or no JSON, as a sentence without its subject."""


_YAML = "tag:yaml.org,2002:"
_TAGS = (None, "!", f"{_YAML}str", f"{_YAML}seq", f"{_YAML}map")
"""Others stand for what is not in JSON, or for a text that may be none of their kind."""


class _Loader(yaml.SafeLoader):
    yaml_implicit_resolvers: ClassVar[dict[str, Any]] = {}  # pyright: ignore

    def compose_node(self, parent: Any, index: Any) -> Any:
        if self.check_event(yaml.AliasEvent):  # pyright: ignore[reportUnknownMemberType]
            event = cast("Any", self).peek_event()
            line: int = event.start_mark.line + 1
            raise Unreadable(f"has an alias (*) in line {line}: write the value out.")
        event = cast("Any", self).peek_event()
        if event.tag not in _TAGS:
            line = event.start_mark.line + 1
            tag = event.tag.replace(_YAML, "!!")
            raise Unreadable(f"has a tag ({tag}) in line {line}: leave it out.")
        return super().compose_node(parent, index)  # pyright: ignore

    def construct_mapping(self, node: Any, deep: bool = False) -> dict[Any, Any]:
        seen: dict[str, int] = {}
        for key_node, _ in node.value:
            line = key_node.start_mark.line + 1
            if not isinstance(key_node, yaml.ScalarNode):
                raise Unreadable(
                    f"has a brace where no key can be, in line {line}: put a text that begins "
                    "with {{ into quotes."
                )
            if key_node.tag != "tag:yaml.org,2002:str":
                raise Unreadable(
                    f"has the key {key_node.value!r} in line {line}, which is no text: quote it."
                )
            if key_node.value in seen:
                raise Unreadable(
                    f'has the key "{key_node.value}" twice, in lines {seen[key_node.value]} and '
                    f"{line}."
                )
            seen[key_node.value] = line
        return super().construct_mapping(node, deep=deep)  # pyright: ignore


for _tag, _pattern, _first in (
    ("null", r"~|null|Null|NULL|", [*"~nN", ""]),
    ("bool", r"true|True|TRUE|false|False|FALSE", [*"tTfF"]),
    ("int", r"[-+]?[0-9]+", [*"-+0123456789"]),
    ("float", r"[-+]?(?:\.[0-9]+|[0-9]+(?:\.[0-9]*)?)(?:[eE][-+]?[0-9]+)?", [*"-+.0123456789"]),
):
    _Loader.add_implicit_resolver(  # pyright: ignore[reportUnknownMemberType]
        f"tag:yaml.org,2002:{_tag}", re.compile(f"(?:{_pattern})\\Z"), _first
    )


def _scalar(make: Callable[[str], object]) -> Callable[[Any, Any], object]:
    return lambda loader, node: make(loader.construct_scalar(node))


for _tag, _make in (("int", int), ("float", float)):
    _Loader.add_constructor(  # pyright: ignore[reportUnknownMemberType]
        f"tag:yaml.org,2002:{_tag}", _scalar(_make)
    )


def read(name: str, data: bytes) -> dict[str, Any]:
    """The recipe's keys. Raises `Unreadable`."""
    if len(data) > MOST_BYTES:
        raise Unreadable(
            f"has more than {MOST_BYTES // 1024} KiB, which is what a recipe may have."
        )
    try:
        text = data.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise Unreadable(f"is not UTF-8 (byte {error.start}): save it as UTF-8.") from error
    try:
        value = _from_json(text) if name.endswith(".json") else _from_yaml(text)
    except RecursionError as error:
        raise Unreadable(f"is nested more than {_MOST_LEVELS} levels deep.") from error
    except ValueError as error:
        if isinstance(error, Unreadable):
            raise
        raise Unreadable("holds a number that is too long.") from error
    if value is None:
        raise Unreadable("is empty.")
    if not isinstance(value, dict):
        raise Unreadable('holds no keys: a recipe is a list of lines such as "model: gpt-5-mini".')
    _check_values(cast("object", value), _MOST_LEVELS)
    return cast("dict[str, Any]", value)


def _from_yaml(text: str) -> object:
    try:
        return yaml.load(text, _Loader)
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        where = f"line {mark.line + 1}, column {mark.column + 1}: " if mark is not None else ""
        raise Unreadable(f"is not YAML: {where}{error.problem}.") from error
    except yaml.YAMLError as error:
        raise Unreadable(f"is not YAML: {' '.join(str(error).split())}.") from error


def _from_json(text: str) -> object:
    try:
        return json.loads(
            text or "null", object_pairs_hook=_without_repeats, parse_constant=_no_constant
        )
    except json.JSONDecodeError as error:
        raise Unreadable(
            f"is not JSON: line {error.lineno}, column {error.colno}: {error.msg}."
        ) from error


def _without_repeats(pairs: list[tuple[str, object]]) -> dict[str, object]:
    found = dict(pairs)
    if len(found) < len(pairs):
        names = [name for name, _ in pairs]
        twice = next(name for name in names if names.count(name) > 1)
        raise Unreadable(f'has the key "{twice}" twice in one object.')
    return found


def _no_constant(word: str) -> object:
    raise Unreadable(f"holds {word}, which is no number in JSON.")


def _check_values(value: object, levels: int) -> None:
    if not levels:
        raise Unreadable(f"is nested more than {_MOST_LEVELS} levels deep.")
    if isinstance(value, (int, float)) and abs(value) > _LARGEST:
        raise Unreadable("holds a number that is too long.")
    if isinstance(value, str) and not value.isascii():
        _check_text(value)
    if isinstance(value, dict):
        for name, each in cast("dict[str, object]", value).items():
            _check_text(name)
            _check_values(each, levels - 1)
    elif isinstance(value, list):
        for each in cast("list[object]", value):
            _check_values(each, levels - 1)


def _check_text(text: str) -> None:
    try:
        text.encode()
    except UnicodeEncodeError as error:
        raise Unreadable("holds half of a character (a lone surrogate such as \\ud83d).") from error
