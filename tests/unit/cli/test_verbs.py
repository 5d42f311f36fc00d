from __future__ import annotations

import json
import threading
import time
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from cli.errors import CliError
from cli.ledger import LedgerReader, timestamp
from cli.stack import Stack
from cli.uploads import Uploaded, await_job, plan_uploads
from functions.aws.ledger import DynamoLedger
from functions.batch.model import Job, Reason
from functions.batch.money import DOLLAR, Bill, Estimate

Run = Callable[..., Any]
Make = Callable[..., Job]


@pytest.fixture
def intake(stack: Stack, writer: DynamoLedger, new_job: Make) -> Callable[[int], threading.Thread]:
    """Stands in for the stack's: turns the uploads that come into jobs that succeeded."""

    def take_in(count: int) -> None:
        s3 = stack.aws.client("s3")
        seen: set[str] = set()
        deadline = time.monotonic() + 20
        while len(seen) < count and time.monotonic() < deadline:
            for each in s3.list_objects_v2(Bucket=stack.inbox).get("Contents", []):
                key = each["Key"]
                if key not in seen and not key.endswith(".yaml"):
                    etag = each["ETag"].strip('"')
                    job_id = f"job-of-{Path(key).stem}"
                    fields = {"bucket": stack.inbox, "key": key, "etag": etag}
                    writer.create_job(new_job(job_id, status="succeeded", **fields))
                    seen.add(key)
            time.sleep(0.1)

    def start(count: int) -> threading.Thread:
        thread = threading.Thread(target=take_in, args=(count,))
        thread.start()
        return thread

    return start


def test_submit_declares_an_encoding(
    stack: Stack, run: Run, intake: Callable[[int], threading.Thread], tmp_path: Path
) -> None:
    file = tmp_path / "old.csv"
    file.write_bytes("id,text\n1,\u20ac\n".encode("cp1252"))
    thread = intake(1)
    result = run("submit", str(file), "--charset", "Windows-1252")
    thread.join()
    assert result.exit_code == 0, result.output
    head = stack.aws.client("s3").head_object(Bucket=stack.inbox, Key="old.csv")
    assert head["ContentType"] == "text/csv; charset=Windows-1252"
    result = run("submit", str(file), "--charset", "klingon")
    assert result.exit_code == 1
    assert "there is no such encoding" in result.stderr


def test_submit_uploads_and_prints_the_ids_alone(
    stack: Stack, run: Run, intake: Callable[[int], threading.Thread], tmp_path: Path
) -> None:
    files = [tmp_path / name for name in ("a.jsonl", "b.csv", "recipe.yaml")]
    for file in files:
        file.write_text(f"{file.name}\n")
    thread = intake(2)
    result = run("submit", *map(str, files), "--prefix", "/team/x/", "--watch")
    thread.join()
    assert result.exit_code == 0, result.output
    assert result.stdout.splitlines()[:2] == ["job-of-a", "job-of-b"]
    assert "job-of-a succeeded" in result.stdout
    listed = stack.aws.client("s3").list_objects_v2(Bucket=stack.inbox)["Contents"]
    assert [each["Key"] for each in listed] == [
        "team/x/a.jsonl",
        "team/x/b.csv",
        "team/x/recipe.yaml",
    ]


def test_recipes_go_first(tmp_path: Path) -> None:
    for name in ("a.csv.gz", "recipe.yaml"):
        (tmp_path / name).touch()
    planned = plan_uploads([tmp_path / "a.csv.gz", tmp_path / "recipe.yaml"], "p")
    assert [key for _, key in planned] == ["p/recipe.yaml", "p/a.csv.gz"]


def test_names_are_taken_as_the_inbox_takes_them(tmp_path: Path) -> None:
    paths = [tmp_path / name for name in ("A.CSV", "b.Jsonl.GZ")]
    for path in paths:
        path.touch()
    assert [path for path, _ in plan_uploads(paths, "")] == paths


def test_one_file_does_not_take_the_place_of_another(tmp_path: Path) -> None:
    """Of two recipes the second would be everybody's."""
    paths = [tmp_path / name / "recipe.yaml" for name in ("a", "b")]
    for path in paths:
        path.parent.mkdir()
        path.touch()
    with pytest.raises(CliError, match="would both become p/recipe"):
        plan_uploads(paths, "p")


def test_submit_refuses_what_is_no_input_before_uploading(
    stack: Stack, run: Run, tmp_path: Path
) -> None:
    (tmp_path / "notes.txt").touch()
    result = run("submit", str(tmp_path / "notes.txt"))
    assert result.exit_code == 1
    assert "must end in .jsonl" in result.stderr
    result = run("submit", str(tmp_path / "missing.jsonl"))
    assert "there is no such file" in result.stderr


def test_the_job_of_an_upload_is_told_from_its_neighbours(
    stack: Stack, writer: DynamoLedger, new_job: Make
) -> None:
    now = datetime.now(UTC).replace(microsecond=0)
    earlier = timestamp(now - timedelta(minutes=1))
    upload = Uploaded(stack.inbox, "a.jsonl", "e1", "v2", now, known=frozenset({"known"}))
    fields: dict[str, Any] = {"bucket": stack.inbox, "key": "a.jsonl", "etag": "e1"}
    writer.create_job(new_job("earlier", created_at=earlier, **fields))
    writer.create_job(new_job("known", **fields))
    writer.create_job(new_job("other-version", version_id="v1", **fields))
    writer.create_job(new_job("other-content", **(fields | {"etag": "e2"})))
    writer.create_job(new_job("other-key", **(fields | {"key": "b.jsonl"})))
    reader = LedgerReader(stack.aws.client("dynamodb"), stack.table)
    with pytest.raises(CliError, match="there is no job for it"):
        await_job(reader, upload, timeout=0)
    writer.create_job(new_job("mine", version_id="v2", **fields))
    assert await_job(reader, upload, timeout=0).job_id == "mine"
    writer.create_job(new_job("no-version", **fields))
    assert await_job(reader, upload, claimed=["mine"], timeout=0).job_id == "no-version"


def test_jobs_are_listed_newest_first_across_months(
    stack: Stack, run: Run, writer: DynamoLedger, new_job: Make, ended_job: Make
) -> None:
    now = datetime.now(UTC)
    for age, make in ((1, new_job), (40, ended_job), (200, ended_job)):
        writer.create_job(make(f"job-{age:03d}", created_at=timestamp(now - timedelta(days=age))))
    result = run("jobs")
    lines = [line.split("\t") for line in result.stdout.splitlines()]
    assert lines[0] == ["job", "status", "rows", "failed", "cost", "created", "ended", "file"]
    assert [line[0] for line in lines[1:]] == ["job-001", "job-040", "job-200"]
    assert lines[2][1:4] == ["succeeded", "2", "0"]
    listed = json.loads(run("jobs", "--json", "--limit", "2").stdout)
    assert [job["job_id"] for job in listed] == ["job-001", "job-040"]
    assert listed[1]["rows"]["total"] == 2


def test_no_jobs_is_no_error(stack: Stack, run: Run) -> None:
    result = run("jobs")
    assert (result.exit_code, result.stdout) == (0, "")
    assert "No jobs yet" in result.stderr
    assert json.loads(run("jobs", "--json").stdout) == []


def test_watch_takes_a_prefix_and_tells_the_end(
    stack: Stack, run: Run, writer: DynamoLedger, ended_job: Make
) -> None:
    writer.create_job(ended_job("tickets-abc"))
    result = run("watch", "tick")
    assert result.exit_code == 0
    assert result.stdout.splitlines()[-1] == "tickets-abc succeeded: 2 of 2 rows succeeded"
    assert run("watch", "nothing").exit_code == 1


@pytest.fixture
def finished(stack: Stack, writer: DynamoLedger, ended_job: Make) -> Job:
    job = ended_job("tickets-abc")
    writer.create_job(job)
    for name, body in {"results.jsonl": b'{"row": 0}\n', "summary.json": b"{}"}.items():
        stack.aws.client("s3").put_object(
            Bucket=stack.results, Key=f"{job.job_id}/{name}", Body=body
        )
    return job


def test_results_download_all_files(
    finished: Job, run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    result = run("results", "tickets")
    assert result.stdout.splitlines() == ["tickets-abc/results.jsonl", "tickets-abc/summary.json"]
    assert (tmp_path / "tickets-abc" / "results.jsonl").read_bytes() == b'{"row": 0}\n'
    assert run("results", "tickets", "--out", "again").exit_code == 0
    assert run("results", "tickets", "--out", "again").exit_code == 0
    assert sorted(path.name for path in (tmp_path / "again").iterdir()) == [
        "results.jsonl",
        "summary.json",
    ]


def test_results_stream_to_stdout(finished: Job, run: Run) -> None:
    assert run("results", "tickets-abc", "-o", "-").stdout == '{"row": 0}\n'


def test_results_of_a_running_job_come_later(
    stack: Stack, run: Run, writer: DynamoLedger, new_job: Make
) -> None:
    writer.create_job(new_job("early", status="running"))
    result = run("results", "early")
    assert result.exit_code == 1
    assert "`batchdrop watch early` waits" in result.stderr


def test_results_that_are_not_there_are_explained(
    stack: Stack, run: Run, writer: DynamoLedger, ended_job: Make, tmp_path: Path
) -> None:
    reason = Reason("empty", "The file is empty.")
    writer.create_job(ended_job("refused", status="rejected", rows=None, reason=reason))
    result = run("results", "refused", "-o", "-")
    assert result.exit_code == 1
    assert "(The file is empty.)" in result.stderr
    result = run("results", "refused", "-o", str(tmp_path / "out"))
    assert "has no summary" in result.stderr
    assert not (tmp_path / "out").exists()


@pytest.fixture
def next_command(stack: Stack) -> Callable[[], tuple[str, Any]]:
    """What arrives next on the bus: a command and its detail."""
    events, queues = stack.aws.client("events"), stack.aws.client("sqs")
    queue = queues.create_queue(QueueName="commands")["QueueUrl"]
    arn = queues.get_queue_attributes(QueueUrl=queue, AttributeNames=["QueueArn"])["Attributes"]
    pattern = json.dumps({"source": ["batchdrop.command"]})
    events.put_rule(Name="all", EventBusName=stack.bus, EventPattern=pattern)
    target = {"Id": "1", "Arn": arn["QueueArn"]}
    events.put_targets(Rule="all", EventBusName=stack.bus, Targets=[target])

    def receive() -> tuple[str, Any]:
        [got] = queues.receive_message(QueueUrl=queue, WaitTimeSeconds=5)["Messages"]
        queues.delete_message(QueueUrl=queue, ReceiptHandle=got["ReceiptHandle"])
        event = json.loads(got["Body"])
        return event["detail-type"], event["detail"]

    return receive


def test_resume_puts_a_command_on_the_bus(
    run: Run, next_command: Callable[[], tuple[str, Any]]
) -> None:
    result = run("resume", "anthropic")
    assert result.exit_code == 0
    assert "within 15 minutes" in result.stderr
    assert next_command() == ("Resume Provider", {"provider": "anthropic"})
    assert run("resume", "gemini").exit_code == 2


def test_cancel_puts_a_command_on_the_bus(
    run: Run,
    writer: DynamoLedger,
    new_job: Make,
    ended_job: Make,
    next_command: Callable[[], tuple[str, Any]],
) -> None:
    writer.create_job(new_job("tickets-abc", status="running"))
    writer.create_job(ended_job("done"))

    assert run("cancel", "tick").exit_code == 0
    assert next_command() == ("Cancel Job", {"job_id": "tickets-abc"})

    result = run("cancel", "done")
    assert result.exit_code == 1
    assert "has ended as succeeded" in result.stderr
    writer.create_job(ended_job("gone", status="cancelled"))
    assert run("cancel", "gone").exit_code == 0


@pytest.mark.parametrize("verb", ["approve", "refuse"])
def test_a_job_that_waits_is_answered(
    run: Run,
    writer: DynamoLedger,
    new_job: Make,
    verb: str,
    next_command: Callable[[], tuple[str, Any]],
) -> None:
    writer.create_job(new_job("tickets-abc", status="awaiting_approval"))
    writer.create_job(new_job("other", status="running"))
    assert run(verb, "tick").exit_code == 0
    assert next_command() == (f"{verb.capitalize()} Job", {"job_id": "tickets-abc"})
    result = run(verb, "other")
    assert result.exit_code == 1
    assert "other waits for no approval: it is running" in result.stderr


def test_jobs_show_when_they_ended_or_may_end(
    stack: Stack, run: Run, writer: DynamoLedger, new_job: Make, ended_job: Make
) -> None:
    expected = "2026-02-03T04:05:06.789Z"
    writer.create_job(new_job("running", status="running", expected_at=expected))
    writer.create_job(new_job("new", status="running"))
    writer.create_job(
        ended_job("done", finished_at="2026-02-03T03:00:00.000Z", expected_at=expected)
    )
    lines = [line.split("\t") for line in run("jobs").stdout.splitlines()[1:]]
    assert {line[0]: line[6] for line in lines} == {
        "running": "~2026-02-03 04:05",
        "new": "-",
        "done": "2026-02-03 03:00",
    }


def test_jobs_show_what_they_cost_or_may_cost(
    stack: Stack, run: Run, writer: DynamoLedger, new_job: Make, ended_job: Make
) -> None:
    estimate = Estimate(low=1, expected=DOLLAR * 3, high=DOLLAR * 5)
    writer.create_job(new_job("running", status="running", estimate=estimate))
    bill = Bill(rows=2, actual=DOLLAR // 2, listed=DOLLAR)
    writer.create_job(ended_job("done", estimate=estimate, bill=bill))
    writer.create_job(ended_job("dark", bill=Bill(rows=2, unpriced=2)))
    lines = [line.split("\t") for line in run("jobs").stdout.splitlines()[1:]]
    assert {line[0]: line[4] for line in lines} == {
        "running": "~$3.00",
        "done": "$0.50",
        "dark": "unknown",
    }
