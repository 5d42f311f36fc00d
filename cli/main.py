"""The `batchdrop` command line: each module holds its verbs, this one only lists them."""

from __future__ import annotations

import os
from importlib.metadata import version
from typing import Annotated, Any

import typer
from typer.core import TyperGroup

from cli import jobs, keys, results, resume, rows, uploads, watch
from cli.errors import explain
from cli.terminal import err, silence_stdout


class Commands(TyperGroup):
    """No failure ends in a traceback, unless BATCHDROP_DEBUG asks for it."""

    def invoke(self, ctx: Any) -> Any:
        try:
            return super().invoke(ctx)
        except KeyboardInterrupt:
            err().print("Interrupted; jobs go on without this command.")
            raise typer.Exit(130) from None
        except BrokenPipeError:
            silence_stdout()
            raise typer.Exit(0) from None
        except Exception as error:
            if os.environ.get("BATCHDROP_DEBUG") or _is_usage(error):
                raise
            told = explain(error) or (
                f"Unexpected {type(error).__name__}: {error}; this is a defect, "
                "BATCHDROP_DEBUG=1 shows where."
            )
            err().print(told, style="red", markup=False)
            raise typer.Exit(1) from None


def _is_usage(error: Exception) -> bool:
    """What the command line's own machinery raises: wrong arguments, exits."""
    return type(error).__module__.startswith(("typer", "click"))


app = typer.Typer(
    cls=Commands,
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    help="Runs LLM work at batch prices: submit files, watch the jobs, fetch the results.",
)
app.add_typer(keys.app, name="keys")
app.command()(uploads.submit)
app.command()(jobs.jobs)
app.command()(watch.watch)
app.command()(results.results)
app.command()(rows.row)
app.command()(jobs.cancel)
app.command()(resume.resume)
app.command()(jobs.approve)
app.command()(jobs.refuse)


def _print_version(wanted: bool) -> None:
    if wanted:
        print(version("batchdrop"))
        raise typer.Exit


@app.callback()
def options(
    _version: Annotated[
        bool,
        typer.Option("--version", callback=_print_version, is_eager=True, help="Print it."),
    ] = False,
) -> None:
    """Options of the command itself; its help is the app's."""


if __name__ == "__main__":
    app()
