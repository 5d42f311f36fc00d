"""Sums of a day in the jobs' table: `ROLLUP#<YYYY-MM-DD>` with `MODEL#<provider>#<model>` and
`FOLDER#<folder>`; and for each shard a mark that it was added, `JOB#<job_id>` / `ROLLED#<shard>`.
"""

from __future__ import annotations

import hashlib
from typing import Any

from functions.aws.transactions import transact
from functions.batch.model import Shard
from functions.batch.spending.rollups import sums

_LONGEST_NAME = 900
"""Bytes: a sort key ends at 1,024, and so does an object's key."""


class DynamoRollups:
    """See `functions.batch.money_ports.Rollups`."""

    def __init__(self, dynamodb: Any, table: str) -> None:
        self._dynamodb = dynamodb
        self._table = table

    def add(self, shard: Shard, folder: str, day: str) -> None:
        mark = {
            "pk": {"S": f"JOB#{shard.job_id}"},
            "sk": {"S": f"ROLLED#{shard.shard_id}"},
            "v": {"N": "1"},
            "day": {"S": day},
        }
        put = {
            "TableName": self._table,
            "Item": mark,
            "ConditionExpression": "attribute_not_exists(pk)",
        }
        added = {name: count for name, count in sums(shard).items() if count}
        sorts = (f"MODEL#{shard.provider}#{shard.model}", f"FOLDER#{folder}")
        updates = [self._update(day, _bounded(sort), added) for sort in sorts]
        transact(self._dynamodb, [{"Put": put}, *updates])

    def _update(self, day: str, sort: str, added: dict[str, int]) -> dict[str, Any]:
        additions = ", ".join(f"#{name} :{name}" for name in added)
        return {
            "Update": {
                "TableName": self._table,
                "Key": {"pk": {"S": f"ROLLUP#{day}"}, "sk": {"S": sort}},
                "UpdateExpression": f"ADD {additions} SET v = :v",
                "ExpressionAttributeNames": {f"#{name}": name for name in added},
                "ExpressionAttributeValues": {
                    ":v": {"N": "1"},
                    **{f":{name}": {"N": str(count)} for name, count in added.items()},
                },
            }
        }


def _bounded(sort: str) -> str:
    data = sort.encode()
    if len(data) <= _LONGEST_NAME:
        return sort
    digest = hashlib.sha256(data).hexdigest()
    return f"{data[: _LONGEST_NAME - 65].decode(errors='ignore')}#{digest}"
