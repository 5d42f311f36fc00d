"""Reads the configuration, builds the stack, applies the checks. Run by the CDK's command line."""

from __future__ import annotations

import sys

from aws_cdk import App, Validations
from cdk_nag import AwsSolutionsChecks

from infra.config import Config, ConfigError
from infra.stack import BatchdropStack


def build(app: App) -> BatchdropStack:
    """Raises `ConfigError`."""
    stack = BatchdropStack(app, Config.from_context(app.node.get_all_context()))
    Validations.of(app).add_plugins(AwsSolutionsChecks(app))
    return stack


def main() -> None:
    app = App()
    try:
        build(app)
    except ConfigError as error:
        sys.exit(str(error))
    app.synth()


if __name__ == "__main__":
    main()
