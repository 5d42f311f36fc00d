"""One row of data becomes one request. What is compiled is compiled once.

Whoever calls this has to bound what a row may cost: see `functions.recipes.process`.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, cast

import msgspec
from jinja2 import Template
from jinja2.environment import TemplateExpression

from functions.batch.recipe import MadeRow
from functions.recipes.documents import text_part
from functions.recipes.requests import CONVERSES, Asked, Instructions, Message, writer
from functions.recipes.templates import MOST_CHARACTERS, MissingColumn, environment

DOCUMENT = "s3_key"
"""The column that names a document."""

_COLUMNS = ""
"""All columns, under a name that no template can use: one of them may be called `row`."""

_SHOWN = 40
_MOST_COLUMNS_TOLD = 20

Values = dict[str, Any]
_Render = Callable[[Values], Any]


class _Unfit(Exception):
    def __init__(self, code: str, message: str) -> None:
        super().__init__(message)
        self.code = code


class Renderer:
    def __init__(self, recipe: Instructions) -> None:
        self._environment = environment()
        self._recipe = recipe
        self._id = recipe.id
        self._model = recipe.model
        self._system = None if recipe.system is None else self._text("system", recipe.system)
        key = "input" if recipe.input is not None else "prompt"
        source = recipe.input if recipe.input is not None else recipe.prompt
        self._asks = None if source is None else self._text(key, source)
        self._messages = [
            (message.role, self._content(f"messages[{number}].content", message.content))
            for number, message in enumerate(recipe.messages or ())
        ]
        self._routes = [
            (route.model, self._condition(f"routes[{number}].when", route.when))
            for number, route in enumerate(recipe.routes)
        ]
        self._writer = writer(recipe)

    def make(self, row: bytes) -> MadeRow:
        """`row` is a JSON object. Raises nothing that a row or a template is to blame for."""
        custom_id = b"null"
        try:
            values = _decoded(row)
            custom_id = self._custom_id(values)
            scope = {"row": values, **values, _COLUMNS: values}
            asked = Asked(
                None if self._system is None else self._system(scope),
                [Message(role, content(scope)) for role, content in self._messages] or None,
                None if self._asks is None else self._asks(scope),
            )
            model, route = self._route(scope, asked)
            document = self._document(values)
            if document:
                self._put_mark(asked)
            line = self._writer.line(custom_id, model, asked)
            return MadeRow(line=line, route=route, document=document)
        except _Unfit as error:
            return MadeRow(code=error.code, message=str(error), custom_id=custom_id)
        except UnicodeEncodeError:
            message = "The row holds half of a character (a lone surrogate such as \\ud83d)."
            return MadeRow(code="not_utf8", message=message, custom_id=custom_id)
        except Exception as error:
            message = f"The row cannot be made a request: {_told(error)}."
            return MadeRow(code="template_error", message=message, custom_id=custom_id)

    def _custom_id(self, values: Values) -> bytes:
        if self._id is None:
            return b"null"
        if self._id not in values:
            raise _Unfit(
                "missing_column",
                f'The row has no column "{self._id}", which the recipe\'s id names; it has '
                f"{_columns(values)}.",
            )
        value: object = values[self._id]
        if value is None:
            return b"null"
        if isinstance(value, bool) or not isinstance(value, (str, int, float)):
            raise _Unfit(
                "bad_id",
                f'"{self._id}", which the recipe\'s id names, is neither a text nor a number.',
            )
        return msgspec.json.encode(value if isinstance(value, str) else _number(value))

    def _document(self, values: Values) -> str:
        """The object that the row names, where the endpoint takes one."""
        name: object = values.get(DOCUMENT)
        takes = self._recipe.mark and self._recipe.endpoint in CONVERSES
        if not takes or name is None:
            return ""
        if not isinstance(name, str):
            raise _Unfit("bad_document", f"{DOCUMENT} is the key of one object, as a text.")
        return name

    def _put_mark(self, asked: Asked) -> None:
        messages = asked.messages or [Message("user", asked.text)]
        for message in reversed(messages):
            if message.role == "user":
                content = message.content
                if isinstance(content, str):
                    content = [text_part(self._recipe.provider, self._recipe.endpoint, content)]
                message.content = [self._recipe.mark, *content]
                break
        else:
            message = f"{DOCUMENT} names a document, but there is no user message to put it into."
            raise _Unfit("bad_document", message)
        asked.messages, asked.text = messages, None

    def _route(self, scope: Values, asked: Asked) -> tuple[str, int]:
        if self._routes:
            texts = [asked.system or "", asked.text or ""]
            texts += [text for message in asked.messages or () for text in _texts(message.content)]
            scope = {**scope, "chars": sum(map(len, texts))}
            for number, (model, condition) in enumerate(self._routes):
                if condition(scope):
                    return model, number
        return self._model, -1

    def _text(self, key: str, source: str) -> Callable[[Values], str]:
        template = self._environment.from_string(source)

        def render(scope: Values) -> str:
            text: str = _guarded(key, lambda scope: _bounded(key, template, scope), scope)
            if not text.strip():
                raise _Unfit("empty_text", f"{key} is empty for this row.")
            return text

        return render

    def _content(self, key: str, content: Any) -> _Render:
        if isinstance(content, str):
            return self._text(key, content)
        if isinstance(content, list):
            items = [
                self._content(f"{key}[{number}]", each)
                for number, each in enumerate(cast("list[Any]", content))
            ]
            return lambda scope: [item(scope) for item in items]
        if isinstance(content, dict):
            fields = {
                name: self._content(f"{key}.{name}", each)
                for name, each in cast("dict[str, Any]", content).items()
            }
            return lambda scope: {name: field(scope) for name, field in fields.items()}
        return lambda _: content

    def _condition(self, key: str, source: str) -> Callable[[Values], bool]:
        expression: TemplateExpression = self._environment.compile_expression(
            source, undefined_to_none=False
        )
        return lambda scope: _guarded(key, lambda scope: bool(expression(scope)), scope)


def _decoded(row: bytes) -> Values:
    try:
        return cast("Values", msgspec.json.decode(row))
    except msgspec.DecodeError as error:
        raise _Unfit("not_json", f"The row is not JSON: {error}.") from error


def _guarded(key: str, render: Callable[[Values], Any], scope: Values) -> Any:
    try:
        return render(scope)
    except _Unfit:
        raise
    except MissingColumn as error:
        if error.name is None:
            raise _Unfit("missing_column", f"{key} cannot be rendered: {error}.") from error
        raise _Unfit(
            "missing_column",
            f'The row has no column "{error.name}", which {key} uses; it has '
            f"{_columns(scope[_COLUMNS])}.",
        ) from error
    except Exception as error:
        raise _Unfit("template_error", f"{key} cannot be rendered: {_told(error)}.") from error


def _bounded(key: str, template: Template, scope: Values) -> str:
    pieces: list[str] = []
    size = 0
    for piece in template.generate(scope):
        size += len(piece)
        if size > MOST_CHARACTERS:
            raise _Unfit(
                "too_large", f"{key} comes to more than {MOST_CHARACTERS} characters for this row."
            )
        pieces.append(piece)
    return "".join(pieces)


def _texts(content: Any) -> list[str]:
    if isinstance(content, str):
        return [content]
    if isinstance(content, dict):
        content = list(cast("dict[str, Any]", content).values())
    if isinstance(content, list):
        return [text for each in cast("list[Any]", content) for text in _texts(each)]
    return []


def _columns(values: Values) -> str:
    names = list(values)
    told = ", ".join(name[:_SHOWN] for name in names[:_MOST_COLUMNS_TOLD])
    return f"{told}, …" if len(names) > _MOST_COLUMNS_TOLD else told or "none"


def _number(value: float) -> str:
    """As JSON writes it, but a whole number without a fraction."""
    return str(int(value)) if value == int(value) else msgspec.json.encode(value).decode()


def _told(error: BaseException) -> str:
    words = " ".join(str(error).split())[:200].rstrip(".")
    name = type(error).__name__
    return f"{name}: {words}" if words else name
