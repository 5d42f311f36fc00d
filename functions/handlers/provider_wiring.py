"""Which dialect, SDK and recipe reader a function gets: apart from the rest of the wiring, since
most functions need none of them.

A provider's SDK is imported by `preload`, or when it is first needed, so that a function which
talks to none does not load one.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import lru_cache
from importlib import import_module

import msgspec

from functions.aws.clients import client
from functions.aws.outside import SecretKeys
from functions.aws.quotas import DynamoQuotas
from functions.batch.ports import Dialect, Provider
from functions.batch.rows import Caps, Group, Limits
from functions.batch.sending.pausing import Pauses
from functions.batch.sending.reserving import Reserver
from functions.handlers.wiring import alerts, ledger
from functions.providers.anthropic.dialect import AnthropicDialect
from functions.providers.openai.dialect import OpenAIDialect
from functions.providers.vertex.dialect import VertexDialect
from functions.recipes.adapter import RecipeFiles
from functions.settings import ProviderSettings, ShardCaps, provider_name

DIALECTS: Sequence[Dialect] = (OpenAIDialect(), AnthropicDialect(), VertexDialect())

PUT_OFF: dict[str, tuple[str, ...]] = {
    "openai": ("openai.resources.batches", "openai.resources.files", "httpcore2"),
    "anthropic": ("httpcore2", "opentelemetry.propagate"),
    "vertex": ("google_crc32c",),
}
"""What the SDKs themselves import at a first call only."""


def pauses(settings: ProviderSettings) -> Pauses:
    return Pauses(ledger=ledger(settings.jobs_table), alerts=alerts(settings.alert_topic))


def reserver(settings: ProviderSettings) -> Reserver:
    return Reserver(
        ledger=ledger(settings.jobs_table),
        quotas=DynamoQuotas(client("dynamodb"), settings.jobs_table),
        limits=msgspec.json.decode(settings.enqueued_tokens, type=dict[str, int]),
        creates_per_hour=dialect(settings.provider).creates_per_hour,
    )


def caps(settings: ShardCaps) -> Caps:
    return Caps(rows=settings.max_rows_per_shard, bytes=settings.max_bytes_per_shard)


def recipes() -> RecipeFiles:
    return RecipeFiles()


def fitting(schema: bytes) -> Callable[[bytes], str | None]:
    """Imported late: few jobs have a schema."""
    from functions.recipes.schemas import checker

    return checker(schema)


def dialect(provider: str) -> Dialect:
    return next(each for each in DIALECTS if each.provider == provider)


def limits_of(settings: ShardCaps) -> Callable[[Group], Limits]:
    lower = caps(settings).lower
    return lambda group: lower(dialect(group.provider).limits(group))


def provider(settings: ProviderSettings) -> Callable[[], Provider]:
    """Made when it is called: the key is read anew each time, so that a new one works at once."""
    keys = SecretKeys(client("secretsmanager"), settings.secret_arn, settings.provider)
    return lambda: _provider(
        settings.provider, keys.key(), settings.base_url, settings.storage_base_url
    )


@lru_cache(maxsize=1)
def _provider(name: str, key: str, base_url: str, storage_base_url: str) -> Provider:
    return _maker(name)(key, base_url, storage_base_url)


def preload() -> None:
    """Imports the SDK of the provider that the environment names, if it names one: while a function
    starts it has a whole core for 10 s, later what its memory buys
    (https://docs.aws.amazon.com/lambda/latest/dg/lambda-runtime-environment.html)."""
    name = provider_name() or ""
    if name in PUT_OFF:
        _maker(name)
        for module in PUT_OFF[name]:
            import_module(module)


def _maker(name: str) -> Callable[[str, str, str], Provider]:
    """Called with a key, a base URL, and the base URL of the files."""
    match name:
        case "openai":
            from functions.providers.openai import client as openai

            return lambda key, url, _: openai.OpenAIProvider(openai.make_client(key, url))
        case "anthropic":
            from functions.providers.anthropic import client as anthropic

            return lambda key, url, _: anthropic.AnthropicProvider(anthropic.make_client(key, url))
        case "vertex":
            from functions.providers.vertex import client as vertex

            return lambda key, url, files: vertex.VertexProvider(
                vertex.make_client(key, url, files)
            )
        case _:
            raise LookupError(f"There is no provider {name!r}.")
