"""The providers that have functions and a shard workflow. A new one is a new row here."""

from __future__ import annotations

from dataclasses import dataclass

from infra.bundling import BundleName
from infra.config import Config


@dataclass(frozen=True, kw_only=True)
class Provider:
    """`name` is what a shard's ledger item says, `label` what people read."""

    name: str
    label: str
    bundle: BundleName
    base_url: str | None
    storage_base_url: str | None = None


def providers(config: Config) -> tuple[Provider, ...]:
    return (
        Provider(name="openai", label="OpenAI", bundle="openai", base_url=config.openai_base_url),
        Provider(
            name="anthropic",
            label="Anthropic",
            bundle="anthropic",
            base_url=config.anthropic_base_url,
        ),
        Provider(
            name="vertex",
            label="Vertex",
            bundle="vertex",
            base_url=config.vertex_base_url,
            storage_base_url=config.gcs_base_url,
        ),
    )
