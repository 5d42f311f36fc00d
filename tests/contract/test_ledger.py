from __future__ import annotations

import hashlib
import json
import time
from concurrent.futures import ThreadPoolExecutor
from decimal import Decimal
from typing import Any
from uuid import uuid4

import msgspec
import pytest
from botocore.exceptions import ClientError

from functions.aws.ledger import INLINE_BYTES, DynamoLedger
from functions.batch.errors import Conflict
from functions.batch.learning import Learned
from functions.batch.ledger_ports import Ledger
from functions.batch.model import (
    Job,
    JobLimits,
    ProviderFile,
    Reason,
    Refusal,
    RowCounts,
    Shard,
    now,
)
from functions.batch.rows import IndexedRow


@pytest.fixture
def job_id(ledger: Ledger) -> str:
    identity = f"job-{uuid4().hex[:16]}"
    assert ledger.create_job(made(identity))
    return identity


def made(identity: str) -> Job:
    return Job(job_id=identity, bucket="b", key="k.jsonl", bytes=5, created_at=now())


def shard(job_id: str, number: int = 1, round_number: int = 1) -> Shard:
    return Shard(
        job_id=job_id,
        shard_id=f"{round_number:02d}-{number:05d}",
        round=round_number,
        number=number,
        provider="openai",
        endpoint="/v1/responses",
        model="m",
        rows=3,
        bytes=100,
    )


def test_a_job_is_created_once_and_changed(ledger: Ledger, job_id: str) -> None:
    assert not ledger.create_job(made(job_id))
    reason = Reason("code", "A sentence.")
    ledger.update_job(job_id, {"status": "running", "reason": reason, "rows": RowCounts(total=7)})
    job = ledger.job(job_id)
    assert (job.status, job.reason, job.key) == ("running", reason, "k.jsonl")
    assert job.rows == RowCounts(total=7)
    limits = JobLimits(
        max_cost_usd=Decimal("2.55"), prices={"openai/m": {"input": Decimal("0.0000001")}}
    )
    ledger.update_job(job_id, {"limits": limits})
    assert ledger.job(job_id).limits == limits


def test_what_is_not_there_cannot_be_read_or_changed(ledger: Ledger) -> None:
    with pytest.raises(LookupError):
        ledger.job("nobody")
    with pytest.raises(LookupError):
        ledger.shard("nobody", "01-00001")
    with pytest.raises(Conflict):
        ledger.update_job("nobody", {"cancel_requested": True})


def test_a_job_that_has_ended_is_not_changed_any_more(ledger: Ledger, job_id: str) -> None:
    ledger.update_job(job_id, {"status": "partial"})
    with pytest.raises(Conflict):
        ledger.update_job(job_id, {"cancel_requested": True})


def test_a_status_changes_only_from_the_expected_one(ledger: Ledger, job_id: str) -> None:
    changes = {"reason": Reason("c", "m"), "untold": "01-00001"}
    assert not ledger.change_status(job_id, "running", "paused", changes)
    ledger.update_job(job_id, {"status": "running"})
    assert ledger.change_status(job_id, "running", "paused", changes)
    assert not ledger.change_status(job_id, "running", "paused", changes)
    job = ledger.job(job_id)
    assert (job.status, job.reason, job.untold) == ("paused", Reason("c", "m"), "01-00001")
    assert ledger.change_status(job_id, "paused", "running", {"reason": None})
    assert ledger.job(job_id).reason is None


def test_a_provider_is_resumed_at_a_time(ledger: Ledger) -> None:
    provider = uuid4().hex
    assert ledger.resumed_at(provider) is None
    before = now()
    ledger.resume(provider)
    first = ledger.resumed_at(provider)
    assert first is not None
    assert before <= first <= now()


def test_what_is_left_behind_is_known_by_its_provider(ledger: Ledger) -> None:
    file = ProviderFile(
        job_id="j", shard_id="s", provider=uuid4().hex, kind="k", id="i", created_at=now()
    )
    for _ in range(2):
        ledger.note_left(file)
    assert list(ledger.left(file.provider)) == [file]
    assert list(ledger.left(uuid4().hex)) == []
    for _ in range(2):
        ledger.forget_left(file)
    assert list(ledger.left(file.provider)) == []


def test_a_missing_batch_keeps_the_time_at_which_it_was_missed_first(ledger: Ledger) -> None:
    lost = msgspec.structs.replace(shard("j"), provider=uuid4().hex)
    ledger.note_missing(lost)
    time.sleep(0.01)
    again = now()
    ledger.note_missing(lost)
    assert ledger.missing(lost.provider, again) == []
    assert ledger.missing(lost.provider, "2026") == [("j", lost.shard_id)]
    ledger.forget_missing(lost)
    assert ledger.missing(lost.provider, "2026") == []


def test_of_two_writers_of_a_shard_the_second_loses(ledger: Ledger, job_id: str) -> None:
    ledger.create_shard(shard(job_id))
    mine = ledger.shard(job_id, "01-00001")
    theirs = ledger.shard(job_id, "01-00001")
    mine.refusal = Refusal(code="c", message="m", then="split", lines={3: Reason("x", "y")})
    mine.status = "intent"
    saved = ledger.save_shard(mine)
    assert saved.rev == 1
    with pytest.raises(Conflict):
        ledger.save_shard(theirs)
    ledger.create_shard(shard(job_id))
    assert ledger.shard(job_id, "01-00001") == saved
    assert ledger.save_shard(saved).rev == 2


def test_shards_come_in_order(ledger: Ledger, job_id: str) -> None:
    for round_number, number in ((2, 1), (1, 10), (1, 2), (1, 1)):
        ledger.create_shard(shard(job_id, number, round_number))
    found = [each.shard_id for each in ledger.shards(job_id)]
    assert found == ["01-00001", "01-00002", "01-00010", "02-00001"]
    assert [each.number for each in ledger.shards(job_id, 2)] == [1]


def test_files_are_kept_with_their_shard(ledger: Ledger, job_id: str) -> None:
    file = ProviderFile(
        job_id=job_id,
        shard_id="01-00001",
        provider="openai",
        kind="input_file",
        id="file-1",
        created_at=now(),
    )
    ledger.add_file(file)
    file.deleted_at = now()
    ledger.save_file(file)
    file.deleted_at = None
    ledger.add_file(file)
    assert [each.deleted_at is None for each in ledger.files(job_id)] == [False]
    assert list(ledger.files(job_id, "01-00002")) == []
    assert len(list(ledger.files(job_id, "01-00001"))) == 1


def model_name() -> str:
    return f"publishers/x/models/m-{uuid4().hex[:8]}"


def test_lessons_add_up_for_each_model(ledger: Ledger) -> None:
    model = model_name()
    assert ledger.learned("openai", model) == Learned()
    lesson = Learned(rows=10, tokens=1_000, input_tokens=1_300, max_output=50, bounded_output=20)
    assert ledger.learn("openai", model, lesson, once="job-a/01-00001")
    assert ledger.learned("openai", model) == lesson
    more = Learned(rows=1, tokens=3, input_tokens=2**40, unbounded=2, unbounded_output=5)
    assert ledger.learn("openai", model, more, once="job-a/01-00002")
    sums = ledger.learned("openai", model)
    assert (sums.rows, sums.tokens, sums.input_tokens) == (11, 1_003, 2**40 + 1_300)
    assert (sums.max_output, sums.bounded_output) == (50, 20)
    assert (sums.unbounded, sums.unbounded_output) == (2, 5)
    assert ledger.learned("vertex", model) == Learned()


def test_how_long_batches_took_adds_up_by_bucket(ledger: Ledger) -> None:
    model = model_name()
    assert ledger.learn("openai", model, Learned(turnaround={0: 1}), once="job-a/01-00001")
    for _ in range(2):
        more = Learned(rows=2, turnaround={0: 1, 23: 4})
        ledger.learn("openai", model, more, once="job-a/01-00002")
    assert ledger.learned("openai", model) == Learned(rows=2, turnaround={0: 2, 23: 4})


def test_a_lesson_given_twice_teaches_once(ledger: Ledger) -> None:
    model, other = model_name(), model_name()
    lesson = Learned(rows=10, tokens=1_000, input_tokens=2_000)
    assert ledger.learn("openai", model, lesson, once="job-a/01-00001")
    assert not ledger.learn("openai", model, lesson, once="job-a/01-00001")
    assert ledger.learned("openai", model) == lesson
    assert ledger.learn("openai", other, lesson, once="job-a/01-00001")


def test_lessons_given_at_once_all_count(ledger: Ledger) -> None:
    model = model_name()

    def teach(number: int) -> bool:
        return ledger.learn("openai", model, Learned(rows=number), once=f"s{number % 20}")

    with ThreadPoolExecutor(8) as pool:
        taken = list(pool.map(teach, [*range(20)]))
        again = list(pool.map(teach, [*range(20)]))
    assert all(taken)
    assert not any(again)
    assert ledger.learned("openai", model).rows == sum(range(20))


class BusyDynamo:
    """Turns transactions away, as for another one that writes the same item."""

    def __init__(self, dynamodb: Any, refusals: int, reason: str = "TransactionConflict") -> None:
        self._dynamodb = dynamodb
        self._reason = reason
        self.refusals = refusals

    def transact_write_items(self, **call: Any) -> Any:
        if self.refusals:
            self.refusals -= 1
            reasons = [{"Code": "None"}, {"Code": self._reason}]
            response: Any = {
                "Error": {"Code": "TransactionCanceledException", "Message": "cancelled"},
                "CancellationReasons": reasons,
            }
            raise ClientError(response, "TransactWriteItems")
        return self._dynamodb.transact_write_items(**call)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._dynamodb, name)


def test_a_lesson_waits_for_its_turn(dynamodb: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("time.sleep", lambda _: None)
    model = model_name()
    lesson = Learned(rows=1, tokens=1, input_tokens=1)
    busy = DynamoLedger(BusyDynamo(dynamodb, 5), "contract")
    assert busy.learn("openai", model, lesson, once="a")
    assert busy.learned("openai", model) == lesson
    stuck = DynamoLedger(BusyDynamo(dynamodb, 1, "ItemCollectionSizeLimitExceeded"), "contract")
    with pytest.raises(ClientError):
        stuck.learn("openai", model, lesson, once="b")
    assert busy.learned("openai", model) == lesson


def test_what_remembers_a_lesson_expires_and_its_sums_do_not(dynamodb: Any) -> None:
    model = model_name()
    DynamoLedger(dynamodb, "contract").learn("openai", model, Learned(rows=1), once="a")

    def item(sort: str) -> Any:
        key = {"pk": {"S": f"LEARNED#openai/{model}"}, "sk": {"S": sort}}
        return dynamodb.get_item(TableName="contract", Key=key)["Item"]

    assert int(item("LESSON#a")["expires_at"]["N"]) > time.time() + 80 * 24 * 3_600
    assert "expires_at" not in item("LEARNED")


def test_rows_are_found_by_the_hash_of_their_id(dynamodb: Any) -> None:
    ledger = DynamoLedger(dynamodb, "contract")
    job_id = f"job-{uuid4().hex[:16]}"
    long = "x" * 5_000
    ids = [*(f"id-{n}" for n in range(60)), "id-3", long]
    rows = [IndexedRow(n, name, b'{"row":%d}\n' % n, n * 10) for n, name in enumerate(ids)]
    rows.append(IndexedRow(62, "large", b"x" * (INLINE_BYTES + 1), 620))
    ledger.index_rows(job_id, "s3://r/results.jsonl", rows, 2_000_000_000)

    def item(name: str, sort: str = "ROW") -> Any:
        digest = hashlib.sha256(name.encode()).hexdigest()
        key = {"pk": {"S": f"ROW#{job_id}#{digest}"}, "sk": {"S": sort}}
        return dynamodb.get_item(TableName="contract", Key=key).get("Item")

    assert json.loads(item("id-3")["answer"]["S"]) == {"row": 3}
    assert json.loads(item("id-3", "ROW#60")["answer"]["S"]) == {"row": 60}
    assert "custom_id" not in item(long)
    reference = item("large")["reference"]["M"]
    assert reference["offset"] == {"N": "620"}
    assert "answer" not in item("large")
    assert item("id-0")["expires_at"] == {"N": "2000000000"}


def test_rows_written_side_by_side_share_an_id_and_none_is_lost(dynamodb: Any) -> None:
    """Each call again, as after a crash."""
    ledger = DynamoLedger(dynamodb, "contract")
    job_id = f"job-{uuid4().hex[:16]}"
    slices = [
        [IndexedRow(n, f"id-{n % 30}", b'{"row":%d}\n' % n, 0) for n in range(first, first + 40)]
        for first in (40, 0)
    ]
    slices.append([IndexedRow(80, "id-7", b"", 9_000, INLINE_BYTES + 1)])
    for rows in (*slices, *slices):
        ledger.index_rows(job_id, "s3://r", rows, 1, beside_others=True)
    pages = dynamodb.get_paginator("scan").paginate(
        TableName="contract",
        FilterExpression="begins_with(pk, :pk)",
        ExpressionAttributeValues={":pk": {"S": f"ROW#{job_id}#"}},
    )
    items = [item for page in pages for item in page["Items"]]
    assert sorted(int(item["row"]["N"]) for item in items) == list(range(81))
    assert sum(item["sk"]["S"] == "ROW" for item in items) == 30
    [long] = [item for item in items if item["row"]["N"] == "80"]
    assert long["reference"]["M"]["length"] == {"N": str(INLINE_BYTES + 1)}


class LosingDynamo:
    """Writes, but the client sees the refusal of its own repeated write."""

    def __init__(self, dynamodb: Any) -> None:
        self._dynamodb = dynamodb

    def put_item(self, **call: Any) -> Any:
        self._dynamodb.put_item(**call)
        return self._dynamodb.put_item(**call)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._dynamodb, name)


def test_a_write_whose_answer_was_lost_is_recognised(dynamodb: Any) -> None:
    ledger = DynamoLedger(dynamodb, "contract")
    job_id = f"job-{uuid4().hex[:16]}"
    ledger.create_shard(shard(job_id))
    losing = DynamoLedger(LosingDynamo(dynamodb), "contract")
    assert losing.save_shard(shard(job_id)).rev == 1
    with pytest.raises(Conflict):
        losing.save_shard(shard(job_id))


class ThrottledDynamo:
    """Takes one item of a batch at a time."""

    def __init__(self, dynamodb: Any) -> None:
        self._dynamodb = dynamodb

    def batch_write_item(self, RequestItems: Any) -> Any:  # noqa: N803
        ((table, requests),) = RequestItems.items()
        self._dynamodb.batch_write_item(RequestItems={table: requests[:1]})
        return {"UnprocessedItems": {table: requests[1:]} if requests[1:] else {}}


def test_items_that_were_not_taken_are_sent_again(
    dynamodb: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("time.sleep", lambda _: None)
    job_id = f"job-{uuid4().hex[:16]}"
    rows = [IndexedRow(n, f"{n}", b"{}\n", n) for n in range(4)]
    DynamoLedger(ThrottledDynamo(dynamodb), "contract").index_rows(job_id, "s3://r", rows, 1)
    found = dynamodb.scan(
        TableName="contract",
        FilterExpression="begins_with(pk, :pk)",
        ExpressionAttributeValues={":pk": {"S": f"ROW#{job_id}#"}},
    )
    assert found["Count"] == 4


def test_other_errors_are_passed_on(dynamodb: Any) -> None:
    with pytest.raises(ClientError):
        DynamoLedger(dynamodb, "no-such-table").update_job("x", {"status": "running"})
