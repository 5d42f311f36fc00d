from __future__ import annotations

from typing import Any

import pytest
from botocore.exceptions import ClientError

from functions.aws import transactions
from functions.aws.transactions import transact

WRITES: list[dict[str, Any]] = [{"Put": {}}, {"Update": {}}]


def cancelled(*reasons: str) -> ClientError:
    answer: Any = {
        "Error": {"Code": "TransactionCanceledException", "Message": "cancelled"},
        "CancellationReasons": [{"Code": reason} for reason in reasons],
    }
    return ClientError(answer, "TransactWriteItems")


def refused(code: str) -> ClientError:
    return ClientError({"Error": {"Code": code, "Message": "no"}}, "TransactWriteItems")


class Scripted:
    """Fails as told, then works."""

    def __init__(self, *errors: ClientError) -> None:
        self.errors = list(errors)
        self.calls: list[list[dict[str, Any]]] = []

    def transact_write_items(self, TransactItems: Any) -> None:  # noqa: N803
        self.calls.append(TransactItems)
        if self.errors:
            raise self.errors.pop(0)


@pytest.fixture
def pauses(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    slept: list[float] = []
    monkeypatch.setattr("time.sleep", slept.append)
    return slept


def test_conditions_that_do_not_hold_are_told_by_their_place(pauses: list[float]) -> None:
    assert transact(Scripted(), WRITES) == []
    assert transact(Scripted(cancelled("None", "ConditionalCheckFailed")), WRITES) == [1]
    both = cancelled("ConditionalCheckFailed", "ConditionalCheckFailed")
    assert transact(Scripted(both), WRITES) == [0, 1]
    assert pauses == []


@pytest.mark.parametrize(
    "error",
    [
        cancelled("None", "TransactionConflict"),
        cancelled("ThrottlingError", "None"),
        refused("TransactionInProgressException"),
    ],
)
def test_a_transaction_that_met_another_is_tried_again(
    error: ClientError, pauses: list[float]
) -> None:
    dynamodb = Scripted(error, error, error)
    assert transact(dynamodb, WRITES) == []
    assert dynamodb.calls == [WRITES] * 4
    assert len(pauses) == 3


def test_a_condition_is_an_answer_also_where_another_was_met(pauses: list[float]) -> None:
    error = cancelled("ConditionalCheckFailed", "TransactionConflict")
    assert transact(Scripted(error), WRITES) == [0]


def test_patience_ends(monkeypatch: pytest.MonkeyPatch, pauses: list[float]) -> None:
    monkeypatch.setattr(transactions, "PATIENCE_SECONDS", -1)
    with pytest.raises(ClientError):
        transact(Scripted(cancelled("TransactionConflict", "None")), WRITES)


@pytest.mark.parametrize(
    "error", [refused("ValidationException"), cancelled("None", "ItemCollectionSizeLimitExceeded")]
)
def test_other_errors_are_passed_on(error: ClientError, pauses: list[float]) -> None:
    with pytest.raises(ClientError):
        transact(Scripted(error), WRITES)
    assert pauses == []
