"""The admin API below `/_sim`: faults, settings, reset, and the ledger. Not a provider's."""

import re
from typing import Any

import msgspec

from .faults import Fault
from .routes import Route
from .wire import ApiError, Reply, Request
from .world import World


def render(error: ApiError) -> Reply:
    return Reply.json({"error": error.message}, error.status)


def arm(world: World, request: Request) -> Reply:
    try:
        fault = msgspec.convert(request.json(), Fault)
    except msgspec.ValidationError as error:
        raise ApiError(400, str(error)) from None
    world.engine.faults.arm(fault)
    return Reply.json({"armed": world.engine.faults.armed()})


def armed(world: World, request: Request) -> Reply:
    return Reply.json({"armed": world.engine.faults.armed()})


def disarm(world: World, request: Request) -> Reply:
    world.engine.faults.disarm()
    return Reply.json({"armed": []})


def change(world: World, request: Request) -> Reply:
    try:
        world.engine.change(request.json())
    except msgspec.ValidationError as error:
        raise ApiError(400, str(error)) from None
    return settings(world, request)


def settings(world: World, request: Request) -> Reply:
    return Reply.json(world.engine.settings)


def reset(world: World, request: Request) -> Reply:
    world.reset()
    return Reply.json({"reset": True})


def ledger(world: World, request: Request) -> Reply:
    return Reply.json(world.engine.ledger.shown(world.engine.settings.prices))


def health(world: World, request: Request) -> Reply:
    return Reply.json({"status": "ok"})


def _route(operation: str, method: str, path: str, handle: Any) -> Route:
    return Route("admin", operation, method, re.compile(f"/_sim{path}"), handle)


ROUTES = [
    _route("arm", "POST", "/faults", arm),
    _route("armed", "GET", "/faults", armed),
    _route("disarm", "DELETE", "/faults", disarm),
    _route("change", "POST", "/settings", change),
    _route("settings", "GET", "/settings", settings),
    _route("reset", "POST", "/reset", reset),
    _route("ledger", "GET", "/ledger", ledger),
    _route("health", "GET", "/health", health),
]
