"""Questions to people, beside their jobs: `JOB#<job_id>` / `APPROVAL`, `APPROVAL#canary`."""

from __future__ import annotations

from typing import Any

from botocore.exceptions import ClientError

from functions.aws.objects import code_of
from functions.batch.model import now
from functions.batch.money_ports import Approval, ApprovalAnswer, Question


class DynamoApprovals:
    """See `functions.batch.money_ports.Approvals`."""

    def __init__(self, dynamodb: Any, table: str) -> None:
        self._dynamodb = dynamodb
        self._table = table

    def ask(self, job_id: str, token: str, question: Question = "start") -> Approval:
        item = self._update(
            _key(job_id, question),
            "SET #token = :token, v = :v, asked_at = if_not_exists(asked_at, :now)",
            values={":token": {"S": token}, ":v": {"N": "1"}, ":now": {"S": now()}},
            names={"#token": "token"},
        )
        return _approval(job_id, item)

    def told(self, job_id: str, question: Question = "start") -> None:
        self._update(_key(job_id, question), "SET told = :yes", values={":yes": {"BOOL": True}})

    def answer(
        self, job_id: str, answer: ApprovalAnswer, question: Question = "start"
    ) -> Approval | None:
        try:
            item = self._update(
                _key(job_id, question),
                "SET answer = if_not_exists(answer, :answer)",
                values={":answer": {"S": answer}},
                condition="attribute_exists(pk)",
            )
        except ClientError as error:
            if code_of(error) != "ConditionalCheckFailedException":
                raise
            return None
        return _approval(job_id, item)

    def find(self, job_id: str, question: Question = "start") -> Approval | None:
        item = self._dynamodb.get_item(
            TableName=self._table, Key=_key(job_id, question), ConsistentRead=True
        ).get("Item")
        return None if item is None else _approval(job_id, item)

    def _update(
        self,
        key: dict[str, Any],
        expression: str,
        *,
        values: dict[str, Any],
        names: dict[str, str] | None = None,
        condition: str | None = None,
    ) -> dict[str, Any]:
        call: dict[str, Any] = {
            "TableName": self._table,
            "Key": key,
            "UpdateExpression": expression,
            "ExpressionAttributeValues": values,
            "ReturnValues": "ALL_NEW",
        }
        if names:
            call["ExpressionAttributeNames"] = names
        if condition:
            call["ConditionExpression"] = condition
        return self._dynamodb.update_item(**call)["Attributes"]


def _key(job_id: str, question: Question) -> dict[str, Any]:
    sort = "APPROVAL" if question == "start" else f"APPROVAL#{question}"
    return {"pk": {"S": f"JOB#{job_id}"}, "sk": {"S": sort}}


def _approval(job_id: str, item: dict[str, Any]) -> Approval:
    answer: Any = item.get("answer", {}).get("S")
    return Approval(
        job_id=job_id,
        token=item["token"]["S"],
        asked_at=item.get("asked_at", {}).get("S", ""),
        told=item.get("told", {}).get("BOOL", False),
        answer=answer,
    )
