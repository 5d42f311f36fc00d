"""JSON schemas: whether one can be used, how each provider takes it, and whether an answer fits."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from fractions import Fraction
from typing import Any, cast

import msgspec
from jsonschema import Draft202012Validator, exceptions, validators
from jsonschema.exceptions import SchemaError, ValidationError
from referencing import Registry
from referencing.exceptions import Unresolvable

from functions.batch.errors import NotChecked
from functions.recipes.stopping import Patience, TooSlow

Schema = dict[str, Any]

_SHOWN = 200
_MOST_INLINED = 10_000
"""Values that writing definitions out may come to."""

_NAMES = ("properties", "patternProperties")
"""Keys whose value is an object of names."""

_NOT_SAID = ("$defs", "definitions", "$schema", "$id", "$comment")


best_match: Callable[[Any], ValidationError | None] = cast("Any", exceptions).best_match


def _multiple_of(_: Any, step: Any, value: Any, __: Any) -> Iterator[ValidationError]:
    """As decimals: by doubles, 19.99 is no multiple of 0.01."""
    is_number = isinstance(value, (int, float)) and not isinstance(value, bool)
    if is_number and Fraction(str(value)) % Fraction(str(step)):
        yield ValidationError(f"{value!r} is not a multiple of {step}")


_Validator: Any = cast("Any", validators).extend(Draft202012Validator, {"multipleOf": _multiple_of})


class BadSchema(ValueError):
    """Why a schema cannot be used; `path` is where in it."""

    def __init__(self, path: str, message: str) -> None:
        super().__init__(message)
        self.path = path


def check(schema: Schema, *, of_object: bool) -> None:
    """Raises `BadSchema`. `of_object`: the provider takes schemas of objects only."""
    try:
        Draft202012Validator.check_schema(schema)
    except SchemaError as error:
        path = "".join(f"[{s}]" if isinstance(s, int) else f".{s}" for s in error.absolute_path)
        raise BadSchema(path, f"that is no JSON schema: {_short(error.message)}") from error
    for path, part in _parts(schema, ""):
        reference = part.get("$ref")
        if isinstance(reference, str) and not reference.startswith("#"):
            raise BadSchema(f"{path}.$ref", 'that lies elsewhere: a reference begins with "#"')
    if of_object and schema.get("type") != "object":
        raise BadSchema(".type", 'the provider takes the schema of an object: "type": "object"')
    try:
        inlined(schema)
    except BadSchema as error:
        if error.path:
            raise


def _parts(value: object, path: str) -> Iterator[tuple[str, Schema]]:
    if isinstance(value, dict):
        part = cast("Schema", value)
        yield path, part
        for name, each in part.items():
            yield from _parts(each, f"{path}.{name}")
    elif isinstance(value, list):
        for number, each in enumerate(cast("list[object]", value)):
            yield from _parts(each, f"{path}[{number}]")


def inlined(schema: Schema) -> Schema:
    """The schema with every definition written out where it is referred to, for importers that
    take no `$` in a key. Raises `BadSchema`, with an empty path for one that refers to itself."""
    count = 0

    def written(value: Any, above: tuple[str, ...], *, names: bool = False) -> Any:
        nonlocal count
        count += 1
        if count > _MOST_INLINED:
            raise BadSchema("", "written out, its definitions are too large")
        if isinstance(value, list):
            return [written(each, above) for each in cast("list[Any]", value)]
        if not isinstance(value, dict):
            return value
        part = cast("Schema", value)
        reference = part.get("$ref")
        if not names and isinstance(reference, str):
            if reference in above:
                raise BadSchema("", "it refers to itself, which the provider does not take")
            beside = {name: each for name, each in part.items() if name != "$ref"}
            target = written(_found(schema, reference), (*above, reference))
            return {**target, **written(beside, above)}
        return {
            name: written(each, above, names=not names and name in _NAMES)
            for name, each in part.items()
            if names or name not in _NOT_SAID
        }

    return written(schema, ())


def _found(schema: Schema, reference: str) -> Schema:
    value: object = schema
    for step in reference.removeprefix("#").split("/")[1:]:
        name = step.replace("~1", "/").replace("~0", "~")
        value = cast("Any", value).get(name) if isinstance(value, dict) else None
    if not isinstance(value, dict):
        raise BadSchema(".$ref", f"nothing lies at {reference!r}")
    return cast("Schema", value)


def is_strict(schema: Schema) -> bool:
    """Whether OpenAI's strict mode takes it: each object closed, and all its properties required
    (https://platform.openai.com/docs/guides/structured-outputs)."""
    for _, part in _parts(schema, ""):
        properties = part.get("properties")
        if part.get("type") != "object" and not isinstance(properties, dict):
            continue
        names = set(cast("Schema", properties or {}))
        if part.get("additionalProperties") is not False:
            return False
        if names != set(cast("list[str]", part.get("required") or [])):
            return False
    return True


def checker(schema: bytes, patience: Patience | None = None) -> Callable[[bytes], str | None]:
    """Tells of an answer's text (as JSON) why it does not fit, or None if it does. No reference is
    ever fetched. Raises `NotChecked` where that takes too long, as a pattern may, and where the
    schema is such that no answer can be held against it."""
    bound = patience or Patience()
    nothing: Registry[Any] = Registry()
    validator = _Validator(msgspec.json.decode(schema), registry=nothing)

    def misfit(text: bytes) -> str | None:
        said: object = msgspec.json.decode(text)
        if not isinstance(said, str):
            return "The answer has no text."
        try:
            value: object = msgspec.json.decode(said)
        except (msgspec.DecodeError, RecursionError) as error:
            return f"The answer is not JSON: {error}."
        try:
            found = bound.run(lambda: best_match(validator.iter_errors(value)))
        except TooSlow as error:
            raise NotChecked(_slow(bound)) from error
        except (Unresolvable, RecursionError) as error:
            raise NotChecked(
                f"The answer could not be held against the schema: {_short(str(error))}."
            ) from error
        return None if found is None else f"The answer does not fit the schema: {_told(found)}."

    return misfit


def _slow(bound: Patience) -> str:
    if bound.exhausted:
        told = "The answer was not held against the schema: others before it took too long."
    else:
        told = f"Holding the answer against the schema was stopped after {bound.seconds:g} s."
    return f"{told} Look for a pattern that can match in many ways, such as (a+)+."


def _told(error: ValidationError) -> str:
    path = "".join(f"[{s}]" if isinstance(s, int) else f".{s}" for s in error.absolute_path)
    return f"{path.lstrip('.')}: {_short(error.message)}" if path else _short(error.message)


def _short(text: str) -> str:
    return text if len(text) <= _SHOWN else f"{text[: _SHOWN - 1]}…"
