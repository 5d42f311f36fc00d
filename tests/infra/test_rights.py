"""Who may do what: the whole table, so that a right that creeps in fails a test."""

from __future__ import annotations

import pytest

from infra.config import Config
from infra.providers import providers
from tests.infra.deployed import Deployed, flat, listed

LEDGER = "LedgerTable"
INBOX, WORK, RESULTS = "StorageInbox", "StorageWork", "StorageResults"
WRITE = {"s3:PutObject", "s3:AbortMultipartUpload"}
ABANDON = {"s3:AbortMultipartUpload", "s3:ListBucketMultipartUploads"}
READ = {"s3:GetObject", "s3:ListBucket"}
READ_VERSIONS = {*READ, "s3:GetObjectVersion", "s3:ListBucketVersions"}
GET, PUT, UPDATE = "dynamodb:GetItem", "dynamodb:PutItem", "dynamodb:UpdateItem"
QUERY, BATCH = "dynamodb:Query", "dynamodb:BatchWriteItem"
DELETE = "dynamodb:DeleteItem"
SHARD_ITEMS = {GET, PUT, UPDATE, QUERY}
LABELS = [provider.label for provider in providers(Config())]
READ_SECRET = {"secretsmanager:GetSecretValue"}
ALERT = {"AlertsTopic": {"sns:Publish"}}
ANNOUNCE = {"EventsBus": {"events:PutEvents"}}
WAKE = {"JobWorkflowStateMachine": {"states:SendTaskSuccess"}}
CONSUME = {
    "sqs:ReceiveMessage",
    "sqs:DeleteMessage",
    "sqs:ChangeMessageVisibility",
    "sqs:GetQueueAttributes",
    "sqs:GetQueueUrl",
}
SEND = {"sqs:SendMessage", "sqs:GetQueueAttributes", "sqs:GetQueueUrl"}

FUNCTIONS: dict[str, dict[str, set[str]]] = {
    "IntakeRole": {
        LEDGER: {GET, PUT, UPDATE},
        "JobWorkflowStateMachine": {"states:StartExecution"},
        "IntakeQueue": CONSUME,
    },
    "JobPlanRole": {INBOX: READ_VERSIONS, WORK: READ | WRITE, LEDGER: {GET, UPDATE}},
    "JobShardRole": {INBOX: READ_VERSIONS, WORK: READ | WRITE, LEDGER: {GET, UPDATE}},
    "JobDedupeRole": {
        WORK: READ | WRITE,
        RESULTS: READ,
        LEDGER: {GET, "dynamodb:BatchGetItem"},
    },
    "JobPriceRole": {WORK: READ | WRITE, LEDGER: {GET, PUT, UPDATE}},
    "JobAskRole": {LEDGER: {GET, UPDATE}, **ANNOUNCE, **ALERT, **WAKE},
    "JobReconcileRole": {WORK: READ | WRITE, LEDGER: SHARD_ITEMS, **ANNOUNCE},
    "JobAssembleRole": {WORK: READ | WRITE, RESULTS: WRITE, LEDGER: {GET, UPDATE, QUERY, BATCH}},
    "JobCutRole": {
        WORK: READ | WRITE,
        RESULTS: WRITE | ABANDON,
        LEDGER: {GET, UPDATE},
    },
    "JobSliceRole": {WORK: READ | WRITE, RESULTS: WRITE, LEDGER: {PUT}},
    "JobJoinRole": {
        WORK: READ | WRITE,
        RESULTS: READ | WRITE,
        LEDGER: {GET, PUT, UPDATE},
    },
    "JobRememberRole": {WORK: READ, RESULTS: READ, LEDGER: {GET, BATCH}},
    "JobReportRole": {
        WORK: READ,
        RESULTS: READ | WRITE | ABANDON,
        LEDGER: {GET, PUT, UPDATE, QUERY},
        **ANNOUNCE,
    },
    "JobSweepRole": {WORK: {"s3:DeleteObject", "s3:ListBucket"}, LEDGER: {GET}},
    "RescueRole": {
        LEDGER: {GET, UPDATE},
        "JobWorkflowStateMachine": {"states:StartExecution"},
        "RescueDeadLettersQueue": SEND,
        **ALERT,
    },
    "CommandRole": {LEDGER: {GET, UPDATE}, "CommandDeadLettersQueue": SEND, **WAKE},
}
for label in LABELS:
    own = {LEDGER: {*SHARD_ITEMS, DELETE}, f"Secrets{label}": READ_SECRET}
    FUNCTIONS[f"{label}SubmitRole"] = {WORK: READ | WRITE, **own, **ALERT}
    FUNCTIONS[f"{label}PollRole"] = {**own, **ALERT}
    FUNCTIONS[f"{label}CollectRole"] = {WORK: READ | WRITE, **own, **ALERT}
    FUNCTIONS[f"{label}CleanUpRole"] = {**own, LEDGER: SHARD_ITEMS, **ALERT}
    FUNCTIONS[f"{label}TidyRole"] = {**own, **ALERT}


def rights(deployed: Deployed, role: str) -> dict[str, set[str]]:
    """Actions by resource, as `<LogicalId…>` and what follows it."""
    found: dict[str, set[str]] = {}
    for statement in deployed.statements(role):
        assert statement["Effect"] == "Allow"
        for resource in listed(statement["Resource"]):
            found.setdefault(flat(resource), set()).update(listed(statement["Action"]))
    return found


@pytest.mark.parametrize("role", FUNCTIONS)
def test_a_function_may_do_what_it_needs_and_no_more(deployed: Deployed, role: str) -> None:
    found: dict[str, set[str]] = {}
    for resource, actions in rights(deployed, role).items():
        if actions == {"logs:CreateLogStream", "logs:PutLogEvents"}:
            assert resource.startswith(f"<{role.removesuffix('Role')}Logs")
            continue
        [name] = [known for known in FUNCTIONS[role] if resource.startswith(f"<{known}")]
        found.setdefault(name, set()).update(actions)
    assert found == FUNCTIONS[role]


@pytest.mark.parametrize("label", LABELS)
def test_submit_writes_the_heads_of_rows_and_nothing_else(deployed: Deployed, label: str) -> None:
    found = rights(deployed, f"{label}SubmitRole")
    written = [resource for resource, actions in found.items() if "s3:PutObject" in actions]
    assert [resource.partition("/")[2] for resource in written] == ["*/heads/*"]


def test_the_table_names_every_function(deployed: Deployed) -> None:
    roles = {
        flat(function["Properties"]["Role"]).strip("<>")[: -len("12345678.Arn")]
        for function in deployed.of_type("Lambda::Function").values()
    }
    assert roles == set(FUNCTIONS)


def test_no_action_is_a_wildcard(deployed: Deployed) -> None:
    for role in deployed.of_type("IAM::Role"):
        assert "ManagedPolicyArns" not in deployed.resources[role]["Properties"]
        assert "Policies" not in deployed.resources[role]["Properties"]
        for statement in deployed.statements(role):
            assert not [action for action in listed(statement["Action"]) if "*" in action]


def test_only_log_delivery_is_for_every_resource(deployed: Deployed) -> None:
    for role in deployed.of_type("IAM::Role"):
        for action in rights(deployed, role).get("*", ()):
            assert action.startswith("logs:")


def test_the_job_workflow_may_run_its_steps_and_its_shards(deployed: Deployed) -> None:
    found = rights(deployed, "JobWorkflowStateMachineRole")
    machines = deployed.of_type("StepFunctions::StateMachine")
    [job] = [name for name in machines if name.startswith("JobWorkflow")]
    shards = {name for name in machines if name != job}
    assert len(shards) == len(LABELS)
    steps = {"Plan", "Shard", "Price", "Ask", "Reconcile", "Assemble", "Report", "Sweep"}
    steps |= {"Cut", "Slice", "Join", "Dedupe", "Remember"}
    assert may_invoke(found) == steps
    for machine in machines:
        assert found[f"<{machine}>"] == {"states:StartExecution"}, "a Distributed Map starts itself"
    watch = frozenset({"states:DescribeExecution", "states:StopExecution"})
    executions = {
        (machine, frozenset(actions))
        for name, actions in found.items()
        if ":execution:" in name
        for machine in machines
        if machine in name
    }
    assert executions == {
        *((shard, watch) for shard in shards),
        (job, watch),
        (job, frozenset({"states:RedriveExecution"})),
    }
    [rule] = [name for name in found if ":rule/" in name]
    assert rule.endswith("StepFunctionsGetEventsForStepFunctionsExecutionRule")
    assert found[rule] == {"events:PutTargets", "events:PutRule", "events:DescribeRule"}
    [manifests] = [name for name in found if ":s3:::" in name]
    assert WORK in manifests
    assert found[manifests] == {"s3:GetObject"}


@pytest.mark.parametrize("label", LABELS)
def test_a_shard_workflow_may_only_run_its_steps(deployed: Deployed, label: str) -> None:
    found = rights(deployed, f"{label}WorkflowStateMachineRole")
    assert may_invoke(found) == {
        f"{label}{step}" for step in ("Submit", "Poll", "Collect", "CleanUp")
    }
    actions = set[str]().union(*found.values())
    assert {each for each in actions if not each.startswith("logs:")} == {"lambda:InvokeFunction"}


def may_invoke(found: dict[str, set[str]]) -> set[str]:
    """The functions' ids, of the job's without the construct that they are in."""
    return {
        name.strip("<").split("Function")[0].removeprefix("Job")
        for name, actions in found.items()
        if actions == {"lambda:InvokeFunction"}
    }


def test_alarms_may_reach_the_topic(deployed: Deployed) -> None:
    """A topic policy replaces the default one, which lets the account's own alarms in."""
    _, policy = deployed.one("SNS::TopicPolicy")
    allowed = [
        statement
        for statement in policy["PolicyDocument"]["Statement"]
        if statement["Effect"] == "Allow"
    ]
    assert [statement["Principal"] for statement in allowed] == [
        {"Service": "cloudwatch.amazonaws.com"}
    ]
    assert "aws:SourceAccount" in str(allowed[0]["Condition"])
