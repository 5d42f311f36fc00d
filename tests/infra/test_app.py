"""The app as the CDK's command line runs it."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from cfnlint.api import lint_all

from tests.infra.conftest import NO_BUNDLES, ROOT
from tests.infra.deployed import Deployed

# Names that a template may not fix, or two deployments could not live in one account.
PHYSICAL_NAMES = {
    "AWS::S3::Bucket": "BucketName",
    "AWS::DynamoDB::Table": "TableName",
    "AWS::Lambda::Function": "FunctionName",
    "AWS::StepFunctions::StateMachine": "StateMachineName",
    "AWS::SQS::Queue": "QueueName",
    "AWS::SNS::Topic": "TopicName",
    "AWS::IAM::Role": "RoleName",
    "AWS::Logs::LogGroup": "LogGroupName",
    "AWS::SecretsManager::Secret": "Name",
    "AWS::Events::Rule": "Name",
    "AWS::CloudWatch::Alarm": "AlarmName",
}


def run_app(outdir: Path, **context: object) -> subprocess.CompletedProcess[str]:
    flags = json.loads((ROOT / "cdk.json").read_text())["context"]
    return subprocess.run(
        [sys.executable, "-W", "error", "app.py"],
        cwd=ROOT,
        env={
            **os.environ,
            "CDK_OUTDIR": str(outdir),
            "CDK_CONTEXT_JSON": json.dumps({**flags, **NO_BUNDLES, **context}),
            "JSII_SILENCE_WARNING_END_OF_LIFE_NODE_VERSION": "18,20",
        },
        capture_output=True,
        text=True,
        check=False,
    )


@pytest.fixture(scope="module")
def assembly(tmp_path_factory: pytest.TempPathFactory) -> Path:
    outdir = tmp_path_factory.mktemp("cdk.out")
    done = run_app(outdir)
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")
    return outdir


def test_no_finding_is_left(assembly: Path) -> None:
    report = json.loads((assembly / "validation-report.json").read_text())
    assert report["pluginReports"] == []


def test_no_warning_is_left(assembly: Path) -> None:
    manifest = (assembly / "manifest.json").read_text()
    metadata = "".join(path.read_text() for path in assembly.glob("*.metadata.json"))
    for level in ("aws:cdk:warning", "aws:cdk:error", "aws:cdk:info"):
        assert level not in manifest + metadata


def test_the_template_satisfies_cloudformation(assembly: Path) -> None:
    found = lint_all((assembly / "Batchdrop.template.json").read_text())
    assert [str(match) for match in found if match.rule.id.startswith("E")] == []


def test_a_bad_value_is_one_sentence_and_no_traceback(tmp_path: Path) -> None:
    done = run_app(tmp_path, max_rounds="many")
    assert done.returncode == 1
    assert (
        done.stderr == 'Configuration max_rounds is "many"; allowed is a whole number, 1 to 10.\n'
    )


def test_the_command_of_cdk_json_prefers_the_projects_own_python() -> None:
    command = json.loads((ROOT / "cdk.json").read_text())["app"]
    shown = subprocess.run(
        command.replace("app.py", "-c 'import sys; print(sys.prefix)'"),
        shell=True,
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=True,
    )
    if (ROOT / ".venv/bin/python3").exists():
        assert Path(shown.stdout.strip()) == ROOT / ".venv"


def test_two_deployments_share_no_name(synthesize: Callable[..., Deployed]) -> None:
    one, two = synthesize(), synthesize(stack_name="Other")
    assert buses(one).isdisjoint(buses(two))
    for deployed in (one, two):
        for resource in deployed.resources.values():
            name = PHYSICAL_NAMES.get(resource["Type"])
            assert name not in resource.get("Properties", {})
        assert not [
            name for name, output in deployed.template["Outputs"].items() if "Export" in output
        ]


def buses(deployed: Deployed) -> set[Any]:
    """CloudFormation names every resource but a bus: that name is made from the stack's."""
    return {each["Properties"]["Name"] for each in deployed.of_type("Events::EventBus").values()}
