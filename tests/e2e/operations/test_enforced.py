"""One run as strict as AWS: over TLS, and every call of a function allowed by its role or denied.

The other tests run on a cloud that lets everybody do everything.
"""

from __future__ import annotations

import json
import time
from collections.abc import Iterator
from typing import Any

import boto3
import pytest
from botocore.exceptions import ClientError

from local.cloud import REGION, EmbeddedCloud
from tests.e2e.conftest import GOOGLE, WAIT_SCALE
from tests.support.deployment import Deployment
from tests.support.lines import body, jsonl, line
from tests.support.simulator import Simulator

pytestmark = pytest.mark.e2e

FAILS_ONCE = "[[sim:status=500,times=1]] then fine"


@pytest.fixture(scope="module")
def strict(running_simulator: Simulator) -> Iterator[Deployment]:
    url = running_simulator.url
    context = {
        "openai_base_url": f"{url}/openai/v1",
        "anthropic_base_url": f"{url}/anthropic",
        "vertex_base_url": f"{url}/vertex",
        "gcs_base_url": f"{url}/gcs",
    }
    with EmbeddedCloud(wait_scale=WAIT_SCALE, tls=True) as cloud:
        cloud.bootstrap()
        deployed = Deployment(cloud, cloud.deploy("Strict", context))
        deployed.set_key("sk-test")
        deployed.set_key("sk-test", "Anthropic")
        deployed.set_key(json.dumps(GOOGLE), "Vertex")
        yield deployed


def of_each(text: str) -> list[dict[str, Any]]:
    message = {"role": "user", "content": text}
    params = {"model": "claude-haiku-4-5", "max_tokens": 50, "messages": [message]}
    request = {"contents": [{"role": "user", "parts": [{"text": text}]}]}
    return [
        line(text, body(text)),
        {"custom_id": text, "params": params},
        {"custom_id": text, "model": "gemini-2.5-flash", "request": request},
    ]


def test_two_rounds_of_all_three(strict: Deployment, sim: Simulator) -> None:
    rows = [row for n in range(5) for row in of_each(f"question {n}")]
    rows += of_each(FAILS_ONCE)
    queue = strict.listen()
    job = strict.drop("strict/all.jsonl", jsonl(rows))
    summary = strict.finish(job)
    assert summary["status"] == "succeeded", summary["reason"]
    assert summary["rounds"] == 2
    results = strict.results(job)
    assert [result["custom_id"] for result in results] == [row["custom_id"] for row in rows]
    assert [result["round"] for result in results] == [1] * 15 + [2] * 3
    assert sorted(batch["rows"] for batch in summary["batches"]) == [1, 1, 1, 6, 6, 6]
    files = summary["provider_files"]
    assert files["created"] == files["deleted"]
    for told in sim.ledger()["providers"].values():
        assert told["files_left"] == []
    kinds = [event["detail-type"] for event in strict.heard(queue)]
    assert kinds == ["Job Accepted", "Job Completed"]
    assert swept(strict, job)


def swept(strict: Deployment, job: str) -> bool:
    """The sweep, which is the job's last step, leaves nothing of it in the work bucket."""
    buckets = [each["Name"] for each in strict.s3.list_buckets()["Buckets"]]
    (work,) = (name for name in buckets if "work" in name)
    deadline = time.monotonic() + 30
    while time.monotonic() < deadline:
        if not strict.s3.list_objects_v2(Bucket=work, Prefix=job).get("Contents"):
            return True
        time.sleep(0.5)
    return False


def test_a_job_is_cancelled_by_a_command(strict: Deployment, sim: Simulator) -> None:
    sim.reset(batch_seconds=60)
    job = strict.drop("strict/stop.jsonl", jsonl([line("a", body("x")), line("b", body("y"))]))
    deadline = time.monotonic() + 60
    while not sim.ledger()["providers"]["openai"]["batches"] and time.monotonic() < deadline:
        time.sleep(0.3)
    strict.send("Cancel Job", {"job_id": job})
    summary = strict.finish(job)
    assert summary["status"] == "cancelled"
    assert [batch["status"] for batch in summary["batches"]] == ["cancelled"]
    assert summary["provider_files"]["left"] == 0
    assert sim.ledger()["providers"]["openai"]["files_left"] == []


def test_what_no_role_allows_is_denied(strict: Deployment) -> None:
    """So that the tests above say something: neither a user without rights nor a function whose
    right is taken away gets through. Runs last."""
    iam = strict.cloud.client("iam")
    iam.create_user(UserName="nobody")
    key = iam.create_access_key(UserName="nobody")["AccessKey"]
    env = strict.cloud.env()
    nobody: Any = boto3.client(
        "s3",
        endpoint_url=strict.cloud.endpoint,
        region_name=REGION,
        aws_access_key_id=key["AccessKeyId"],
        aws_secret_access_key=key["SecretAccessKey"],
        verify=env["AWS_CA_BUNDLE"],
    )
    with pytest.raises(ClientError, match="AccessDenied"):
        nobody.list_objects_v2(Bucket=strict.outputs["InboxBucket"])
    (job, *_) = strict.jobs()
    command = {"detail-type": "Cancel Job", "detail": {"job_id": job["job_id"]}}
    assert "errorType" not in invoke(strict, "Command", command)
    roles = iam.list_roles()["Roles"]
    (role,) = (each["RoleName"] for each in roles if "CommandRole" in each["RoleName"])
    for policy in iam.list_role_policies(RoleName=role)["PolicyNames"]:
        iam.delete_role_policy(RoleName=role, PolicyName=policy)
    denied = invoke(strict, "Command", command)
    assert "AccessDenied" in denied["errorMessage"], denied


def invoke(strict: Deployment, name: str, event: dict[str, Any]) -> dict[str, Any]:
    client = strict.cloud.client("lambda")
    names = [each["FunctionName"] for each in client.list_functions()["Functions"]]
    (function,) = (each for each in names if f"-{name}" in each)
    answer = client.invoke(FunctionName=function, Payload=json.dumps(event))
    return json.loads(answer["Payload"].read())
