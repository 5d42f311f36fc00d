"""The functions of a shard workflow and the janitor's, one set for each provider, each with that
provider's SDK."""

from __future__ import annotations

import json

from aws_cdk import Duration
from constructs import Construct

from functions.handlers import clean_up, collect, poll, submit, tidy
from functions.settings import ProviderSettings
from infra.events import Alerts
from infra.functions import FULL_CORE_MB, Function, Platform
from infra.ledger import Ledger
from infra.providers import Provider
from infra.secrets import Secrets
from infra.storage import Storage

SHORT = Duration.minutes(5)  # a handful of calls to the provider, no data


class ProviderFunctions(Construct):
    def __init__(
        self,
        scope: Construct,
        id: str,
        *,
        provider: Provider,
        platform: Platform,
        ledger: Ledger,
        storage: Storage,
        secrets: Secrets,
        alerts: Alerts,
    ) -> None:
        super().__init__(scope, id)
        config = platform.config
        self.provider = provider
        settings = ProviderSettings(
            stack=config.stack_name,
            provider=provider.name,
            base_url=provider.base_url or "",
            storage_base_url=provider.storage_base_url or "",
            secret_arn=secrets.arn(provider.name),
            jobs_table=ledger.table.table_name,
            work_bucket=storage.work.bucket.bucket_name,
            min_poll_seconds=config.min_poll_seconds,
            max_poll_seconds=config.max_poll_seconds,
            max_rounds=config.max_rounds,
            alert_topic=alerts.topic.topic_arn,
            enqueued_tokens=json.dumps(
                {
                    model: tokens
                    for model, tokens in config.enqueued_tokens.items()
                    if model.startswith(f"{provider.name}/")
                }
            ),
        )
        self.submit = Function(
            self,
            "Submit",
            handler=submit,
            settings=settings,
            platform=platform,
            bundle=provider.bundle,
            memory_mb=FULL_CORE_MB,
            storage_gib=2,
        )
        self.poll = Function(
            self,
            "Poll",
            handler=poll,
            settings=settings,
            platform=platform,
            bundle=provider.bundle,
            timeout=SHORT,
        )
        self.collect = Function(
            self,
            "Collect",
            handler=collect,
            settings=settings,
            platform=platform,
            bundle=provider.bundle,
            memory_mb=FULL_CORE_MB,
            storage_gib=6,
        )
        self.clean_up = Function(
            self,
            "CleanUp",
            handler=clean_up,
            settings=settings,
            platform=platform,
            bundle=provider.bundle,
            timeout=SHORT,
        )

        self.tidy = Function(
            self,
            "Tidy",
            handler=tidy,
            settings=settings,
            platform=platform,
            bundle=provider.bundle,
        )

    @property
    def all(self) -> tuple[Function, ...]:
        """Those of the shard's workflow."""
        return (self.submit, self.poll, self.collect, self.clean_up)
