"""What ties a method and a path to the function that answers."""

from collections.abc import Callable
from dataclasses import dataclass
from re import Pattern

from .wire import Reply, Request
from .world import World


@dataclass(frozen=True)
class Route:
    provider: str
    operation: str
    method: str
    pattern: Pattern[str]
    handle: Callable[[World, Request], Reply]
    authorize: Callable[[World, Request], None] | None = None
    target: str | None = None
    """The path parameter that names the object a fault may be aimed at."""
