"""The ledger in DynamoDB: one table, conditional writes.

`pk`/`sk`: `JOB#<job_id>` with `JOB`, `SHARD#<shard_id>` and `FILE#<shard_id>#<kind>#<id>` below;
`ROW#<job_id>#<sha256 of custom_id>` with `ROW`, or `ROW#<row>` where the id was seen before;
`PROVIDER#<provider>` with `PROVIDER`, `MISSING#<job_id>#<shard_id>` for batches not found, and
`LEFT#<job_id>#<shard_id>#<kind>#<id>` for what was left behind. What was learned of a model: see
`functions.aws.learned`.
"""

from __future__ import annotations

import hashlib
import time
from collections.abc import Iterable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from itertools import islice
from typing import Any, TypeVar, cast
from uuid import uuid4

import msgspec
from botocore.exceptions import ClientError

from functions.aws import learned
from functions.aws.items import from_item, item_key, to_item, to_plain, to_value
from functions.aws.objects import code_of
from functions.batch.errors import Conflict
from functions.batch.learning import Learned
from functions.batch.model import FINAL_JOB_STATUSES, Job, JobStatus, ProviderFile, Shard, now
from functions.batch.rows import INLINE_BYTES, IndexedRow

_LONGEST_STORED_ID = 1_024
_MISSING_SECONDS = 86_400
_BATCH = 25  # items in one BatchWriteItem
_AT_ONCE = 8  # puts: a client has ten connections
Record = TypeVar("Record", Job, Shard, ProviderFile)


class DynamoLedger:
    """See `functions.batch.ledger_ports.Ledger`."""

    def __init__(self, dynamodb: Any, table: str) -> None:
        self._dynamodb = dynamodb
        self._table = table

    def create_job(self, job: Job) -> bool:
        item = {
            **to_plain(job),
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
        values = {f":{index}": to_value(value) for index, value in enumerate(changes.values())}
        assignments = ", ".join(f"#{index} = :{index}" for index in range(len(changes)))
        finals = {f":final{n}": {"S": word} for n, word in enumerate(sorted(FINAL_JOB_STATUSES))}
        try:
            self._dynamodb.update_item(
                TableName=self._table,
                Key=item_key(_job_pk(job_id), "JOB"),
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
        self, job_id: str, old: JobStatus, new: JobStatus, changes: Mapping[str, object]
    ) -> bool:
        written = {"status": new, **changes}
        names = {f"#{index}": name for index, name in enumerate(written)}
        values = {f":{index}": to_value(value) for index, value in enumerate(written.values())}
        try:
            self._dynamodb.update_item(
                TableName=self._table,
                Key=item_key(_job_pk(job_id), "JOB"),
                UpdateExpression="SET " + ", ".join(f"#{n} = :{n}" for n in range(len(written))),
                ConditionExpression="#0 = :old",
                ExpressionAttributeNames=names,
                ExpressionAttributeValues={**values, ":old": {"S": old}},
            )
        except ClientError as error:
            if code_of(error) == "ConditionalCheckFailedException":
                return False
            raise
        return True

    def resumed_at(self, provider: str) -> str | None:
        answer = self._dynamodb.get_item(
            TableName=self._table,
            Key=item_key(_provider_pk(provider), "PROVIDER"),
            ConsistentRead=True,
        )
        return answer.get("Item", {}).get("resumed_at", {}).get("S")

    def resume(self, provider: str) -> None:
        self._dynamodb.update_item(
            TableName=self._table,
            Key=item_key(_provider_pk(provider), "PROVIDER"),
            UpdateExpression="SET resumed_at = :at, v = :v",
            ExpressionAttributeValues={":at": {"S": now()}, ":v": {"N": "1"}},
        )

    def note_missing(self, shard: Shard) -> None:
        self._put_new(
            {
                "pk": _provider_pk(shard.provider),
                "sk": _missing_sk(shard),
                "job_id": shard.job_id,
                "shard_id": shard.shard_id,
                "at": now(),
                "expires_at": int(time.time()) + _MISSING_SECONDS,
                "v": 1,
            }
        )

    def forget_missing(self, shard: Shard) -> None:
        self._dynamodb.delete_item(
            TableName=self._table, Key=item_key(_provider_pk(shard.provider), _missing_sk(shard))
        )

    def missing(self, provider: str, since: str) -> list[tuple[str, str]]:
        items = self._pages(_provider_pk(provider), "MISSING#")
        return [
            (item["job_id"]["S"], item["shard_id"]["S"])
            for item in items
            if item["at"]["S"] >= since
        ]

    def create_shard(self, shard: Shard) -> None:
        self._put_new(
            {**to_plain(shard), "pk": _job_pk(shard.job_id), "sk": f"SHARD#{shard.shard_id}"}
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
            **to_plain(saved),
            "pk": _job_pk(shard.job_id),
            "sk": f"SHARD#{shard.shard_id}",
            "writer": writer,
        }
        try:
            self._dynamodb.put_item(
                TableName=self._table,
                Item=to_item(item),
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
        self._dynamodb.put_item(TableName=self._table, Item=to_item(_file_item(file)))

    def files(self, job_id: str, shard_id: str | None = None) -> Iterator[ProviderFile]:
        prefix = "FILE#" if shard_id is None else f"FILE#{shard_id}#"
        return self._query(_job_pk(job_id), prefix, ProviderFile)

    def note_left(self, file: ProviderFile) -> None:
        record = {**to_plain(file), "pk": _provider_pk(file.provider), "sk": _left_sk(file)}
        self._dynamodb.put_item(TableName=self._table, Item=to_item(record))

    def forget_left(self, file: ProviderFile) -> None:
        self._dynamodb.delete_item(
            TableName=self._table, Key=item_key(_provider_pk(file.provider), _left_sk(file))
        )

    def left(self, provider: str) -> Iterator[ProviderFile]:
        return self._query(_provider_pk(provider), "LEFT#", ProviderFile)

    def index_rows(
        self,
        job_id: str,
        results: str,
        rows: Iterable[IndexedRow],
        expires_at: int,
        *,
        beside_others: bool = False,
    ) -> None:
        seen: set[bytes] = set()
        waiting = iter(rows)
        if beside_others:
            items = (_row_item(job_id, results, row, expires_at, set()) for row in waiting)
            with ThreadPoolExecutor(_AT_ONCE) as pool:
                while some := list(islice(items, _AT_ONCE * 8)):
                    list(pool.map(self._put_row, some))
            return
        while some := list(islice(waiting, _BATCH)):
            items = [_row_item(job_id, results, row, expires_at, seen) for row in some]
            self._write_all([{"PutRequest": {"Item": to_item(item)}} for item in items])

    def learned(self, provider: str, model: str) -> Learned:
        return learned.learned(self._dynamodb, self._table, provider, model)

    def learn(self, provider: str, model: str, lesson: Learned, *, once: str) -> bool:
        return learned.learn(self._dynamodb, self._table, provider, model, lesson, once=once)

    def _put_row(self, item: dict[str, Any]) -> None:
        """Beside the row that has the id already, if another one does."""
        try:
            self._dynamodb.put_item(
                TableName=self._table,
                Item=to_item(item),
                ConditionExpression="attribute_not_exists(pk) OR #row = :row",
                ExpressionAttributeNames={"#row": "row"},
                ExpressionAttributeValues={":row": {"N": str(item["row"])}},
            )
        except ClientError as error:
            if code_of(error) != "ConditionalCheckFailedException":
                raise
            beside = {**item, "sk": f"ROW#{item['row']}"}
            self._dynamodb.put_item(TableName=self._table, Item=to_item(beside))

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
                Item=to_item(item),
                ConditionExpression="attribute_not_exists(pk)",
            )
        except ClientError as error:
            if code_of(error) == "ConditionalCheckFailedException":
                return False
            raise
        return True

    def _get(self, pk: str, sk: str, kind: type[Record]) -> Record:
        answer = self._dynamodb.get_item(
            TableName=self._table, Key=item_key(pk, sk), ConsistentRead=True
        )
        if "Item" not in answer:
            raise LookupError(f"The ledger has no {pk} / {sk}.")
        return from_item(answer["Item"], kind)

    def _query(self, pk: str, prefix: str, kind: type[Record]) -> Iterator[Record]:
        for item in self._pages(pk, prefix):
            yield from_item(item, kind)

    def _pages(self, pk: str, prefix: str) -> Iterator[Any]:
        pages = self._dynamodb.get_paginator("query").paginate(
            TableName=self._table,
            KeyConditionExpression="pk = :pk AND begins_with(sk, :prefix)",
            ExpressionAttributeValues={":pk": {"S": pk}, ":prefix": {"S": prefix}},
            ConsistentRead=True,
        )
        for page in pages:
            yield from page["Items"]


def _provider_pk(provider: str) -> str:
    return f"PROVIDER#{provider}"


def _left_sk(file: ProviderFile) -> str:
    return f"LEFT#{file.job_id}#{file.shard_id}#{file.kind}#{file.id}"


def _missing_sk(shard: Shard) -> str:
    return f"MISSING#{shard.job_id}#{shard.shard_id}"


def _job_pk(job_id: str) -> str:
    return f"JOB#{job_id}"


def _file_item(file: ProviderFile) -> dict[str, Any]:
    sk = f"FILE#{file.shard_id}#{file.kind}#{file.id}"
    return {**to_plain(file), "pk": _job_pk(file.job_id), "sk": sk}


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
    length = row.length or len(row.line)
    if length <= INLINE_BYTES:
        item["answer"] = row.line.decode().rstrip("\n")
    else:
        item["reference"] = {"results": results, "offset": row.offset, "length": length}
    return item


def _translated(error: ClientError, message: str) -> Exception:
    return Conflict(message) if code_of(error) == "ConditionalCheckFailedException" else error
