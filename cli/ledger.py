"""Reads the ledger, and never writes it."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from itertools import islice
from typing import Any, Protocol, TypeVar, cast

import msgspec
from boto3.dynamodb.types import TypeDeserializer

from cli.errors import CliError
from functions.batch.model import Job, Shard

T = TypeVar("T")

MONTHS = 13
"""How far back jobs are looked for; the index has a partition for each month."""

_INDEX = "jobs-by-time"


class Ledger(Protocol):
    def job(self, job_id: str) -> Job | None: ...

    def shards(self, job_id: str) -> list[Shard]: ...

    def jobs(self, since: datetime | None = None, starting: str = "") -> Iterator[Job]:
        """Newest first; `starting` is what their ids begin with."""
        ...


class LedgerReader:
    def __init__(self, client: Any, table: str) -> None:
        self._client = client
        self._table = table

    def job(self, job_id: str) -> Job | None:
        key = {"pk": {"S": f"JOB#{job_id}"}, "sk": {"S": "JOB"}}
        item = self._client.get_item(TableName=self._table, Key=key, ConsistentRead=True).get(
            "Item"
        )
        return _read(item, Job) if item else None

    def shards(self, job_id: str) -> list[Shard]:
        condition = {
            "KeyConditionExpression": "pk = :pk AND begins_with(sk, :shard)",
            "ExpressionAttributeValues": {
                ":pk": {"S": f"JOB#{job_id}"},
                ":shard": {"S": "SHARD#"},
            },
        }
        return [_read(item, Shard) for item in self._query(condition)]

    def jobs(self, since: datetime | None = None, starting: str = "") -> Iterator[Job]:
        for month in _months(since):
            condition: dict[str, Any] = {
                "IndexName": _INDEX,
                "ScanIndexForward": False,
                "KeyConditionExpression": "gsi1pk = :month",
                "ExpressionAttributeValues": {":month": {"S": f"JOBS#{month}"}},
            }
            if since is not None:
                condition["KeyConditionExpression"] += " AND gsi1sk >= :since"
                condition["ExpressionAttributeValues"][":since"] = {"S": timestamp(since)}
            if starting:
                condition["FilterExpression"] = "begins_with(job_id, :starting)"
                condition["ExpressionAttributeValues"][":starting"] = {"S": starting}
            for item in self._query(condition):
                yield _read(item, Job)

    def _query(self, condition: dict[str, Any]) -> Iterator[dict[str, Any]]:
        pages = self._client.get_paginator("query").paginate(TableName=self._table, **condition)
        for page in pages:
            yield from page["Items"]


def find_job(ledger: Ledger, name: str) -> Job:
    """The job of that id, or the only one whose id begins so."""
    if not name:
        raise CliError("Name a job: `batchdrop jobs` lists them.")
    exact = ledger.job(name)
    if exact is not None:
        return exact
    found = list(islice(ledger.jobs(starting=name), 6))
    if not found:
        raise CliError(f"There is no job {name}: `batchdrop jobs` lists them.")
    if len(found) > 1:
        some = ", ".join(job.job_id for job in found[:5])
        more = ", …" if len(found) > 5 else ""
        raise CliError(f"Several jobs begin with {name}, type more of the id: {some}{more}.")
    return found[0]


def timestamp(moment: datetime) -> str:
    """As the ledger writes it: milliseconds and Z, so that text sorts by time."""
    text = moment.astimezone(UTC).isoformat(timespec="milliseconds")
    return text.replace("+00:00", "Z")


def _months(since: datetime | None) -> Iterator[str]:
    """`YYYY-MM`, newest first. It begins a day ahead: the clock here may be behind AWS's."""
    newest = datetime.now(UTC) + timedelta(days=1)
    oldest = since.astimezone(UTC).strftime("%Y-%m") if since else ""
    year, month = newest.year, newest.month
    for _ in range(MONTHS):
        name = f"{year:04d}-{month:02d}"
        if name < oldest:
            return
        yield name
        year, month = (year, month - 1) if month > 1 else (year - 1, 12)


def _plain(value: Any) -> Any:
    if isinstance(value, Decimal):
        return int(value) if value == value.to_integral_value() else float(value)
    if isinstance(value, dict):
        return {key: _plain(each) for key, each in cast("dict[str, Any]", value).items()}
    if isinstance(value, list):
        return [_plain(each) for each in cast("list[Any]", value)]
    return value


def _read(item: dict[str, Any], kind: type[T]) -> T:
    read: Any = TypeDeserializer().deserialize  # pyright: ignore[reportUnknownMemberType]
    fields = {name: _plain(read(value)) for name, value in item.items()}
    try:
        return msgspec.convert(fields, kind, strict=False)
    except msgspec.ValidationError as error:
        raise CliError(
            f"The ledger holds a record that this version cannot read ({error}): "
            "install the version of batchdrop that the stack was deployed with."
        ) from error
