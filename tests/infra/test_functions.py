"""The functions, and how events reach them."""

from __future__ import annotations

import importlib
import json
from collections.abc import Callable
from decimal import Decimal

import pytest

from functions import settings
from functions.aws.metrics import EmbeddedMetrics
from infra.allocator import ALLOCATOR
from infra.config import RUNNING_PYTHON, Config
from infra.providers import Provider, providers
from tests.infra.deployed import Deployed, flat, listed
from tests.infra.test_storage import denies_plain_http

PROVIDERS = [provider.name for provider in providers(Config())]
STEPS = ("submit", "poll", "collect", "clean_up", "tidy")
HANDLERS = (
    "intake",
    "plan",
    "shard",
    "dedupe",
    "price",
    "ask",
    "reconcile",
    "assemble",
    "cut",
    "slice",
    "join",
    "remember",
    "report",
    "sweep",
    "command",
    "rescue",
)
SETTINGS = {
    **{name: f"{name.capitalize()}Settings" for name in HANDLERS},
    **dict.fromkeys(("slice", "join"), "AssembleSettings"),
    **{f"{provider}/{step}": "ProviderSettings" for provider in PROVIDERS for step in STEPS},
}
MINUTES = {"intake": 1, "ask": 1, "command": 1, "rescue": 1, "poll": 5, "clean_up": 5}
MEMORY = dict.fromkeys(("shard", "submit", "collect"), 1769)
MEMORY |= dict.fromkeys(("assemble", "cut", "slice", "join", "dedupe", "remember"), 1769)
STORAGE_GIB = {"shard": 4, "submit": 2, "collect": 6, "dedupe": 10, "assemble": 10, "cut": 10}


def test_there_is_one_for_each_handler(deployed: Deployed) -> None:
    assert set(deployed.functions()) == set(SETTINGS)


@pytest.mark.parametrize("name", SETTINGS)
def test_a_function(deployed: Deployed, name: str) -> None:
    function = deployed.functions()[name]
    name = name.rpartition("/")[2]
    module = importlib.import_module(f"functions.handlers.{name}")
    assert function["Description"] == (module.__doc__ or "").splitlines()[0]
    assert function["Handler"] == f"functions.handlers.{name}.handler"
    assert callable(module.handler)
    assert function["Timeout"] == 60 * MINUTES.get(name, 15)
    assert function["MemorySize"] == MEMORY.get(name, 512)
    storage = function.get("EphemeralStorage", {"Size": 512})
    assert storage == {"Size": 1024 * STORAGE_GIB[name] if name in STORAGE_GIB else 512}
    assert function["Runtime"] == f"python{RUNNING_PYTHON}"
    assert function["Architectures"] == ["arm64"]


@pytest.mark.parametrize("name", SETTINGS)
def test_an_environment_is_what_its_handler_reads(deployed: Deployed, name: str) -> None:
    variables = {
        key: flat(value)
        for key, value in deployed.functions()[name]["Environment"]["Variables"].items()
    }
    kind: type[settings.Environment] = getattr(settings, SETTINGS[name])
    kind.from_env(variables)
    others = {key for key in variables if key.startswith("POWERTOOLS_")} | ALLOCATOR.keys()
    assert variables.keys() - others == {field.upper() for field in kind.__struct_fields__}


def test_the_configuration_reaches_the_functions(synthesize: Callable[..., Deployed]) -> None:
    functions = synthesize(
        stack_name="Other",
        **{f"{provider}_base_url": f"http://127.0.0.1:9/{provider}" for provider in PROVIDERS},
        min_poll_seconds="2",
        max_poll_seconds="7",
        max_rounds="5",
        max_rows_per_shard="11",
        max_bytes_per_shard="13",
        split_bytes="17",
        assemble_bytes="23",
        max_gz_bytes="29",
        max_unzipped_bytes="31",
        retention_days="19",
        index_results="on",
        prices='{"openai/gpt-5-mini": {"input": 0.3, "output": 1}}',
        daily_budget_usd="12.5",
        monthly_budget_usd="100",
        output_allowance_tokens="700",
        lambda_architecture="x86_64",
    ).functions()
    environments = {name: each["Environment"]["Variables"] for name, each in functions.items()}
    for provider in PROVIDERS:
        base_url = f"http://127.0.0.1:9/{provider}"
        for step in STEPS:
            variables = environments[f"{provider}/{step}"]
            assert variables["BASE_URL"] == base_url
            assert variables["STACK"] == "Other"
            assert variables["PROVIDER"] == provider
            assert variables["MIN_POLL_SECONDS"] == "2"
            assert variables["MAX_POLL_SECONDS"] == "7"
            assert variables["MAX_ROUNDS"] == "5"
    for name in ("shard", "reconcile"):
        assert environments[name]["MAX_ROWS_PER_SHARD"] == "11"
        assert environments[name]["MAX_BYTES_PER_SHARD"] == "13"
    assert environments["plan"]["SPLIT_BYTES"] == "17"
    for name in ("reconcile", "cut"):
        assert environments[name]["ASSEMBLE_BYTES"] == "23"
    assert environments["plan"]["MAX_GZ_BYTES"] == "29"
    assert environments["shard"]["MAX_UNZIPPED_BYTES"] == "31"
    assert environments["assemble"]["INDEX_RESULTS"] == "on"
    assert environments["assemble"]["RETENTION_DAYS"] == "19"
    assert environments["intake"]["RETENTION_DAYS"] == "19"
    price = {name: flat(value) for name, value in environments["price"].items()}
    priced = settings.PriceSettings.from_env(price)
    assert priced.overrides() == {"openai/gpt-5-mini": {"input": Decimal("0.3"), "output": 1}}
    assert (priced.daily(), priced.monthly()) == (Decimal("12.5"), Decimal(100))
    assert priced.output_allowance_tokens == 700
    assert environments["ask"]["STACK"] == "Other"
    assert functions["plan"]["Architectures"] == ["x86_64"]


def test_without_budgets_there_are_none(deployed: Deployed) -> None:
    variables = deployed.functions()["price"]["Environment"]["Variables"]
    priced = settings.PriceSettings.from_env({name: flat(each) for name, each in variables.items()})
    assert (priced.overrides(), priced.daily(), priced.monthly()) == ({}, None, None)


def test_logs_do_not_stay_for_ever(deployed: Deployed) -> None:
    groups = deployed.of_type("Logs::LogGroup")
    for group in groups.values():
        assert group["Properties"]["RetentionInDays"] == 30
    for name, function in deployed.functions().items():
        assert flat(function["LoggingConfig"]["LogGroup"]).strip("<>") in groups, name


def test_a_message_stays_hidden_six_times_as_long_as_its_function_runs(
    deployed: Deployed,
) -> None:
    _, queue = deployed.one("SQS::Queue", containing="IntakeQueue")
    assert queue["VisibilityTimeout"] >= 6 * deployed.functions()["intake"]["Timeout"]


def test_queues_are_encrypted_and_take_tls_only(deployed: Deployed) -> None:
    queues = deployed.of_type("SQS::Queue")
    assert len(queues) == 5
    for queue in queues.values():
        assert queue["Properties"]["SqsManagedSseEnabled"] is True
        assert queue["Properties"]["MessageRetentionPeriod"] == 14 * 24 * 3600
    covered = {
        flat(queue).strip("<>")
        for policy in deployed.of_type("SQS::QueuePolicy").values()
        for queue in policy["Properties"]["Queues"]
        if denies_plain_http(policy["Properties"]["PolicyDocument"], "sqs:*")
    }
    assert covered == set(queues)


def test_the_alert_topic_takes_tls_only(synthesize: Callable[..., Deployed]) -> None:
    deployed = synthesize(alert_email="ops@example.com")
    _, policy = deployed.one("SNS::TopicPolicy")
    assert denies_plain_http(policy["PolicyDocument"], "sns:Publish")
    _, subscription = deployed.one("SNS::Subscription")
    assert (subscription["Protocol"], subscription["Endpoint"]) == ("email", "ops@example.com")


def test_nobody_is_subscribed_unasked(deployed: Deployed) -> None:
    assert not deployed.of_type("SNS::Subscription")


def test_an_upload_reaches_intake_or_the_dead_letters(deployed: Deployed) -> None:
    _, rule = deployed.one("Events::Rule", containing="ObjectCreated")
    pattern = rule["EventPattern"]
    assert pattern["source"] == ["aws.s3"]
    assert pattern["detail-type"] == ["Object Created"]
    [bucket] = pattern["detail"]["bucket"]["name"]
    assert "StorageInbox" in flat(bucket)
    [target] = rule["Targets"]
    assert "IntakeQueue" in flat(target["Arn"])
    assert "IntakeDeadLetters" in flat(target["DeadLetterConfig"]["Arn"])
    _, queue = deployed.one("SQS::Queue", containing="IntakeQueue")
    redrive = queue["RedrivePolicy"]
    assert "IntakeDeadLetters" in flat(redrive["deadLetterTargetArn"])
    assert redrive["maxReceiveCount"] == 5
    _, mapping = deployed.one("Lambda::EventSourceMapping")
    assert mapping["BatchSize"] == 10
    assert mapping["FunctionResponseTypes"] == ["ReportBatchItemFailures"]


def test_a_command_reaches_its_function_or_the_dead_letters(deployed: Deployed) -> None:
    _, rule = deployed.one("Events::Rule", containing="Commands")
    assert rule["EventPattern"] == {"source": ["batchdrop.command"]}
    assert "EventsBus" in flat(rule["EventBusName"])
    [target] = rule["Targets"]
    assert "CommandFunction" in flat(target["Arn"])
    assert "CommandDeadLetters" in flat(target["DeadLetterConfig"]["Arn"])
    _, asynchronous = deployed.one("Lambda::EventInvokeConfig", containing="Command")
    failed = asynchronous["DestinationConfig"]["OnFailure"]["Destination"]
    assert "CommandDeadLetters" in flat(failed)


def test_an_execution_that_ends_early_reaches_its_function_or_the_dead_letters(
    deployed: Deployed,
) -> None:
    _, rule = deployed.one("Events::Rule", containing="Rescue")
    pattern = rule["EventPattern"]
    assert pattern["source"] == ["aws.states"]
    assert pattern["detail"]["status"] == ["ABORTED", "FAILED", "TIMED_OUT"]
    [machine] = pattern["detail"]["stateMachineArn"]
    assert "JobWorkflowStateMachine" in flat(machine)
    [target] = rule["Targets"]
    assert flat(target["Arn"]).strip("<>").startswith("Rescue")
    assert "RescueDeadLetters" in flat(target["DeadLetterConfig"]["Arn"])
    _, asynchronous = deployed.one("Lambda::EventInvokeConfig", containing="Rescue")
    failed = asynchronous["DestinationConfig"]["OnFailure"]["Destination"]
    assert "RescueDeadLetters" in flat(failed)


def test_rules_may_send_to_the_queues(deployed: Deployed) -> None:
    """An EventBridge rule has no role: the queue's own policy lets it in, or the event is lost."""
    let_in: set[str] = set()
    for policy in deployed.of_type("SQS::QueuePolicy").values():
        for statement in policy["Properties"]["PolicyDocument"]["Statement"]:
            if statement["Effect"] == "Allow":
                assert statement["Principal"] == {"Service": "events.amazonaws.com"}
                assert "sqs:SendMessage" in listed(statement["Action"])
                source = flat(statement["Condition"]["ArnEquals"]["aws:SourceArn"])
                let_in.add(f"{flat(statement['Resource'])} {source}")
    assert sorted(tuple(part.strip("<>")[:12] for part in each.split()) for each in let_in) == [
        ("CommandDeadL", "EventsComman"),
        ("IntakeDeadLe", "IntakeObject"),
        ("IntakeQueue6", "IntakeObject"),
        ("JanitorDeadL", "JanitorDaily"),
        ("RescueDeadLe", "RescueExecut"),
    ]


def test_dead_letters_raise_an_alarm(deployed: Deployed) -> None:
    alarms = {
        name: alarm["Properties"]
        for name, alarm in deployed.of_type("CloudWatch::Alarm").items()
        if "FilesLeft" not in name
    }
    assert len(alarms) == 4
    for name, properties in alarms.items():
        assert "DeadLetters" in name
        assert properties["MetricName"] == "ApproximateNumberOfMessagesVisible"
        assert properties["Threshold"] == 0
        assert properties["ComparisonOperator"] == "GreaterThanThreshold"
        assert ["AlertsTopic" in flat(action) for action in properties["AlarmActions"]] == [True]


@pytest.mark.parametrize("provider", providers(Config(stack_name="Other")))
def test_files_left_at_a_provider_raise_an_alarm(
    provider: Provider,
    synthesize: Callable[..., Deployed],
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """It watches the very metric that the provider's functions write, dimension by dimension."""
    deployed = synthesize(stack_name="Other")
    _, alarm = deployed.one("CloudWatch::Alarm", containing=f"{provider.label}FilesLeft")
    for step in ("clean_up", "tidy"):
        environment = deployed.functions()[f"{provider.name}/{step}"]["Environment"]["Variables"]
        monkeypatch.setenv("POWERTOOLS_SERVICE_NAME", environment["POWERTOOLS_SERVICE_NAME"])
        EmbeddedMetrics().left(environment["PROVIDER"], 3)
        line = json.loads(capsys.readouterr().out)
        [written] = line["_aws"]["CloudWatchMetrics"]
        assert line[alarm["MetricName"]] == [3.0]
        assert written["Namespace"] == alarm["Namespace"]
        assert [set(names) for names in written["Dimensions"]] == [
            {dimension["Name"] for dimension in alarm["Dimensions"]}
        ]
        for dimension in alarm["Dimensions"]:
            assert line[dimension["Name"]] == dimension["Value"]
    assert (alarm["Statistic"], alarm["Threshold"]) == ("Sum", 0)
    assert alarm["ComparisonOperator"] == "GreaterThanThreshold"
    assert alarm["TreatMissingData"] == "notBreaching"
    _, rule = deployed.one("Events::Rule", containing="JanitorDaily")
    assert (rule["ScheduleExpression"], alarm["Period"]) == ("rate(1 day)", 24 * 3600)
    assert (alarm["DatapointsToAlarm"], alarm["EvaluationPeriods"]) == (1, 2)
    assert provider.label in alarm["AlarmDescription"]
    assert ["AlertsTopic" in flat(action) for action in alarm["AlarmActions"]] == [True]
