"""Where the providers' keys live. Created empty: a person sets the value after deploying."""

from __future__ import annotations

from aws_cdk import aws_iam as iam
from aws_cdk import aws_secretsmanager as secretsmanager
from constructs import Construct

from infra.acknowledgments import acknowledge

SECRETS = {"openai": "OpenAI", "anthropic": "Anthropic", "vertex": "Vertex"}


class Secrets(Construct):
    """The L1 resource: the L2 one fills in a random text that would look like a key."""

    def __init__(self, scope: Construct, id: str) -> None:
        super().__init__(scope, id)
        self._arns = {
            provider: secretsmanager.CfnSecret(
                self, label, description=f"Batchdrop's credentials for {label}; empty until set"
            ).attr_id  # the ARN, as Ref is too, though not in every emulator
            for provider, label in SECRETS.items()
        }
        acknowledge(
            self,
            "SMG4",
            reason="The keys are issued by the providers, who offer no rotation to call.",
        )

    def arn(self, provider: str) -> str:
        return self._arns[provider]

    def grant_read(self, to: iam.IGrantable, *, provider: str) -> None:
        iam.Grant.add_to_principal(
            grantee=to,
            actions=["secretsmanager:GetSecretValue"],
            resource_arns=[self.arn(provider)],
        )
