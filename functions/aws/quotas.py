"""Enqueued tokens and creates in DynamoDB, counted for all jobs together.

`QUOTA#<provider>/<model>` with `USE`, and below it `LEASE#<job_id>#<shard_id>`,
`WAIT#<ticket>#<job_id>#<shard_id>` (the line, in order) and `JOB#<job_id>` (where a job's tickets
begin). `QUOTA#<provider>` with `CREATES#<hour>`.
"""

from __future__ import annotations

import time
from collections.abc import Iterator
from typing import Any

from botocore.exceptions import ClientError

from functions.aws.items import from_item, item_key, to_item, to_plain
from functions.aws.objects import code_of
from functions.aws.transactions import transact
from functions.batch.quota import Lease, QuotaUse, Waiter

_PLACE_OF_LEASE = 0  # among the writes that take one
_DAY = 86_400
_KEPT = 60 * _DAY  # of what a lost release, or a job that ended, may leave behind


class DynamoQuotas:
    """See `functions.batch.ledger_ports.Quotas`."""

    def __init__(self, dynamodb: Any, table: str) -> None:
        self._dynamodb = dynamodb
        self._table = table

    def use(self, quota: str) -> QuotaUse:
        found = self._get(_pk(quota), "USE")
        return QuotaUse() if found is None else from_item(found, QuotaUse)

    def lease(self, lease: Lease, room: int | None, waiter: Waiter | None) -> bool:
        put = self._put_lease(lease)
        if room is None:
            return self._alone({"Put": put}, "put_item")
        writes: list[dict[str, Any]] = [{"Put": put}, {"Update": self._take(lease, room, waiter)}]
        if waiter is not None:
            writes.append({"Delete": self._named(_pk(lease.quota), _wait_sk(waiter))})
        failed = transact(self._dynamodb, writes)
        return not failed or _PLACE_OF_LEASE in failed

    def _put_lease(self, lease: Lease) -> dict[str, Any]:
        record = {
            **to_plain(lease),
            "pk": _pk(lease.quota),
            "sk": _lease_sk(lease.job_id, lease.shard_id),
            "expires_at": int(time.time()) + _KEPT,
        }
        return {
            "TableName": self._table,
            "Item": to_item(record),
            "ConditionExpression": "attribute_not_exists(pk)",
        }

    def _take(self, lease: Lease, room: int, waiter: Waiter | None) -> dict[str, Any]:
        """A condition cannot add, so that what is in use is held against the room that is left."""
        values = {":tokens": lease.tokens, ":room": room, ":v": 1}
        served = ""
        if waiter is not None:
            values[":turn"] = waiter.ticket
            served = ", turn = :turn"
        return {
            **self._named(_pk(lease.quota), "USE"),
            "UpdateExpression": f"SET v = :v{served} ADD in_use :tokens",
            "ConditionExpression": "attribute_not_exists(in_use) OR in_use <= :room",
            "ExpressionAttributeValues": to_item(values),
        }

    def find_lease(self, quota: str, job_id: str, shard_id: str) -> Lease | None:
        found = self._get(_pk(quota), _lease_sk(job_id, shard_id))
        return None if found is None else from_item(found, Lease)

    def leases(self, quota: str) -> Iterator[Lease]:
        for found in self._pages(_pk(quota), "LEASE#"):
            yield from_item(found, Lease)

    def release(self, quota: str, job_id: str, shard_id: str) -> None:
        lease = self.find_lease(quota, job_id, shard_id)
        if lease is None:
            return
        gone = {
            **self._named(_pk(quota), _lease_sk(job_id, shard_id)),
            "ConditionExpression": "attribute_exists(pk)",
        }
        if not lease.counted:
            self._alone({"Delete": gone}, "delete_item")
            return
        given_back = {
            **self._named(_pk(quota), "USE"),
            "UpdateExpression": "ADD in_use :tokens",
            "ExpressionAttributeValues": to_item({":tokens": -lease.tokens}),
        }
        transact(self._dynamodb, [{"Delete": gone}, {"Update": given_back}])

    def ticket(self, quota: str, job_id: str, number: int) -> int:
        answer = self._dynamodb.update_item(
            **self._named(_pk(quota), f"JOB#{job_id}"),
            UpdateExpression="SET first_turn = if_not_exists(first_turn, :turn), expires_at = :end",
            ExpressionAttributeValues=to_item(
                {":turn": self.use(quota).turn, ":end": int(time.time()) + _KEPT}
            ),
            ReturnValues="ALL_NEW",
        )
        return int(answer["Attributes"]["first_turn"]["N"]) + number

    def line(self, quota: str, most: int) -> list[Waiter]:
        answer = self._dynamodb.query(
            **_under(self._table, _pk(quota), "WAIT#"), Limit=most, ConsistentRead=True
        )
        return [from_item(found, Waiter) for found in answer["Items"]]

    def join(self, waiter: Waiter) -> None:
        record = {
            **to_plain(waiter),
            "pk": _pk(waiter.quota),
            "sk": _wait_sk(waiter),
            "expires_at": int(time.time()) + _KEPT,
        }
        self._dynamodb.put_item(TableName=self._table, Item=to_item(record))

    def leave(self, waiter: Waiter) -> None:
        self._dynamodb.delete_item(**self._named(_pk(waiter.quota), _wait_sk(waiter)))

    def learn(self, quota: str, limit: int, until: str) -> None:
        self._dynamodb.update_item(
            **self._named(_pk(quota), "USE"),
            UpdateExpression="SET learned = :limit, learned_until = :until, v = :v",
            ExpressionAttributeValues=to_item({":limit": limit, ":until": until, ":v": 1}),
        )

    def creates(self, provider: str, window: int) -> int:
        found = self._get(_pk(provider), f"CREATES#{window}")
        return 0 if found is None else int(found["made"]["N"])

    def count_create(self, provider: str, window: int, most: int) -> bool:
        if most < 1:
            return False
        try:
            self._dynamodb.update_item(
                **self._named(_pk(provider), f"CREATES#{window}"),
                UpdateExpression="SET expires_at = :end ADD made :one",
                ConditionExpression="attribute_not_exists(made) OR made < :most",
                ExpressionAttributeValues=to_item(
                    {":one": 1, ":most": most, ":end": int(time.time()) + _DAY}
                ),
            )
        except ClientError as error:
            if code_of(error) == "ConditionalCheckFailedException":
                return False
            raise
        return True

    def _alone(self, write: dict[str, Any], method: str) -> bool:
        """A conditional write of one item; that it was made before is as good."""
        (request,) = write.values()
        try:
            getattr(self._dynamodb, method)(**request)
        except ClientError as error:
            if code_of(error) != "ConditionalCheckFailedException":
                raise
        return True

    def _get(self, pk: str, sk: str) -> dict[str, Any] | None:
        answer = self._dynamodb.get_item(**self._named(pk, sk), ConsistentRead=True)
        return answer.get("Item")

    def _pages(self, pk: str, prefix: str) -> Iterator[dict[str, Any]]:
        pages = self._dynamodb.get_paginator("query").paginate(
            **_under(self._table, pk, prefix), ConsistentRead=True
        )
        for page in pages:
            yield from page["Items"]

    def _named(self, pk: str, sk: str) -> dict[str, Any]:
        return {"TableName": self._table, "Key": item_key(pk, sk)}


def _pk(quota: str) -> str:
    return f"QUOTA#{quota}"


def _lease_sk(job_id: str, shard_id: str) -> str:
    return f"LEASE#{job_id}#{shard_id}"


def _wait_sk(waiter: Waiter) -> str:
    return f"WAIT#{waiter.ticket:015d}#{waiter.job_id}#{waiter.shard_id}"


def _under(table: str, pk: str, prefix: str) -> dict[str, Any]:
    return {
        "TableName": table,
        "KeyConditionExpression": "pk = :pk AND begins_with(sk, :prefix)",
        "ExpressionAttributeValues": to_item({":pk": pk, ":prefix": prefix}),
    }
