"""Whether a recipe's keys go together: with each other, and with the rows that it is for."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from pydantic import ValidationError

from functions.batch.errors import BadRecipe
from functions.providers.anthropic import dialect as anthropic
from functions.providers.openai import dialect as openai
from functions.providers.vertex import dialect as vertex
from functions.recipes import schemas
from functions.recipes.model import FOR_NATIVE_ROWS, Recipe
from functions.recipes.prefixes import prefix_of
from functions.recipes.reading import Unreadable, read
from functions.recipes.requests import CHAT, COMPLETIONS, CONVERSES, TAKES_INPUT
from functions.recipes.sentences import sentence, shown

ENDPOINTS: dict[str, tuple[str, ...]] = {
    "openai": openai.ENDPOINTS,
    "anthropic": (anthropic.ENDPOINT,),
    "vertex": (vertex.GENERATE, vertex.EMBED),
}
EMBEDDINGS = "/v1/embeddings"

_ASKS = ("prompt", "messages", "input")
_TAKEN: dict[str, str] = {
    "model": "model",
    "stream": "",
    "messages": "messages",
    "contents": "messages",
    "content": "input",
    "input": "input, prompt or messages",
    "prompt": "prompt",
    "system": "system",
    "instructions": "system",
    "systemInstruction": "system",
    "system_instruction": "system",
}
"""Request fields that are the recipe's own, by another name; an empty one has none."""


def read_recipe(key: str, data: bytes) -> Recipe:
    """Raises `BadRecipe` with a sentence that names the recipe."""
    try:
        given = read(key, data)
    except Unreadable as error:
        raise BadRecipe(f"{key} {error}") from error
    try:
        return Recipe.model_validate(given)
    except ValidationError as error:
        raise BadRecipe(f"{key}: {sentence(error, given)}") from error


def check_for_data(key: str, recipe: Recipe) -> None:
    """Raises `BadRecipe`."""
    problem = next(_problems(recipe), None)
    if problem is not None:
        raise BadRecipe(f"{key}: {problem}")


def check_for_native(key: str, recipe: Recipe, *, gemini: bool) -> None:
    """`gemini`: the rows are Gemini's, whose model a recipe may name. Raises `BadRecipe`."""
    allowed = FOR_NATIVE_ROWS | ({"provider", "model"} if gemini else set[str]())
    for name in sorted(recipe.model_fields_set):
        value: object = getattr(recipe, name)
        if name not in allowed and value is not None:
            raise BadRecipe(
                f"{key}: {name} is {shown(_plain(value))}, but the file's rows are requests "
                f"already; allowed with them are {', '.join(sorted(allowed))}."
            )
    if recipe.model is not None and recipe.provider != "vertex":
        raise BadRecipe(
            f'{key}: provider is {shown(recipe.provider)}; allowed with Gemini\'s rows is "vertex".'
        )


def endpoint_of(recipe: Recipe) -> str:
    if recipe.endpoint is not None:
        return recipe.endpoint
    match recipe.provider:
        case "anthropic":
            return anthropic.ENDPOINT
        case "vertex":
            return vertex.GENERATE if recipe.input is None else vertex.EMBED
        case _:
            return CHAT if recipe.input is None else EMBEDDINGS


def _problems(recipe: Recipe) -> Iterator[str]:
    for name in ("provider", "model"):
        if getattr(recipe, name) is None:
            yield f"{name} is missing; needed is {Recipe.model_fields[name].description}."
    endpoint = endpoint_of(recipe)
    allowed = ENDPOINTS[recipe.provider or "openai"]
    if recipe.endpoint is not None and recipe.endpoint not in allowed:
        yield (
            f"endpoint is {shown(recipe.endpoint)}; allowed with {recipe.provider} is "
            f"{', '.join(allowed)}."
        )
    yield from _asking(recipe, endpoint)
    yield from _length(recipe, endpoint)
    yield from _passed_through(recipe)
    yield from _caching(recipe)
    yield from _answering(recipe, endpoint)


def _asking(recipe: Recipe, endpoint: str) -> Iterator[str]:
    asks = [name for name in _ASKS if getattr(recipe, name) is not None]
    if not asks:
        yield "prompt is missing; rows of data need one of prompt, messages or input."
    if len(asks) > 1:
        yield f"{asks[1]} is given beside {asks[0]}; allowed is one of prompt, messages or input."
    if recipe.provider == "anthropic" and recipe.input is not None:
        yield "input is for embeddings, which anthropic has none of; allowed is prompt or messages."
    if (endpoint in TAKES_INPUT) != (recipe.input is not None):
        right = "input" if endpoint in TAKES_INPUT else "prompt or messages"
        yield f"{asks[0]} does not go with endpoint {endpoint}; allowed is {right}."
    if endpoint not in CONVERSES:
        for name in ("system", "messages", "response_schema"):
            if getattr(recipe, name) is not None:
                yield f"{name} does not go with endpoint {endpoint}: leave it out."
    for number, message in enumerate(recipe.messages or ()):
        if recipe.provider != "openai" and message.role in ("system", "developer"):
            yield (
                f"messages[{number}].role is {shown(message.role)}; {recipe.provider} takes user "
                "and assistant: put this text under system."
            )


def _length(recipe: Recipe, endpoint: str) -> Iterator[str]:
    if recipe.max_tokens is None and recipe.provider == "anthropic":
        yield "max_tokens is missing; needed with anthropic is a whole number of at least 1."
    if recipe.max_tokens is not None and endpoint not in CONVERSES | {COMPLETIONS}:
        yield f"max_tokens does not go with endpoint {endpoint}: leave it out."


def _caching(recipe: Recipe) -> Iterator[str]:
    """Claude's rows may share documents: whether they do, their table says."""
    if recipe.cache == "off" or recipe.system is not None or recipe.provider == "anthropic":
        return
    if prefix_of(recipe.params, None, recipe.messages).is_empty:
        yield 'cache is "auto", but there is no system that rows could share; add one, or say off.'


def _passed_through(recipe: Recipe) -> Iterator[str]:
    for name in recipe.params:
        if name in _TAKEN:
            instead = f"say it under {_TAKEN[name]}" if _TAKEN[name] else "a batch cannot stream"
            value = shown(recipe.params[name])
            yield f"params.{name} is {value}; that is not passed on: {instead}."
        if not name:
            yield "params has an empty key; allowed are the provider's own request fields."


def _answering(recipe: Recipe, endpoint: str) -> Iterator[str]:
    if recipe.escalate_to is not None and recipe.response_schema is None:
        yield (
            f"escalate_to is {shown(recipe.escalate_to)}, but there is no response_schema that an "
            "answer could miss; add one, or leave it out."
        )
    if recipe.response_schema is not None:
        try:
            schemas.check(recipe.response_schema, of_object=recipe.provider != "vertex")
            if recipe.provider == "vertex":
                schemas.inlined(recipe.response_schema)
        except schemas.BadSchema as error:
            yield f"response_schema{error.path} cannot be used; {error}."


def _plain(value: Any) -> Any:
    dump = getattr(value, "model_dump", None)
    if dump is not None:
        return dump()
    return [_plain(each) for each in value] if isinstance(value, list) else value  # pyright: ignore[reportUnknownVariableType]
