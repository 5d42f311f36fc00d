"""What pydantic found, as one sentence: the key's path, its value, and what is allowed."""

from __future__ import annotations

import difflib
import json
from collections.abc import Sequence
from typing import Any, cast, get_args

from pydantic import BaseModel, ValidationError

from functions.recipes.model import NotAllowed, Recipe

_SHOWN = 80
Path = Sequence[int | str]


def sentence(error: ValidationError, given: dict[str, Any]) -> str:
    """Of the first problem only: the others may follow from it."""
    problem = error.errors(include_url=False)[0]
    path = _within(problem["loc"], given)
    value = _at(given, path)
    if problem["type"] == "extra_forbidden":
        return f"{spelled(path)} (here {shown(value)}) does not exist; {_near(path)}"
    if problem["type"] == "missing":
        return f"{spelled(path)} is missing; needed is {_allowed(path)}."
    cause = problem.get("ctx", {}).get("error")
    if isinstance(cause, NotAllowed):
        return f"{spelled(path)} is {shown(value)}; {cause}."
    return f"{spelled(path)} is {shown(value)}; allowed is {_allowed(path)}."


def spelled(path: Path) -> str:
    """`routes[0].when`"""
    text = ""
    for step in path:
        text += f"[{step}]" if isinstance(step, int) else f".{step}" if text else step
    return text


def shown(value: object) -> str:
    text = json.dumps(value, ensure_ascii=False, default=str)
    return text if len(text) <= _SHOWN else f"{text[: _SHOWN - 1]}…"


def _within(loc: tuple[int | str, ...], given: object) -> list[int | str]:
    """Pydantic's path as far as it lies in the recipe: names of its own types and `[key]` are
    left out, and so is a key that is missing, but for the last one."""
    path: list[int | str] = []
    for number, step in enumerate(loc):
        if step == "[key]":
            continue
        if isinstance(given, dict) and step in given:
            given = cast("dict[str, object]", given)[cast("str", step)]
        elif isinstance(given, list) and isinstance(step, int):
            given = cast("list[object]", given)[step]
        elif number < len(loc) - 1 or not isinstance(given, dict):
            continue
        path.append(step)
    return path


def _at(given: object, path: Path) -> object:
    for step in path:
        if isinstance(given, dict):
            given = cast("dict[str, object]", given).get(cast("str", step))
        elif isinstance(given, list) and isinstance(step, int):
            given = cast("list[object]", given)[step]
    return cast("object", given)


def _model_at(path: Path) -> type[BaseModel] | None:
    model: type[BaseModel] | None = Recipe
    for step in path:
        if isinstance(step, int):
            continue
        field = model.model_fields.get(step) if model is not None else None
        model = _model_in(field.annotation) if field is not None else None
    return model


def _model_in(annotation: Any) -> type[BaseModel] | None:
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        return annotation
    return next((found for each in get_args(annotation) if (found := _model_in(each))), None)


def _allowed(path: Path) -> str:
    """The description of the innermost key that has one."""
    for end in range(len(path), 0, -1):
        model = _model_at(path[: end - 1])
        step = path[end - 1]
        field = (
            model.model_fields.get(step) if model is not None and isinstance(step, str) else None
        )
        if field is not None and field.description:
            if isinstance(path[-1], int) and (inner := _model_in(field.annotation)) is not None:
                return "an object with " + " and ".join(f'"{name}"' for name in inner.model_fields)
            return field.description
    return "another value"


def _near(path: Path) -> str:
    model = _model_at(path[:-1])
    known = list(model.model_fields) if model is not None else []
    near = difflib.get_close_matches(str(path[-1]), known, n=1)
    return f"did you mean {near[0]}?" if near else f"allowed are {', '.join(known)}."
