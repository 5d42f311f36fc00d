"""`batchdrop resume PROVIDER`: what waits for a provider tries it again now."""

from __future__ import annotations

from typing import Annotated

import typer

from cli.jobs import send_command
from cli.keys import Provider
from cli.stack import DEFAULT_STACK, StackOption, find_stack
from cli.terminal import err


def resume(
    provider: Annotated[Provider, typer.Argument(help="The provider that works again.")],
    stack: StackOption = DEFAULT_STACK,
) -> None:
    """Have paused jobs try a provider again, once its account or key is mended."""
    send_command(find_stack(stack), "Resume Provider", {"provider": provider.value})
    err().print(f"What waits for {provider.value} tries it again within 15 minutes.", markup=False)
