"""The ledger in DynamoDB: one table, conditional writes.

`pk`/`sk`: `JOB#<job_id>` with `JOB`, `SHARD#<shard_id>` and `FILE#<shard_id>#<kind>#<id>` below;
`ROW#<job_id>#<sha256 of custom_id>` with `ROW`, or `ROW#<row>` where the id was seen before.
"""

from __future__ import annotations

import hashlib
import time
from collections.abc import Iterable, Iterator
from decimal import Decimal
from itertools import islice
from typing import Any, TypeVar, cast
from uuid import uuid4

import msgspec
from boto3.dynamodb.types import TypeDeserializer, TypeSerializer
from botocore.exceptions import ClientError

from functions.aws.objects import code_of
from functions.batch.errors import Conflict
from functions.batch.model import (
    FINAL_JOB_STATUSES,
    IndexedRow,
    Job,
    JobStatus,
    ProviderFile,
    Reason,
    Shard,
)

INLINE_BYTES = 100_000
"""A larger answer is referred to, in the results file: an item ends at 400 kB."""

_LONGEST_STORED_ID = 1_024
_BATCH = 25  # items in one BatchWriteItem
# Their stubs leave the values open.
_serializer: Any = TypeSerializer()
_deserializer: Any = TypeDeserializer()
Record = TypeVar("Record", Job, Shard, ProviderFile)


class DynamoLedger:
    """See `functions.batch.ports.Ledger`."""

    def __init__(self, dynamodb: Any, table: str) -> None:
        self._dynamodb = dynamodb
        self._table = table

    def create_job(self, job: Job) -> bool:
        item = {
            **_plain(job),
            "pk": _job_pk(job.job_id),
            "sk": "JOB",
            "gsi1pk": f"JOBS#{job.created_at[:7]}",
            "gsi1sk": f"{job.created_at}#{job.job_id}",
        }
        return self._put_new(item)

    def job(self, job_id: str) -> Job:
        return self._get(_job_pk(job_id), "JOB", Job)

    def update_job(self, job_id: str, changes: dict[str, object]) -> None:
        names = {f"#{index}": name for index, name in enumerate(changes)}
        values = {f":{index}": _serialize(value) for index, value in enumerate(changes.values())}
        assignments = ", ".join(f"#{index} = :{index}" for index in range(len(changes)))
        finals = {f":final{n}": {"S": word} for n, word in enumerate(sorted(FINAL_JOB_STATUSES))}
        try:
            self._dynamodb.update_item(
                TableName=self._table,
                Key=_key(_job_pk(job_id), "JOB"),
                UpdateExpression=f"SET {assignments}",
                ConditionExpression=(
                    f"attribute_exists(pk) AND NOT #status IN ({', '.join(finals)})"
                ),
                ExpressionAttributeNames={**names, "#status": "status"},
                ExpressionAttributeValues={**values, **finals},
            )
        except ClientError as error:
            raise _translated(error, f"Job {job_id} does not exist or has ended.") from error

    def change_status(
        self, job_id: str, old: JobStatus, new: JobStatus, reason: Reason | None
    ) -> bool:
        try:
            self._dynamodb.update_item(
                TableName=self._table,
                Key=_key(_job_pk(job_id), "JOB"),
                UpdateExpression="SET #status = :new, #reason = :reason",
                ConditionExpression="#status = :old",
                ExpressionAttributeNames={"#status": "status", "#reason": "reason"},
                ExpressionAttributeValues={
                    ":old": {"S": old},
                    ":new": {"S": new},
                    ":reason": _serialize(reason),
                },
            )
        except ClientError as error:
            if code_of(error) == "ConditionalCheckFailedException":
                return False
            raise
        return True

    def create_shard(self, shard: Shard) -> None:
        self._put_new(
            {**_plain(shard), "pk": _job_pk(shard.job_id), "sk": f"SHARD#{shard.shard_id}"}
        )

    def shard(self, job_id: str, shard_id: str) -> Shard:
        return self._get(_job_pk(job_id), f"SHARD#{shard_id}", Shard)

    def shards(self, job_id: str, round_number: int | None = None) -> Iterator[Shard]:
        prefix = "SHARD#" if round_number is None else f"SHARD#{round_number:02d}-"
        return self._query(_job_pk(job_id), prefix, Shard)

    def save_shard(self, shard: Shard) -> Shard:
        saved = msgspec.structs.replace(shard, rev=shard.rev + 1)
        writer = uuid4().hex
        item = {
            **_plain(saved),
            "pk": _job_pk(shard.job_id),
            "sk": f"SHARD#{shard.shard_id}",
            "writer": writer,
        }
        try:
            self._dynamodb.put_item(
                TableName=self._table,
                Item=_item(item),
                ConditionExpression="rev = :rev",
                ExpressionAttributeValues={":rev": {"N": str(shard.rev)}},
                ReturnValuesOnConditionCheckFailure="ALL_OLD",
            )
        except ClientError as error:
            # A write whose answer was lost is repeated by the client, and then meets itself.
            stored = cast("dict[str, Any]", error.response).get("Item", {})
            if stored.get("writer", {}).get("S") != writer:
                message = f"Shard {shard.shard_id} of {shard.job_id} was changed meanwhile."
                raise _translated(error, message) from error
        return saved

    def add_file(self, file: ProviderFile) -> None:
        self._put_new(_file_item(file))

    def save_file(self, file: ProviderFile) -> None:
        self._dynamodb.put_item(TableName=self._table, Item=_item(_file_item(file)))

    def files(self, job_id: str, shard_id: str | None = None) -> Iterator[ProviderFile]:
        prefix = "FILE#" if shard_id is None else f"FILE#{shard_id}#"
        return self._query(_job_pk(job_id), prefix, ProviderFile)

    def index_rows(
        self, job_id: str, results: str, rows: Iterable[IndexedRow], expires_at: int
    ) -> None:
        seen: set[bytes] = set()
        waiting = iter(rows)
        while some := list(islice(waiting, _BATCH)):
            items = [_row_item(job_id, results, row, expires_at, seen) for row in some]
            self._write_all([{"PutRequest": {"Item": _item(item)}} for item in items])

    def _write_all(self, requests: list[dict[str, Any]]) -> None:
        delay = 0.05
        while requests:
            answer = self._dynamodb.batch_write_item(RequestItems={self._table: requests})
            requests = answer.get("UnprocessedItems", {}).get(self._table, [])
            if requests:
                time.sleep(delay)
                delay = min(delay * 2, 5)

    def _put_new(self, item: dict[str, Any]) -> bool:
        try:
            self._dynamodb.put_item(
                TableName=self._table,
                Item=_item(item),
                ConditionExpression="attribute_not_exists(pk)",
            )
        except ClientError as error:
            if code_of(error) == "ConditionalCheckFailedException":
                return False
            raise
        return True

    def _get(self, pk: str, sk: str, kind: type[Record]) -> Record:
        answer = self._dynamodb.get_item(
            TableName=self._table, Key=_key(pk, sk), ConsistentRead=True
        )
        if "Item" not in answer:
            raise LookupError(f"The ledger has no {pk} / {sk}.")
        return _record(answer["Item"], kind)

    def _query(self, pk: str, prefix: str, kind: type[Record]) -> Iterator[Record]:
        pages = self._dynamodb.get_paginator("query").paginate(
            TableName=self._table,
            KeyConditionExpression="pk = :pk AND begins_with(sk, :prefix)",
            ExpressionAttributeValues={":pk": {"S": pk}, ":prefix": {"S": prefix}},
            ConsistentRead=True,
        )
        for page in pages:
            for item in page["Items"]:
                yield _record(item, kind)


def _job_pk(job_id: str) -> str:
    return f"JOB#{job_id}"


def _key(pk: str, sk: str) -> dict[str, Any]:
    return {"pk": {"S": pk}, "sk": {"S": sk}}


def _plain(record: object) -> Any:
    return msgspec.to_builtins(record, str_keys=True)


def _serialize(value: object) -> Any:
    return _serializer.serialize(_plain(value))


def _item(item: dict[str, Any]) -> dict[str, Any]:
    return {name: _serializer.serialize(value) for name, value in item.items()}


def _record(item: dict[str, Any], kind: type[Record]) -> Record:
    plain = {name: _numbers(_deserializer.deserialize(value)) for name, value in item.items()}
    return msgspec.convert(plain, kind, str_keys=True)


def _numbers(value: Any) -> Any:
    match value:
        case Decimal():
            return int(value) if value == int(value) else float(value)
        case dict():
            return {name: _numbers(each) for name, each in cast("dict[str, Any]", value).items()}
        case list():
            return [_numbers(each) for each in cast("list[Any]", value)]
        case _:
            return value


def _file_item(file: ProviderFile) -> dict[str, Any]:
    sk = f"FILE#{file.shard_id}#{file.kind}#{file.id}"
    return {**_plain(file), "pk": _job_pk(file.job_id), "sk": sk}


def _row_item(
    job_id: str, results: str, row: IndexedRow, expires_at: int, seen: set[bytes]
) -> dict[str, Any]:
    digest = hashlib.sha256(row.custom_id.encode())
    item: dict[str, Any] = {
        "pk": f"ROW#{job_id}#{digest.hexdigest()}",
        "sk": f"ROW#{row.row}" if digest.digest() in seen else "ROW",
        "v": 1,
        "job_id": job_id,
        "row": row.row,
        "expires_at": expires_at,
    }
    seen.add(digest.digest())
    if len(row.custom_id) <= _LONGEST_STORED_ID:
        item["custom_id"] = row.custom_id
    if len(row.line) <= INLINE_BYTES:
        item["answer"] = row.line.decode().rstrip("\n")
    else:
        item["reference"] = {"results": results, "offset": row.offset, "length": len(row.line)}
    return item


def _translated(error: ClientError, message: str) -> Exception:
    return Conflict(message) if code_of(error) == "ConditionalCheckFailedException" else error
