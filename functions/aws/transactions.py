"""Several writes, all or none: https://docs.aws.amazon.com/amazondynamodb/latest/APIReference/API_TransactWriteItems.html

Two transactions that touch one item at once are not queued: one of them is cancelled, and has to
try again. Jobs that end at the same time all settle with the same budget.
"""

from __future__ import annotations

import random
import time
from typing import Any, cast

from botocore.exceptions import ClientError

from functions.aws.objects import code_of

PATIENCE_SECONDS = 120
_LONGEST_PAUSE = 2.0
_BUSY = frozenset({"TransactionConflict", "ThrottlingError", "ProvisionedThroughputExceeded"})
_BUSY_CALLS = frozenset({"TransactionInProgressException", "TransactionConflictException"})


def transact(dynamodb: Any, writes: list[dict[str, Any]]) -> list[int]:
    """The places of the writes whose conditions did not hold: nothing was written then.

    An answer that was lost is no danger: boto3 repeats the call with the same token.
    """
    pause = 0.02
    deadline = time.monotonic() + PATIENCE_SECONDS
    while True:
        try:
            dynamodb.transact_write_items(TransactItems=writes)
        except ClientError as error:
            failed = _failed(error)
            if failed:
                return failed
            if not _is_busy(error) or time.monotonic() > deadline:
                raise
            time.sleep(random.uniform(0, pause))
            pause = min(pause * 2, _LONGEST_PAUSE)
        else:
            return []


def _reasons(error: ClientError) -> list[str]:
    answer = cast("dict[str, Any]", error.response)
    return [str(reason.get("Code")) for reason in answer.get("CancellationReasons", ())]


def _failed(error: ClientError) -> list[int]:
    reasons = _reasons(error)
    return [place for place, code in enumerate(reasons) if code == "ConditionalCheckFailed"]


def _is_busy(error: ClientError) -> bool:
    return code_of(error) in _BUSY_CALLS or bool(_BUSY & set(_reasons(error)))
