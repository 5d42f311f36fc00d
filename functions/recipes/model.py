"""A recipe as people write it: every key, and what may stand under it.

A field's description completes the sentence "allowed is …". What is described in the contract but
not built is refused by value, with a sentence that says so: nobody should wait for what will not
happen.
"""

from __future__ import annotations

import re
from typing import Annotated, Any, Literal, cast

from pydantic import AfterValidator, BaseModel, BeforeValidator, ConfigDict, Field

from functions.recipes.templates import (
    BadTemplate,
    check_expression,
    check_template,
    is_template,
)

MOST_ROUTES = 50


class NotAllowed(ValueError):
    """Says what is wrong in words of its own, after "is …; "."""


def _template(value: str) -> str:
    try:
        check_template(value)
    except BadTemplate as error:
        raise NotAllowed(f"that is no template: {error}") from error
    return value


def _expression(value: str) -> str:
    try:
        check_expression(value)
    except BadTemplate as error:
        raise NotAllowed(f"that is no expression: {error}") from error
    return value


def _templates_within(value: Any) -> Any:
    """Any text within a message's content may be a template."""
    if isinstance(value, str):
        return _template(value) if is_template(value) else value
    if isinstance(value, list):
        for each in cast("list[Any]", value):
            _templates_within(each)
    elif isinstance(value, dict):
        for each in cast("dict[str, Any]", value).values():
            _templates_within(each)
    return cast("Any", value)


def _content(value: Any) -> Any:
    if not value or not isinstance(value, (str, list)):
        raise ValueError("neither a text nor a list of parts")
    if isinstance(value, list) and not all(
        isinstance(part, dict) for part in cast("list[object]", value)
    ):
        raise ValueError("a part is no object")
    return _templates_within(value)


def _no_boolean(value: object) -> object:
    if isinstance(value, bool):
        raise ValueError("a boolean is no number")
    return value


def _not_built(*built: object) -> AfterValidator:
    def check(value: object) -> object:
        if value is not None and value not in built:
            words = " or ".join(_as_written(each) for each in built)
            raise NotAllowed(f"that is not built yet: {_leave_out(words)}")
        return value

    return AfterValidator(check)


def _as_written(value: object) -> str:
    return str(value).lower() if isinstance(value, bool) else str(value)


def _leave_out(words: str) -> str:
    return f"say {words}, or leave the key out" if words else "leave the key out"


def _schema(value: dict[str, Any]) -> dict[str, Any]:
    """Checked further by `functions.recipes.schemas`, which knows the whole language."""
    if not value:
        raise ValueError("empty")
    return value


def _with_input(value: dict[str, float]) -> dict[str, float]:
    if "input" not in value:
        raise NotAllowed("the price of input is missing")
    return value


Template = Annotated[str, Field(min_length=1), AfterValidator(_template)]
Expression = Annotated[str, Field(min_length=1), AfterValidator(_expression)]
Dollars = Annotated[float, Field(gt=0, le=1e9, allow_inf_nan=False), BeforeValidator(_no_boolean)]
Price = Annotated[float, Field(ge=0, allow_inf_nan=False), BeforeValidator(_no_boolean)]
ModelName = Annotated[str, Field(pattern=r"^\S{1,200}$")]
PriceName = Annotated[
    str, Field(pattern=r"^(batch_)?(input|output|cached_input|cache_write|cache_write_1h)$")
]
PricedModel = Annotated[str, Field(pattern=r"^(openai|anthropic|vertex)/\S+$")]
Prices = Annotated[dict[PriceName, Price], Field(min_length=1), AfterValidator(_with_input)]

_MODEL = "the name of a model, without spaces"
_AMOUNT = "an amount in dollars above 0"
_COUNT = "a whole number of at least 1"
_TEMPLATE = "a text, as a Jinja2 template over the row's columns"


class _Part(BaseModel):
    model_config = ConfigDict(frozen=True, strict=True, extra="forbid")


class Message(_Part):
    role: Literal["system", "developer", "user", "assistant"] = Field(
        description="system, developer, user or assistant"
    )
    content: Annotated[Any, AfterValidator(_content)] = Field(
        description="a text (a Jinja2 template over the row's columns), or a list of the "
        "provider's content parts"
    )


class Route(_Part):
    """The first route whose condition holds gives a row its model."""

    when: Expression = Field(
        description="a Jinja2 expression over the row's columns and `chars`, such as "
        '"chars > 4000"'
    )
    model: ModelName = Field(description=_MODEL)


class Output(_Part):
    csv: bool = Field(default=False, description="true or false")
    index: bool | None = Field(default=None, description="true or false")


class Recipe(_Part):
    """How rows of data become requests, and what a job may cost."""

    provider: Literal["openai", "anthropic", "vertex"] | None = Field(
        default=None, description="openai, anthropic or vertex"
    )
    model: ModelName | None = Field(default=None, description=_MODEL)
    endpoint: Annotated[str, Field(min_length=1)] | None = Field(
        default=None, description="an endpoint of the provider's batch API"
    )
    id: Annotated[str, Field(min_length=1)] | None = Field(
        default=None, description="the name of the column that becomes custom_id"
    )
    system: Template | None = Field(default=None, description=_TEMPLATE)
    prompt: Template | None = Field(default=None, description=_TEMPLATE)
    messages: Annotated[list[Message], Field(min_length=1, max_length=1_000)] | None = Field(
        default=None, description='a list of {"role", "content"}'
    )
    input: Template | None = Field(default=None, description=_TEMPLATE)
    max_tokens: Annotated[int, Field(ge=1, le=10_000_000), BeforeValidator(_no_boolean)] | None = (
        Field(default=None, description=_COUNT)
    )
    params: dict[str, Any] = Field(
        default_factory=dict, description="an object of the provider's own request fields"
    )
    response_schema: Annotated[dict[str, Any], AfterValidator(_schema)] | None = Field(
        default=None, description="a JSON schema, as an object"
    )
    routes: Annotated[list[Route], Field(max_length=MOST_ROUTES)] = Field(
        default_factory=list[Route],
        description=f'a list of up to {MOST_ROUTES} {{"when", "model"}}',
    )
    escalate_to: ModelName | None = Field(default=None, description=_MODEL)
    cache: Literal["auto", "off"] = Field(default="off", description="auto or off")
    dedupe: bool = Field(default=False, description="true or false")
    canary: Literal["auto", "off"] = Field(default="auto", description="auto or off")
    max_cost_usd: Dollars | None = Field(default=None, description=_AMOUNT)
    approve_above_usd: Dollars | None = Field(default=None, description=_AMOUNT)
    prices: dict[PricedModel, Prices] = Field(
        default_factory=dict,
        description="an object of provider/model to dollars per million tokens, such as "
        '{"openai/gpt-5-mini": {"input": 0.3, "output": 1.0}}',
    )
    output: Output = Field(
        default_factory=Output, description='an object such as {"csv": true, "index": true}'
    )
    mode: Annotated[Literal["batch", "hybrid", "realtime"], _not_built("batch")] = Field(
        default="batch", description="batch, hybrid or realtime"
    )
    deadline_hours: Annotated[
        Annotated[float, Field(gt=0), BeforeValidator(_no_boolean)] | None, _not_built()
    ] = Field(default=None, description="a number of hours above 0")
    on_deadline: Annotated[Literal["wait", "realtime", "give_up"] | None, _not_built()] = Field(
        default=None, description="wait, realtime or give_up"
    )
    schedule: Annotated[str, _not_built("now")] = Field(
        default="now", description="now, daily or a cron expression"
    )
    timezone: Annotated[str, _not_built("UTC")] = Field(
        default="UTC", description="the name of a time zone, such as Europe/Berlin"
    )
    priority: Annotated[Literal["low", "normal", "high"], _not_built("normal")] = Field(
        default="normal", description="low, normal or high"
    )


FOR_NATIVE_ROWS = frozenset(
    {
        *("max_cost_usd", "approve_above_usd", "prices", "output", "canary", "dedupe"),
        *("mode", "deadline_hours", "on_deadline", "schedule", "timezone", "priority"),
    }
)
"""What a recipe for rows that are requests already may hold."""

COLUMN = re.compile(r"[^\W\d]\w*")
"""Column names that a template can use as they stand; others as `row["Name"]`."""
