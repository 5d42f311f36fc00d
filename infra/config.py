"""The deployment's configuration: CDK context, read once into one frozen, validated object.

Context given with `-c key=value` arrives as text, context from `cdk.json` as JSON: both are taken.
An empty text means unset.
"""

from __future__ import annotations

import difflib
import json
import re
import sys
from collections.abc import Mapping
from typing import Annotated, Literal, Self, cast
from urllib.parse import urlsplit

from pydantic import (
    AfterValidator,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    StringConstraints,
    ValidationError,
    model_validator,
)

from functions.batch.outgrown import ONE_CALL
from functions.batch.reading.unpacking import MAX_GZ_BYTES, MAX_UNZIPPED_BYTES
from functions.batch.spending.overrides import problem_of

MIB = 1024 * 1024
MOST_PRICES_BYTES = 3_000
SUPPORTED_PYTHONS = ("3.11", "3.12", "3.13", "3.14")
RUNNING_PYTHON = f"{sys.version_info.major}.{sys.version_info.minor}"
OWN_KEY = re.compile(r"[a-z][a-z0-9_]*")


class ConfigError(ValueError):
    """One sentence that names the key, the value and what is allowed."""


def _number(value: object) -> object:
    """Text that spells a number becomes one; a boolean, to Python one too, does not."""
    if isinstance(value, bool):
        raise ValueError("a boolean is no number")
    if isinstance(value, str):
        return json.loads(value)
    return value


def _json_object(value: object) -> object:
    return json.loads(value) if isinstance(value, str) else value


def _web_address(value: str) -> str:
    parts = urlsplit(value)
    if parts.scheme not in ("http", "https") or not parts.hostname:
        raise ValueError("no web address")
    _ = parts.port  # raises ValueError where it is no number
    return value


def _minor_version(value: object) -> object:
    """JSON has no other way to write 3.13 without quotes than as a number."""
    return str(value) if isinstance(value, float) else value


def _running_python(value: str) -> str:
    if value != RUNNING_PYTHON or value not in SUPPORTED_PYTHONS:
        raise ValueError("not the running interpreter's")
    return value


def _prices(value: dict[str, dict[str, float]]) -> dict[str, dict[str, float]]:
    """Raises `ConfigError`. They travel in a function's environment, which ends at 4 kB."""
    for model, prices in value.items():
        problem = problem_of(prices)
        if problem:
            raise ConfigError(f"Configuration prices of {model}: {problem}.")
    size = len(json.dumps(value))
    if size > MOST_PRICES_BYTES:
        raise ConfigError(
            f"Configuration prices is {size} bytes of JSON; allowed are {MOST_PRICES_BYTES}."
        )
    return value


Whole = Annotated[int, BeforeValidator(_number)]
Dollars = Annotated[float, BeforeValidator(_number), Field(gt=0, allow_inf_nan=False)]
Price = Annotated[float, Field(ge=0, allow_inf_nan=False)]
Url = Annotated[str, AfterValidator(_web_address)]
ModelName = Annotated[str, StringConstraints(pattern=r"^(openai|anthropic|vertex)/\S+$")]

ADDRESS = "an http:// or https:// address"
DOLLARS = "an amount in dollars above 0"
DAYS = "a whole number of days, 1 to 3650"
POLLS = "a whole number of seconds, 1 to 86400"
CAP = "a whole number of at least 1"


class Config(BaseModel):
    """Every field is a context key; its description says what is allowed, for error messages."""

    model_config = ConfigDict(frozen=True, strict=True, extra="forbid")

    stack_name: Annotated[str, StringConstraints(pattern=r"^[A-Za-z][A-Za-z0-9-]{0,99}$")] = Field(
        default="Batchdrop",
        description="a letter, then up to 99 letters, digits and hyphens",
    )
    openai_base_url: Url | None = Field(default=None, description=ADDRESS)
    anthropic_base_url: Url | None = Field(default=None, description=ADDRESS)
    vertex_base_url: Url | None = Field(default=None, description=ADDRESS)
    gcs_base_url: Url | None = Field(default=None, description=ADDRESS)
    min_poll_seconds: Whole = Field(default=30, ge=1, le=86_400, description=POLLS)
    max_poll_seconds: Whole = Field(default=600, ge=1, le=86_400, description=POLLS)
    max_rows_per_shard: Whole | None = Field(default=None, ge=1, description=CAP)
    max_bytes_per_shard: Whole | None = Field(default=None, ge=1, description=CAP)
    max_rounds: Whole = Field(default=3, ge=1, le=10, description="a whole number, 1 to 10")
    split_bytes: Whole = Field(default=512 * MIB, ge=1, description=CAP)
    assemble_bytes: Whole = Field(default=ONE_CALL, ge=1, description=CAP)
    max_gz_bytes: Whole = Field(default=MAX_GZ_BYTES, ge=1, description=CAP)
    max_unzipped_bytes: Whole = Field(default=MAX_UNZIPPED_BYTES, ge=1, description=CAP)
    enqueued_tokens: Annotated[
        dict[ModelName, Annotated[int, Field(ge=1)]], BeforeValidator(_json_object)
    ] = Field(
        default_factory=dict,
        description='a JSON object such as {"openai/gpt-5-mini": 40000000}',
    )
    retention_days: Whole = Field(default=30, ge=1, le=3_650, description=DAYS)
    index_results: Literal["auto", "on", "off"] = Field(
        default="auto", description="auto, on or off"
    )
    prices: Annotated[
        dict[ModelName, Annotated[dict[str, Price], Field(min_length=1)]],
        BeforeValidator(_json_object),
        AfterValidator(_prices),
    ] = Field(
        default_factory=dict,
        description="a JSON object of provider/model to dollars per million tokens, such as "
        '{"openai/gpt-5-mini": {"input": 0.3, "output": 1.0}}',
    )
    daily_budget_usd: Dollars | None = Field(default=None, description=DOLLARS)
    monthly_budget_usd: Dollars | None = Field(default=None, description=DOLLARS)
    output_allowance_tokens: Whole | None = Field(default=None, ge=1, description=CAP)
    lambda_architecture: Literal["arm64", "x86_64"] = Field(
        default="arm64", description="arm64 or x86_64"
    )
    lambda_python: Annotated[
        str, BeforeValidator(_minor_version), AfterValidator(_running_python)
    ] = Field(
        default=RUNNING_PYTHON,
        validate_default=True,
        description="the minor version of the Python that runs app.py, one of "
        f"{', '.join(SUPPORTED_PYTHONS)} (running: {RUNNING_PYTHON}), whose byte code is shipped",
    )
    alert_email: Annotated[str, StringConstraints(pattern=r"^[^@\s]+@[^@\s]+$")] | None = Field(
        default=None, description="an e-mail address"
    )

    @model_validator(mode="after")
    def _poll_range(self) -> Self:
        if self.min_poll_seconds > self.max_poll_seconds:
            raise ConfigError(
                f"Configuration min_poll_seconds is {self.min_poll_seconds}; allowed is at most "
                f"max_poll_seconds, which is {self.max_poll_seconds}."
            )
        return self

    @classmethod
    def from_context(cls, context: Mapping[str, object]) -> Config:
        """Raises `ConfigError`. Keys that are spelled like the CDK's own are left to the CDK."""
        for key in context:
            if OWN_KEY.fullmatch(key) and key not in cls.model_fields:
                raise ConfigError(_unknown(key, context[key], list(cls.model_fields)))
        given = {
            key: context[key]
            for key in cls.model_fields
            if key in context and context[key] not in (None, "")
        }
        try:
            return cls.model_validate(given)
        except ValidationError as error:
            raise ConfigError(_sentence(error, given)) from error


def _unknown(key: str, value: object, known: list[str]) -> str:
    near = difflib.get_close_matches(key, known, n=1)
    allowed = f"did you mean {near[0]}?" if near else f"allowed are {', '.join(known)}."
    return f"Configuration {key} (here {json.dumps(value)}) does not exist; {allowed}"


def _sentence(error: ValidationError, given: Mapping[str, object]) -> str:
    """The first problem only: one is fixed at a time, and the others may follow from it."""
    problem = error.errors()[0]
    cause = problem.get("ctx", {}).get("error")
    if isinstance(cause, ConfigError):
        return str(cause)
    key = cast(str, problem["loc"][0])
    value = given.get(key, Config.model_fields[key].default)
    allowed = Config.model_fields[key].description
    return f"Configuration {key} is {json.dumps(value)}; allowed is {allowed}."
