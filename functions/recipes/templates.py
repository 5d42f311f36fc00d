"""What a template may do: Jinja2's immutable sandbox, with a row's columns in scope.

The sandbox keeps a template away from Python; it does not bound what it costs. The process that
renders does (`functions.recipes.process`); what is refused here gets a better sentence.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from functools import partial
from typing import Any

from jinja2 import (
    StrictUndefined,
    TemplateSyntaxError,
    Undefined,
    UndefinedError,
    nodes,
    pass_context,
)
from jinja2.parser import Parser
from jinja2.runtime import Context, TemplateReference
from jinja2.sandbox import ImmutableSandboxedEnvironment
from jinja2.utils import missing

MOST_CHARACTERS = 16 * 1024 * 1024
"""Of one rendered text: above what any model reads."""

_MARKS = ("{{", "{%", "{#")
_MOST_BITS = 4_096
_ELSEWHERE = (nodes.Include, nodes.Import, nodes.FromImport, nodes.Extends)


class BadTemplate(ValueError):
    """Why a text is no template, or no expression, that can be rendered."""


class MissingColumn(Exception):
    """A row lacks a column that a template uses. `name` is null for a part of a value."""

    def __init__(self, name: str | None, message: str) -> None:
        super().__init__(message)
        self.name = name


class _Missing(StrictUndefined):
    """Raises `MissingColumn` wherever it is used, and says which column it was."""

    __slots__ = ()

    def __init__(
        self,
        hint: str | None = None,
        obj: Any = missing,
        name: str | None = None,
        exc: Any = UndefinedError,
    ) -> None:
        if exc is UndefinedError:
            exc = partial(MissingColumn, name if obj is missing else None)
        super().__init__(hint, obj, name, exc)


@pass_context
def _plain(_: Context, value: object) -> object:
    """A null prints as nothing. It takes the context, so that no constant is rendered, however
    large it may be, while a template is compiled."""
    if value is None:
        return ""
    if not isinstance(value, (str, Undefined)):
        _check_printed(value)
    return value


def _check_printed(value: object) -> None:
    """What Python would tell of itself, such as <built-in method items of dict object at 0x7f…>,
    is nothing that anybody wants to ask."""
    if callable(value) or isinstance(value, TemplateReference):
        raise TypeError(
            f"{getattr(value, '__name__', 'self')} is a function here, no text; a column or a key "
            'of that name is reached by ["…"]'
        )
    if isinstance(value, Iterator):
        raise TypeError("what a filter such as map gives is no text; add | list or | join")


def _json(value: object, indent: int | None = None) -> str:
    """Jinja2's own writes every other letter than ASCII's, and what HTML has a use for, as an
    escape: six characters that are paid for."""
    return json.dumps(
        value, ensure_ascii=False, sort_keys=True, indent=indent, default=_without_json
    )


def _without_json(value: object) -> object:
    if isinstance(value, Undefined):
        str(value)  # says which column is missing
    raise TypeError(f"{type(value).__name__} cannot be written as JSON")


class _Environment(ImmutableSandboxedEnvironment):
    intercepted_binops = frozenset({"*", "**"})

    def call_binop(self, context: Context, operator: str, left: Any, right: Any) -> Any:
        if operator == "*":
            _check_product(left, right)
        elif _bits(left, right) > _MOST_BITS:
            raise OverflowError("the power is too large")
        return super().call_binop(context, operator, left, right)


def _bits(base: Any, exponent: Any) -> int:
    if isinstance(base, int) and isinstance(exponent, int):
        return max(base.bit_length(), 1) * abs(exponent)
    return 0


def _check_product(left: Any, right: Any) -> None:
    for many, times in ((left, right), (right, left)):
        if isinstance(many, (str, list, tuple)) and isinstance(times, int):
            size = len(many)  # pyright: ignore[reportUnknownArgumentType]
            if size * times > MOST_CHARACTERS:
                raise OverflowError("the repetition is too long")


def is_template(text: str) -> bool:
    """Whether rendering a text may change it."""
    return any(mark in text for mark in _MARKS)


def environment() -> ImmutableSandboxedEnvironment:
    made = _Environment(
        undefined=_Missing,
        finalize=_plain,
        autoescape=False,
        optimized=False,
        keep_trailing_newline=True,
        cache_size=0,
    )
    for name in ("lipsum", "cycler", "joiner"):
        del made.globals[name]
    made.filters["tojson"] = _json
    return made


_CHECKING = environment()


def check_template(source: str) -> None:
    """Raises `BadTemplate`. Nothing is compiled, so nothing can run."""
    try:
        tree = _CHECKING.parse(source)
    except TemplateSyntaxError as error:
        raise BadTemplate(f"{_words(error)} (line {error.lineno})") from error
    except RecursionError as error:
        raise BadTemplate("it is nested too deeply") from error
    _check_names(tree)


def check_expression(source: str) -> None:
    """Raises `BadTemplate` for what is no single expression."""
    try:
        parser = Parser(_CHECKING, source, state="variable")
        tree = parser.parse_expression()
        if not parser.stream.eos:
            raise BadTemplate("it goes on after the expression")
    except TemplateSyntaxError as error:
        raise BadTemplate(_words(error)) from error
    except RecursionError as error:
        raise BadTemplate("it is nested too deeply") from error
    _check_names(tree)


def _words(error: TemplateSyntaxError) -> str:
    return (error.message or "it cannot be read").rstrip(".")


def _check_names(tree: nodes.Node) -> None:
    for node in _all(tree):
        if isinstance(node, _ELSEWHERE):
            raise BadTemplate(f"it cannot take in another template (line {node.lineno})")
        if isinstance(node, nodes.Filter) and node.name not in _CHECKING.filters:
            raise BadTemplate(f"there is no filter {node.name!r} (line {node.lineno})")
        if isinstance(node, nodes.Test) and node.name not in _CHECKING.tests:
            raise BadTemplate(f"there is no test {node.name!r} (line {node.lineno})")


def _all(tree: nodes.Node) -> Iterator[nodes.Node]:
    waiting = [tree]
    while waiting:
        node = waiting.pop()
        yield node
        waiting.extend(node.iter_child_nodes())
