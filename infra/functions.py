"""A Lambda function made from a handler module, its settings and a bundle."""

from __future__ import annotations

from types import ModuleType

from aws_cdk import Duration, RemovalPolicy, Size
from aws_cdk import aws_iam as iam
from aws_cdk import aws_lambda as lambda_
from aws_cdk import aws_logs as logs
from constructs import Construct

from functions.settings import Environment
from infra.acknowledgments import acknowledge
from infra.allocator import ALLOCATOR
from infra.bundling import Bundle, BundleName
from infra.config import Config

LONGEST = Duration.minutes(15)  # Lambda's own limit
LOG_DAYS = logs.RetentionDays.ONE_MONTH
FULL_CORE_MB = 1769  # the memory at which Lambda gives one whole virtual CPU


class Platform:
    """What all functions of a deployment share."""

    def __init__(self, config: Config) -> None:
        self.config = config
        self._codes: dict[BundleName, lambda_.Code] = {}

    def code(self, bundle: BundleName) -> lambda_.Code:
        """One asset for all functions of a bundle."""
        if bundle not in self._codes:
            self._codes[bundle] = Bundle(
                name=bundle,
                python=self.config.lambda_python,
                architecture=self.config.lambda_architecture,
            ).code()
        return self._codes[bundle]

    @property
    def runtime(self) -> lambda_.Runtime:
        return lambda_.Runtime(f"python{self.config.lambda_python}", lambda_.RuntimeFamily.PYTHON)

    @property
    def architecture(self) -> lambda_.Architecture:
        arm = self.config.lambda_architecture == "arm64"
        return lambda_.Architecture.ARM_64 if arm else lambda_.Architecture.X86_64

    @property
    def environment(self) -> dict[str, str]:
        return {
            "POWERTOOLS_SERVICE_NAME": self.config.stack_name,
            "POWERTOOLS_LOG_LEVEL": "INFO",
            **ALLOCATOR,
        }


class Function(Construct):
    """Its role may write its own logs, and what the stack grants beside that."""

    def __init__(
        self,
        scope: Construct,
        id: str,
        *,
        handler: ModuleType,
        settings: Environment,
        platform: Platform,
        bundle: BundleName = "plain",
        timeout: Duration = LONGEST,
        memory_mb: int = 512,
        storage_gib: int | None = None,
    ) -> None:
        super().__init__(scope, id)
        log_group = logs.LogGroup(
            self, "Logs", retention=LOG_DAYS, removal_policy=RemovalPolicy.DESTROY
        )
        self.timeout = timeout
        self.function = lambda_.Function(
            self,
            "Function",
            description=_first_line(handler),
            handler=f"{handler.__name__}.handler",
            code=platform.code(bundle),
            runtime=platform.runtime,
            architecture=platform.architecture,
            environment={**settings.to_env(), **platform.environment},
            role=iam.Role(self, "Role", assumed_by=iam.ServicePrincipal("lambda.amazonaws.com")),  # pyright: ignore[reportArgumentType]
            log_group=log_group,
            timeout=timeout,
            memory_size=memory_mb,
            ephemeral_storage_size=Size.gibibytes(storage_gib) if storage_gib else None,
        )
        log_group.grant_write(self.function)
        acknowledge(
            self,
            "L1",
            reason="Byte code is shipped, so the runtime is the version of Python that compiled "
            "it; every supported version is maintained by AWS.",
        )


def _first_line(module: ModuleType) -> str:
    lines = (module.__doc__ or "").strip().splitlines()
    if not lines:
        raise ValueError(f"{module.__name__} has no docstring to describe its function with")
    return lines[0]
