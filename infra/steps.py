"""What the workflows' states have in common: how a function is called, tried again, and logged."""

from __future__ import annotations

from aws_cdk import Duration, RemovalPolicy, Stack
from aws_cdk import aws_logs as logs
from aws_cdk import aws_stepfunctions as sfn
from aws_cdk import aws_stepfunctions_tasks as tasks
from constructs import Construct

from infra.acknowledgments import acknowledge, acknowledge_wildcard, arn_of
from infra.functions import LOG_DAYS, Function

ALL = ["States.ALL"]
TIMEOUT = ["States.Timeout"]
THROTTLED = ["Lambda.TooManyRequestsException"]
GRACE = Duration.minutes(1)  # for an answer of a function that used all of its own time


def invoke(
    scope: Construct, name: str, function: Function, *, result_path: str
) -> tasks.LambdaInvoke:
    """A state that gives the function the whole state, and puts its answer at `result_path`.

    Throttling is no failure and outlasts an hour of it; whatever else goes wrong is tried for two
    minutes or, if it takes the function's whole time, six times.
    """
    state = tasks.LambdaInvoke(
        scope,
        name,
        lambda_function=function.function,  # pyright: ignore[reportArgumentType]
        payload_response_only=True,
        result_path=result_path,
        task_timeout=sfn.Timeout.duration(function.timeout.plus(GRACE)),
        retry_on_service_exceptions=False,
    )
    _retry(state, THROTTLED, attempts=40)
    _retry(state, ALL, attempts=6)
    return state


def ask(
    scope: Construct, name: str, function: Function, *, payload: dict[str, object], days: int
) -> tasks.LambdaInvoke:
    """A state that calls the function and then waits until somebody sends its `token` back. What
    it waited for in vain is not tried again: `States.Timeout`."""
    state = tasks.LambdaInvoke(
        scope,
        name,
        lambda_function=function.function,  # pyright: ignore[reportArgumentType]
        integration_pattern=sfn.IntegrationPattern.WAIT_FOR_TASK_TOKEN,
        payload=sfn.TaskInput.from_object({**payload, "token": sfn.JsonPath.task_token}),
        result_path=sfn.JsonPath.DISCARD,
        task_timeout=sfn.Timeout.duration(Duration.days(days)),
        retry_on_service_exceptions=False,
    )
    state.add_retry(errors=TIMEOUT, max_attempts=0)
    _retry(state, THROTTLED, attempts=40)
    _retry(state, ALL, attempts=6)
    return state


def discard(scope: Construct, name: str) -> sfn.Succeed:
    """An end without an output: the outputs of a map's children add up to one payload."""
    return sfn.Succeed(scope, name, output_path=sfn.JsonPath.DISCARD)


def state_machine(
    scope: Construct, definition: sfn.IChainable, *, comment: str
) -> sfn.StateMachine:
    machine = sfn.StateMachine(
        scope,
        "StateMachine",
        comment=comment,
        definition_body=sfn.DefinitionBody.from_chainable(definition),
        logs=sfn.LogOptions(
            destination=logs.LogGroup(
                scope, "Logs", retention=LOG_DAYS, removal_policy=RemovalPolicy.DESTROY
            ),
            level=sfn.LogLevel.ERROR,
            include_execution_data=False,
        ),
    )
    acknowledge(
        scope,
        "SF1",
        reason="Every poll of a batch that takes a day would be logged; an execution's own history "
        "keeps all events for 90 days, and errors are logged.",
    )
    acknowledge(
        scope,
        "SF2",
        reason="An execution waits for hours or days, which a trace cannot span; the functions' "
        "logs carry the job's id.",
    )
    acknowledge_wildcard(
        scope, "*", reason="Delivering logs is granted by actions that have no resource."
    )
    return machine


def acknowledge_versions(scope: Construct, *functions: Function) -> None:
    """A workflow may call any version of the functions that are its steps."""
    for function in functions:
        acknowledge_wildcard(
            Stack.of(scope),
            f"{arn_of(function.function)}:*",
            reason="Versions and aliases of one function that the workflow may call anyway.",
        )


def _retry(state: tasks.LambdaInvoke, errors: list[str], *, attempts: int) -> None:
    state.add_retry(
        errors=errors,
        interval=Duration.seconds(2),
        backoff_rate=2,
        max_attempts=attempts,
        max_delay=Duration.minutes(2),
        jitter_strategy=sfn.JitterType.FULL,
    )
