"""What each function is told by its environment: one frozen type for each, used by both sides.

A function reads its own with `from_env`; the infrastructure writes it with `to_env`. Nothing else
touches the environment, so that a variable which one side forgets is a type error.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from decimal import Decimal
from typing import Self

import msgspec


class Environment(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=False):
    """Fields are environment variables in upper case."""

    def to_env(self) -> dict[str, str]:
        return {name.upper(): str(getattr(self, name)) for name in self.__struct_fields__}

    @classmethod
    def from_env(cls, env: Mapping[str, str] = os.environ) -> Self:
        """Raises `msgspec.ValidationError` that names a missing or malformed variable."""
        known = {name: env[name.upper()] for name in cls.__struct_fields__ if name.upper() in env}
        return msgspec.convert(known, cls, strict=False)


class ShardCaps(Environment, frozen=True, kw_only=True):
    """Caps below a provider's own limits, for tests and canaries. 0 means none."""

    max_rows_per_shard: int = 0
    max_bytes_per_shard: int = 0


class IntakeSettings(Environment, frozen=True, kw_only=True):
    jobs_table: str
    state_machine_arn: str
    retention_days: int


class RescueSettings(Environment, frozen=True, kw_only=True):
    jobs_table: str
    state_machine_arn: str
    alert_topic: str


class PlanSettings(Environment, frozen=True, kw_only=True):
    jobs_table: str
    work_bucket: str
    split_bytes: int
    max_gz_bytes: int


class ShardSettings(ShardCaps, frozen=True, kw_only=True):
    jobs_table: str
    work_bucket: str
    max_unzipped_bytes: int


class PriceSettings(Environment, frozen=True, kw_only=True):
    """Budgets are in dollars, empty for none; `prices` is a JSON object as in the configuration;
    an allowance of 0 is none."""

    jobs_table: str
    work_bucket: str
    prices: str = "{}"
    daily_budget_usd: str = ""
    monthly_budget_usd: str = ""
    output_allowance_tokens: int = 0

    def overrides(self) -> dict[str, dict[str, Decimal]]:
        return msgspec.json.decode(self.prices, type=dict[str, dict[str, Decimal]])

    def daily(self) -> Decimal | None:
        return Decimal(self.daily_budget_usd) if self.daily_budget_usd else None

    def monthly(self) -> Decimal | None:
        return Decimal(self.monthly_budget_usd) if self.monthly_budget_usd else None


class AskSettings(Environment, frozen=True, kw_only=True):
    stack: str
    jobs_table: str
    event_bus: str
    alert_topic: str


class ReconcileSettings(ShardCaps, frozen=True, kw_only=True):
    jobs_table: str
    work_bucket: str
    event_bus: str
    assemble_bytes: int


def provider_name(env: Mapping[str, str] = os.environ) -> str | None:
    """The provider that a function is for, if its environment names one. Asked while a module is
    imported, which needs no environment."""
    return env.get("PROVIDER")


class ProviderSettings(Environment, frozen=True, kw_only=True):
    """`base_url` is empty for the real service, and so is `storage_base_url`, where Vertex keeps
    its files; waits are in seconds; `enqueued_tokens` is a JSON object, by `provider/model`."""

    stack: str
    provider: str
    base_url: str
    storage_base_url: str = ""
    secret_arn: str
    jobs_table: str
    work_bucket: str
    min_poll_seconds: int
    max_poll_seconds: int
    max_rounds: int
    alert_topic: str
    enqueued_tokens: str = "{}"


class CutSettings(Environment, frozen=True, kw_only=True):
    jobs_table: str
    work_bucket: str
    results_bucket: str
    assemble_bytes: int


class AssembleSettings(Environment, frozen=True, kw_only=True):
    """`index_results` is `auto`, `on` or `off`."""

    jobs_table: str
    work_bucket: str
    results_bucket: str
    index_results: str
    retention_days: int


class ReportSettings(Environment, frozen=True, kw_only=True):
    jobs_table: str
    work_bucket: str
    results_bucket: str
    event_bus: str


class DedupeSettings(Environment, frozen=True, kw_only=True):
    jobs_table: str
    work_bucket: str
    results_bucket: str


class RememberSettings(DedupeSettings, frozen=True, kw_only=True):
    retention_days: int


class SweepSettings(Environment, frozen=True, kw_only=True):
    jobs_table: str
    work_bucket: str


class CommandSettings(Environment, frozen=True, kw_only=True):
    jobs_table: str
