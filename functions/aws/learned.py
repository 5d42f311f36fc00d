"""What was learned of a provider's model, in the ledger's table.

`LEARNED#<provider>/<model>` with `LEARNED` holds the sums, and as `turnaround_<bucket>` how many
batches took how long. Each lesson leaves an item
`LESSON#<once>` beside them, written in one transaction with the addition: a lesson that is given
again finds it, and adds nothing. It expires long after its job's last step can run.
"""

from __future__ import annotations

import time
from typing import Any

from functions.aws.transactions import transact
from functions.batch.learning import SUMS, Learned

KEPT_SECONDS = 90 * 24 * 3_600
"""As long as work files, see `infra.storage`."""

_TURNAROUND = "turnaround_"


def learned(dynamodb: Any, table: str, provider: str, model: str) -> Learned:
    answer = dynamodb.get_item(
        TableName=table, Key=_key(provider, model, "LEARNED"), ConsistentRead=True
    )
    item = answer.get("Item", {})
    known = Learned()
    for name, value in item.items():
        if name in SUMS:
            setattr(known, name, int(value["N"]))
        elif name.startswith(_TURNAROUND):
            known.turnaround[int(name.removeprefix(_TURNAROUND))] = int(value["N"])
    return known


def learn(
    dynamodb: Any, table: str, provider: str, model: str, lesson: Learned, *, once: str
) -> bool:
    """Whether it is new. All shards of a model add to one item, so that transactions meet."""
    return not transact(dynamodb, _writes(table, provider, model, lesson, once))


def _writes(
    table: str, provider: str, model: str, lesson: Learned, once: str
) -> list[dict[str, Any]]:
    marker = {
        **_key(provider, model, f"LESSON#{once}"),
        "v": {"N": "1"},
        "expires_at": {"N": str(int(time.time()) + KEPT_SECONDS)},
    }
    amounts = {name: getattr(lesson, name) for name in SUMS} | {
        f"{_TURNAROUND}{bucket}": batches for bucket, batches in lesson.turnaround.items()
    }
    additions = ", ".join(f"#{name} :{name}" for name in amounts)
    return [
        {
            "Put": {
                "TableName": table,
                "Item": marker,
                "ConditionExpression": "attribute_not_exists(pk)",
            }
        },
        {
            "Update": {
                "TableName": table,
                "Key": _key(provider, model, "LEARNED"),
                "UpdateExpression": f"ADD {additions} SET #v = :v",
                "ExpressionAttributeNames": {"#v": "v"} | {f"#{name}": name for name in amounts},
                "ExpressionAttributeValues": {":v": {"N": "1"}}
                | {f":{name}": {"N": str(amount)} for name, amount in amounts.items()},
            }
        },
    ]


def _key(provider: str, model: str, sort: str) -> dict[str, Any]:
    return {"pk": {"S": f"LEARNED#{provider}/{model}"}, "sk": {"S": sort}}
