"""Where the commands write: results to `out`, talk to `err`, so that pipes get results alone."""

from __future__ import annotations

import os
import sys
from pathlib import Path

from rich.console import Console

_STYLES = {
    "succeeded": "green",
    "partial": "yellow",
    "failed": "red",
    "rejected": "red",
    "cancelled": "magenta",
    "paused": "yellow",
}


def out() -> Console:
    """Made anew on each call, because tests and shells replace `sys.stdout`."""
    return Console(highlight=False, soft_wrap=True)


def err() -> Console:
    return Console(stderr=True, highlight=False, soft_wrap=True)


def styled_status(status: str) -> str:
    style = _STYLES.get(status)
    return f"[{style}]{status}[/{style}]" if style else status


def plain(text: str) -> None:
    """A line of a result: no markup, no wrapping."""
    sys.stdout.write(f"{text}\n")
    sys.stdout.flush()


def silence_stdout() -> None:
    """After its reader is gone, so that the interpreter's last flush does not complain."""
    with Path(os.devnull).open("w") as nowhere:
        os.dup2(nowhere.fileno(), sys.stdout.fileno())
