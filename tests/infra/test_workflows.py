"""The state machines as they are deployed: what is retried, what is caught, what goes where."""

from __future__ import annotations

import json
from collections.abc import Iterator
from itertools import pairwise
from typing import Any

import pytest

from bench.orchestration import of_a_job, of_a_shard
from functions.batch.reading.planning import WAIT_LAPS
from infra.config import Config
from infra.providers import providers
from tests.infra.deployed import Deployed, flat

LABELS = [provider.label for provider in providers(Config())]
WAITS_FOR_A_PERSON = "Ask for approval"
WAIT_FOR_A_PERSON = (WAITS_FOR_A_PERSON, "Ask about the canary")
WHAT_THERE_IS = (
    "Assemble what there is",
    "Cut of what there is",
    "Assemble slices of what there is",
    "Join slices of what there is",
)
MACHINES = ("JobWorkflow", *(f"{label}Workflow" for label in LABELS))


def states(definition: dict[str, Any]) -> Iterator[tuple[str, dict[str, Any]]]:
    """Maps' children too."""
    for name, state in definition["States"].items():
        yield name, state
        if "ItemProcessor" in state:
            yield from states(state["ItemProcessor"])


def functions_of(definition: dict[str, Any]) -> Iterator[tuple[str, dict[str, Any]]]:
    for name, state in states(definition):
        if state["Type"] == "Task" and "Function" in state["Resource"]:
            yield name, state


@pytest.mark.parametrize("machine", MACHINES)
def test_every_function_is_tried_again(deployed: Deployed, machine: str) -> None:
    for name, state in functions_of(deployed.definition(machine)):
        throttled, anything = state["Retry"]
        assert throttled["ErrorEquals"] == ["Lambda.TooManyRequestsException"], name
        assert throttled["MaxAttempts"] > anything["MaxAttempts"] == 6
        assert anything["ErrorEquals"] == ["States.ALL"]
        for retry in state["Retry"]:
            assert retry["IntervalSeconds"] == 2
            assert retry["BackoffRate"] == 2
            assert retry["MaxDelaySeconds"] == 120
            assert retry["JitterStrategy"] == "FULL"


@pytest.mark.parametrize("machine", MACHINES)
def test_no_task_fails_the_execution(deployed: Deployed, machine: str) -> None:
    definition = deployed.definition(machine)
    for name, state in definition["States"].items():
        if state["Type"] in ("Task", "Map"):
            assert state["Catch"][-1]["ErrorEquals"] == ["States.ALL"], name
            assert len(state["Catch"]) == 1 + (name in WAIT_FOR_A_PERSON), name


@pytest.mark.parametrize("machine", MACHINES)
def test_a_task_outlasts_its_function(deployed: Deployed, machine: str) -> None:
    for name, state in functions_of(deployed.definition(machine)):
        reference = state["Resource"].strip("<>").split(".")[0]
        timeout = deployed.resources[reference]["Properties"]["Timeout"]
        assert timeout < state["TimeoutSeconds"] <= timeout + 60, name


@pytest.mark.parametrize("machine", MACHINES)
def test_a_definition_fits(deployed: Deployed, machine: str) -> None:
    definition = deployed.definition(machine)
    assert len(json.dumps(definition)) < 1_000_000
    names = [name for name, _ in states(definition)]
    assert len(names) == len(set(names))
    assert max(len(name) for name in names) <= 80


@pytest.mark.parametrize("machine", MACHINES)
def test_errors_are_logged_without_data(deployed: Deployed, machine: str) -> None:
    _, properties = deployed.one("StepFunctions::StateMachine", containing=machine)
    logging = properties["LoggingConfiguration"]
    assert (logging["Level"], logging["IncludeExecutionData"]) == ("ERROR", False)


def test_a_step_that_fails_ends_the_execution_so_that_another_takes_the_job_up(
    deployed: Deployed,
) -> None:
    job = deployed.definition("JobWorkflow")["States"]
    last = ("Report", "Delete work files", "Remember answers", *WHAT_THERE_IS)
    for name, state in job.items():
        if state["Type"] in ("Task", "Map") and name not in last:
            caught = state["Catch"][-1]
            assert (caught["Next"], caught["ResultPath"]) == ("Broken off", "$.failure"), name
    assert job["Broken off"]["Type"] == "Fail"


def test_a_job_that_is_given_up_is_put_together_and_reported(deployed: Deployed) -> None:
    job = deployed.definition("JobWorkflow")["States"]
    [given_up] = job["Given up?"]["Choices"]
    assert given_up == {
        "Variable": "$.failure",
        "IsPresent": True,
        "Next": "Cut of what there is",
    }
    assert job["Cut of what there is"]["Next"] == "In slices? of what there is"
    assert job["In slices? of what there is"]["Default"] == "Assemble what there is"
    for name in WHAT_THERE_IS:
        assert job[name]["Catch"][-1]["Next"] == "Report", name
    state = job["Assemble what there is"]
    assert (state["Next"], state["Catch"][-1]["Next"]) == ("Report", "Report")
    assert state["Resource"] == job["Assemble"]["Resource"]
    assert job["Report"]["Catch"][0]["Next"] == "Report failed"
    assert job["Report failed"]["Type"] == "Fail"


def test_a_failure_keeps_the_work_files_and_their_deletion_fails_nothing(
    deployed: Deployed,
) -> None:
    job = deployed.definition("JobWorkflow")["States"]
    decide = job[job["Report"]["Next"]]
    [failed] = decide["Choices"]
    assert failed == {"Variable": "$.failure", "IsPresent": True, "Next": "Keep work files"}
    assert decide["Default"] == "Delete work files"
    [unswept] = job["Delete work files"]["Catch"]
    assert job[unswept["Next"]]["Type"] == "Succeed"


def test_the_way_of_a_job(deployed: Deployed) -> None:
    job = deployed.definition("JobWorkflow")
    assert job["StartAt"] == "Given up?"
    way = [
        "Given up?",
        "Plan",
        "Accepted?",
        "Shard ranges",
        "Any not to send?",
        "Price",
        "May it start?",
        WAITS_FOR_A_PERSON,
    ]
    assert "Shard ranges" in nexts(job["States"]["May it start?"])
    way += ["Price", "May it start?", "Start rounds", "Reconcile", "Rows remain?"]
    way += ["Run shards", "Reconcile", "Rows remain?", "Run many shards", "Reconcile"]
    way += ["Rows remain?", "Assemble", "Any to remember?", "Report"]
    way += ["Stopped by a failure?", "Delete work files"]
    for here, there in pairwise(way):
        assert there in nexts(job["States"][here]), here
    assert "Wait for a recipe" in nexts(job["States"]["Accepted?"])
    assert job["States"]["Wait for a recipe"] == {"Type": "Wait", "Seconds": 15, "Next": "Plan"}
    assert WAIT_LAPS * 15 == 60
    assert job["States"]["Delete work files"]["End"]
    assert job["States"]["Accepted?"]["Default"] == "Report"
    assert job["States"]["May it start?"]["Default"] == "Report"
    assert job["States"]["Rows remain?"]["Default"] == "Assemble"


def test_a_job_that_dedupes_looks_before_it_is_priced_and_remembers_at_its_end(
    deployed: Deployed,
) -> None:
    states = deployed.definition("JobWorkflow")["States"]
    for question, yes, then in (
        ("Any not to send?", "Find rows not to send", "Price"),
        ("Any to remember?", "Remember answers", "Report"),
    ):
        [choice] = states[question]["Choices"]
        assert choice == {
            "And": [
                {"Variable": "$.plan.dedupe", "IsPresent": True},
                {"Variable": "$.plan.dedupe", "BooleanEquals": True},
            ],
            "Next": yes,
        }
        assert states[question]["Default"] == then
        assert (states[yes]["Next"], states[yes]["ResultPath"]) == (then, None)
    [forgotten] = states["Remember answers"]["Catch"]
    assert forgotten["Next"] == "Report"
    assert forgotten["ResultPath"] != "$.failure", "the job is no failure for that"


def test_a_job_waits_three_days_for_a_person(deployed: Deployed) -> None:
    state = deployed.definition("JobWorkflow")["States"][WAITS_FOR_A_PERSON]
    assert state["Resource"].endswith(":states:::lambda:invoke.waitForTaskToken")
    assert state["Parameters"]["Payload"] == {
        "job_id.$": "$.job_id",
        "token.$": "$$.Task.Token",
    }
    assert "JobAsk" in state["Parameters"]["FunctionName"]
    assert state["TimeoutSeconds"] == 3 * 86_400
    unanswered, failed = state["Catch"]
    assert (unanswered["ErrorEquals"], unanswered["Next"]) == (["States.Timeout"], "Price")
    assert unanswered["ResultPath"] == "$.unanswered"
    assert (failed["Next"], failed["ResultPath"]) == ("Broken off", "$.failure")
    once, throttled, anything = state["Retry"]
    assert (once["ErrorEquals"], once["MaxAttempts"]) == (["States.Timeout"], 0)
    assert throttled["ErrorEquals"] == ["Lambda.TooManyRequestsException"]
    assert (anything["ErrorEquals"], anything["MaxAttempts"]) == (["States.ALL"], 6)
    assert state["ResultPath"] is None


def test_after_a_canary_in_trouble_a_person_is_asked_and_the_rounds_go_on(
    deployed: Deployed,
) -> None:
    states = deployed.definition("JobWorkflow")["States"]
    assert "Ask about the canary" in nexts(states["Rows remain?"])
    state = states["Ask about the canary"]
    assert state["Next"] == "Reconcile"
    assert state["Parameters"]["Payload"] == {
        "job_id.$": "$.job_id",
        "question": "canary",
        "token.$": "$$.Task.Token",
    }
    assert state["TimeoutSeconds"] == 3 * 86_400
    unanswered, failed = state["Catch"]
    assert (unanswered["ErrorEquals"], unanswered["Next"]) == (["States.Timeout"], "Reconcile")
    assert unanswered["ResultPath"] == "$.canary_unanswered"
    assert (failed["Next"], failed["ResultPath"]) == ("Broken off", "$.failure")
    assert state["ResultPath"] is None


@pytest.mark.parametrize("label", LABELS)
def test_the_way_of_a_shard(deployed: Deployed, label: str) -> None:
    shard = deployed.definition(f"{label}Workflow")
    assert shard["StartAt"] == "Submit"
    way = ["Submit", "Submitted?", "Wait to submit", "Submit", "Submitted?", "Wait"]
    way += ["Poll", "Ended?", "Wait", "Poll", "Ended?", "Collect", "Clean up", "Cleaned?"]
    way += ["Wait to clean up", "Clean up", "Cleaned?", "Done"]
    for here, there in pairwise(way):
        assert there in nexts(shard["States"][here]), here
    assert "Collect" in nexts(shard["States"]["Submitted?"])
    assert "Collect" in nexts(shard["States"]["Cleaned?"]), "a call may hand over"
    assert nexts(shard["States"]["Collect"]) == {"Clean up"}
    for name, state in functions_of(shard):
        [caught] = state["Catch"]
        assert caught["Next"] == "Set aside", name
    for name in ("Done", "Set aside"):
        assert shard["States"][name] == {"Type": "Succeed", "OutputPath": None}


def nexts(state: dict[str, Any]) -> set[str]:
    found = {choice["Next"] for choice in state.get("Choices", ())}
    return found | {state[key] for key in ("Next", "Default") if key in state}


@pytest.mark.parametrize(
    ("name", "manifest", "fields"),
    [
        ("Shard ranges", "$.plan.manifest.key", {"range", "start", "end"}),
        (
            "Run many shards",
            "$.round.manifest.key",
            {"provider", "shard_id", "delay_seconds", "name"},
        ),
        ("Assemble slices", "$.cut.manifest.key", {"slice"}),
        ("Assemble slices of what there is", "$.cut.manifest.key", {"slice"}),
    ],
)
def test_distributed_maps(deployed: Deployed, name: str, manifest: str, fields: set[str]) -> None:
    state = deployed.definition("JobWorkflow")["States"][name]
    reader = state["ItemReader"]
    assert reader["Resource"].endswith(":s3:getObject")
    assert reader["ReaderConfig"] == {"InputType": "JSON"}
    assert reader["Parameters"]["Key.$"] == manifest
    assert "StorageWork" in flat(reader["Parameters"]["Bucket"])
    assert state["ItemProcessor"]["ProcessorConfig"] == {
        "Mode": "DISTRIBUTED",
        "ExecutionType": "STANDARD",
    }
    assert state["ItemSelector"] == {
        "job_id.$": "$.job_id",
        **{f"{field}.$": f"$$.Map.Item.Value.{field}" for field in fields},
    }
    assert state["ResultPath"] is None
    assert state.get("ToleratedFailurePercentage", 0) == (100 if "many" in name else 0)


@pytest.mark.parametrize("name", ["Run shards", "Run many shards"])
def test_a_shard_runs_in_an_execution_of_its_own(deployed: Deployed, name: str) -> None:
    children = deployed.definition("JobWorkflow")["States"][name]["ItemProcessor"]["States"]
    runs = [state for state in children.values() if state["Type"] == "Task"]
    assert len(runs) == len(LABELS)
    for label, run in zip(LABELS, runs, strict=True):
        assert run["Resource"].endswith(":states:startExecution.sync:2")
        assert run["Parameters"]["Name.$"] == "$.name"
        assert run["Parameters"]["Input"] == {
            f"{field}.$": f"$.{field}" for field in ("job_id", "shard_id", "delay_seconds")
        }
        assert f"{label}Workflow" in run["Parameters"]["StateMachineArn"]
        assert run["Catch"][0]["ErrorEquals"] == ["States.ALL"]
        assert not {"States.ALL", "States.TaskFailed"} & set(run["Retry"][0]["ErrorEquals"]), (
            "a shard that failed must not be started again under its name"
        )
    [which] = [state for state in children.values() if state["Type"] == "Choice"]
    assert [choice["StringEquals"] for choice in which["Choices"]] == [
        provider.name for provider in providers(Config())
    ]
    assert children[which["Default"]] == {"Type": "Succeed", "OutputPath": None}
    assert all(
        state["OutputPath"] is None for state in children.values() if state["Type"] == "Succeed"
    )


@pytest.mark.parametrize(
    ("suffix", "then"), [("", "Any to remember?"), (" of what there is", "Report")]
)
def test_results_that_are_too_much_for_one_call_go_in_slices(
    deployed: Deployed, suffix: str, then: str
) -> None:
    job = deployed.definition("JobWorkflow")["States"]
    way = [f"Cut{suffix}", f"In slices?{suffix}", f"Assemble slices{suffix}"]
    way += [f"Join slices{suffix}", then]
    for here, there in pairwise(way):
        assert there in nexts(job[here]), here
    [slices] = job[f"In slices?{suffix}"]["Choices"]
    assert (slices["Variable"], slices["StringEquals"]) == ("$.cut.next", "slices")
    assert job[f"Cut{suffix}"]["ResultPath"] == "$.cut"
    assert job[f"Join slices{suffix}"]["ResultPath"] is None
    assert job[f"Assemble slices{suffix}"]["MaxConcurrency"] == 100


def test_small_results_take_no_state_more(deployed: Deployed) -> None:
    """Reconcile says which way it goes, where a choice is anyway."""
    job = deployed.definition("JobWorkflow")["States"]
    assert nexts(job["Assemble"]) == {"Any to remember?"}
    assert job["Any to remember?"]["Default"] == "Report"
    [slices] = [way for way in job["Rows remain?"]["Choices"] if way["StringEquals"] == "slices"]
    assert (slices["Variable"], slices["Next"]) == ("$.round.run", "Cut")
    assert job["In slices?"]["Default"] == "Assemble"


def test_few_shards_need_no_map_run(deployed: Deployed) -> None:
    few = deployed.definition("JobWorkflow")["States"]["Run shards"]
    assert few["ItemProcessor"]["ProcessorConfig"]["Mode"] == "INLINE"
    assert few["MaxConcurrency"] == 40
    assert few["ItemsPath"] == "$.round.shards"
    assert few["ResultPath"] is None


def test_the_usual_way_of_a_job_and_of_a_shard_can_be_walked(deployed: Deployed) -> None:
    """By which `bench.orchestration` counts transitions: each choice leads where it says."""
    job = of_a_job(deployed.definition("JobWorkflow"))
    assert job.index("Plan") < job.index("Shard ranges") < job.index("Price")
    assert job.count("Reconcile") == 2
    assert job.index("Assemble") < job.index("Report")
    for each in providers(Config.from_context({})):
        shard = of_a_shard(deployed.definition(f"{each.label}Workflow"), 3)
        assert (shard[0], shard.count("Poll")) == ("Submit", 3)
        assert shard.index("Collect") < shard.index("Clean up")
