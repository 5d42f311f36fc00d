"""The functions of the job workflow: one for each of its states that computes."""

from __future__ import annotations

import json

from aws_cdk import Duration
from constructs import Construct

from functions.handlers import (
    ask,
    assemble,
    cut,
    dedupe,
    join,
    plan,
    price,
    reconcile,
    remember,
    report,
    shard,
    slice,
    sweep,
)
from functions.settings import (
    AskSettings,
    AssembleSettings,
    CutSettings,
    DedupeSettings,
    PlanSettings,
    PriceSettings,
    ReconcileSettings,
    RememberSettings,
    ReportSettings,
    ShardSettings,
    SweepSettings,
)
from infra.events import Alerts, Bus
from infra.functions import FULL_CORE_MB, Function, Platform
from infra.ledger import Ledger
from infra.storage import Storage


class JobFunctions(Construct):
    def __init__(
        self,
        scope: Construct,
        id: str,
        *,
        platform: Platform,
        ledger: Ledger,
        storage: Storage,
        bus: Bus,
        alerts: Alerts,
    ) -> None:
        super().__init__(scope, id)
        config = platform.config
        table = ledger.table.table_name
        work = storage.work.bucket.bucket_name
        results = storage.results.bucket.bucket_name
        event_bus = bus.bus.event_bus_name
        rows = config.max_rows_per_shard or 0
        size = config.max_bytes_per_shard or 0
        self.plan = Function(
            self,
            "Plan",
            handler=plan,
            platform=platform,
            bundle="recipes",
            settings=PlanSettings(
                jobs_table=table,
                work_bucket=work,
                split_bytes=config.split_bytes,
                max_gz_bytes=config.max_gz_bytes,
            ),
        )
        self.shard = Function(
            self,
            "Shard",
            handler=shard,
            platform=platform,
            bundle="recipes",
            memory_mb=FULL_CORE_MB,
            storage_gib=4,
            settings=ShardSettings(
                jobs_table=table,
                work_bucket=work,
                max_rows_per_shard=rows,
                max_bytes_per_shard=size,
                max_unzipped_bytes=config.max_unzipped_bytes,
            ),
        )
        self.dedupe = Function(
            self,
            "Dedupe",
            handler=dedupe,
            platform=platform,
            memory_mb=FULL_CORE_MB,
            storage_gib=10,
            settings=DedupeSettings(jobs_table=table, work_bucket=work, results_bucket=results),
        )
        self.price = Function(
            self,
            "Price",
            handler=price,
            platform=platform,
            bundle="prices",
            settings=PriceSettings(
                jobs_table=table,
                work_bucket=work,
                prices=json.dumps(config.prices),
                daily_budget_usd=_text(config.daily_budget_usd),
                monthly_budget_usd=_text(config.monthly_budget_usd),
                output_allowance_tokens=config.output_allowance_tokens or 0,
            ),
        )
        self.ask = Function(
            self,
            "Ask",
            handler=ask,
            platform=platform,
            timeout=Duration.minutes(1),
            settings=AskSettings(
                stack=config.stack_name,
                jobs_table=table,
                event_bus=event_bus,
                alert_topic=alerts.topic.topic_arn,
            ),
        )
        self.reconcile = Function(
            self,
            "Reconcile",
            handler=reconcile,
            platform=platform,
            settings=ReconcileSettings(
                jobs_table=table,
                work_bucket=work,
                event_bus=event_bus,
                assemble_bytes=config.assemble_bytes,
                max_rows_per_shard=rows,
                max_bytes_per_shard=size,
            ),
        )
        assembling = AssembleSettings(
            jobs_table=table,
            work_bucket=work,
            results_bucket=results,
            index_results=config.index_results,
            retention_days=config.retention_days,
        )
        self.assemble = Function(
            self,
            "Assemble",
            handler=assemble,
            platform=platform,
            memory_mb=FULL_CORE_MB,
            storage_gib=10,
            settings=assembling,
        )
        self.cut = Function(
            self,
            "Cut",
            handler=cut,
            platform=platform,
            memory_mb=FULL_CORE_MB,
            storage_gib=10,
            settings=CutSettings(
                jobs_table=table,
                work_bucket=work,
                results_bucket=results,
                assemble_bytes=config.assemble_bytes,
            ),
        )
        self.slice = Function(
            self,
            "Slice",
            handler=slice,
            platform=platform,
            memory_mb=FULL_CORE_MB,
            settings=assembling,
        )
        self.join = Function(
            self,
            "Join",
            handler=join,
            platform=platform,
            memory_mb=FULL_CORE_MB,
            settings=assembling,
        )
        self.remember = Function(
            self,
            "Remember",
            handler=remember,
            platform=platform,
            memory_mb=FULL_CORE_MB,
            settings=RememberSettings(
                jobs_table=table,
                work_bucket=work,
                results_bucket=results,
                retention_days=config.retention_days,
            ),
        )
        self.report = Function(
            self,
            "Report",
            handler=report,
            platform=platform,
            settings=ReportSettings(
                jobs_table=table,
                work_bucket=work,
                results_bucket=results,
                event_bus=event_bus,
            ),
        )
        self.sweep = Function(
            self,
            "Sweep",
            handler=sweep,
            platform=platform,
            settings=SweepSettings(jobs_table=table, work_bucket=work),
        )

    @property
    def all(self) -> tuple[Function, ...]:
        return (
            self.plan,
            self.shard,
            self.dedupe,
            self.price,
            self.ask,
            self.reconcile,
            self.assemble,
            self.cut,
            self.slice,
            self.join,
            self.remember,
            self.report,
            self.sweep,
        )


def _text(amount: float | None) -> str:
    return "" if amount is None else str(amount)
