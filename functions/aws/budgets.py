"""Budgets in the jobs' table: `BUDGET#day#YYYY-MM-DD` and `BUDGET#month#YYYY-MM`, each with a
sort key `BUDGET`, and beside each job a lease on them, `JOB#<job_id>` / `BUDGET`.

`committed` is what ended jobs spent and running ones may spend; `spent` is the first part of it. A
condition cannot add, so what may be committed before is computed here: with it, and the lease in
the same transaction, as many jobs at once as there may be commit no more than the limit.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from functions.aws.transactions import transact
from functions.batch.money_ports import Budget, Shortfall

Item = dict[str, Any]


class DynamoBudgets:
    """See `functions.batch.money_ports.Budgets`."""

    def __init__(self, dynamodb: Any, table: str) -> None:
        self._dynamodb = dynamodb
        self._table = table

    def reserve(self, job_id: str, amount: int, budgets: Sequence[Budget]) -> Shortfall | None:
        for budget in budgets:
            if amount > budget.limit and self._lease(job_id) is None:
                return self._shortfall(budget)
        writes = [self._new_lease(job_id, amount, budgets)]
        writes += [self._commit(budget, amount) for budget in budgets]
        failed = transact(self._dynamodb, writes)
        if not failed or 0 in failed:
            return None
        return self._shortfall(budgets[failed[0] - 1])

    def settle(self, job_id: str, spent: int | None) -> bool:
        while True:
            lease = self._lease(job_id)
            if lease is None:
                if not transact(self._dynamodb, [self._no_lease(job_id)]):
                    return True
                continue  # reserved meanwhile
            if lease["settled"]["BOOL"]:
                return False
            reserved = int(lease["reserved"]["N"])
            amount = reserved if spent is None else spent
            writes = [self._settled(job_id, amount)]
            writes += [
                self._settle(name["S"], amount - reserved, amount) for name in lease["budgets"]["L"]
            ]
            return not transact(self._dynamodb, writes)

    def _lease(self, job_id: str) -> Item | None:
        return self._dynamodb.get_item(
            TableName=self._table, Key=_lease_key(job_id), ConsistentRead=True
        ).get("Item")

    def _shortfall(self, budget: Budget) -> Shortfall:
        item = self._dynamodb.get_item(
            TableName=self._table, Key=_key(budget.name), ConsistentRead=True
        ).get("Item", {})
        return Shortfall(budget, int(item.get("committed", {"N": "0"})["N"]))

    def _new_lease(self, job_id: str, amount: int, budgets: Sequence[Budget]) -> Item:
        item = {
            **_lease_key(job_id),
            "v": {"N": "1"},
            "reserved": {"N": str(amount)},
            "settled": {"BOOL": False},
            "budgets": {"L": [{"S": budget.name} for budget in budgets]},
        }
        return self._put_new(item)

    def _no_lease(self, job_id: str) -> Item:
        return self._put_new(
            {
                **_lease_key(job_id),
                "v": {"N": "1"},
                "reserved": {"N": "0"},
                "settled": {"BOOL": True},
                "budgets": {"L": []},
            }
        )

    def _put_new(self, item: Item) -> Item:
        return {
            "Put": {
                "TableName": self._table,
                "Item": item,
                "ConditionExpression": "attribute_not_exists(pk)",
            }
        }

    def _commit(self, budget: Budget, amount: int) -> Item:
        return {
            "Update": {
                "TableName": self._table,
                "Key": _key(budget.name),
                "UpdateExpression": "ADD committed :amount SET v = :v",
                "ConditionExpression": "attribute_not_exists(committed) OR committed <= :room",
                "ExpressionAttributeValues": {
                    ":amount": {"N": str(amount)},
                    ":room": {"N": str(budget.limit - amount)},
                    ":v": {"N": "1"},
                },
            }
        }

    def _settled(self, job_id: str, amount: int) -> Item:
        return {
            "Update": {
                "TableName": self._table,
                "Key": _lease_key(job_id),
                "UpdateExpression": "SET settled = :yes, spent = :amount",
                "ConditionExpression": "settled = :no",
                "ExpressionAttributeValues": {
                    ":yes": {"BOOL": True},
                    ":no": {"BOOL": False},
                    ":amount": {"N": str(amount)},
                },
            }
        }

    def _settle(self, name: str, change: int, spent: int) -> Item:
        return {
            "Update": {
                "TableName": self._table,
                "Key": _key(name),
                "UpdateExpression": "ADD committed :change, spent :spent",
                "ExpressionAttributeValues": {
                    ":change": {"N": str(change)},
                    ":spent": {"N": str(spent)},
                },
            }
        }


def _key(name: str) -> Item:
    return {"pk": {"S": f"BUDGET#{name}"}, "sk": {"S": "BUDGET"}}


def _lease_key(job_id: str) -> Item:
    return {"pk": {"S": f"JOB#{job_id}"}, "sk": {"S": "BUDGET"}}
