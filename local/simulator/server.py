"""The HTTP server: finds the route, applies the faults, sends the reply, keeps the journal."""

import contextlib
import select
import socket
import ssl
import time
import traceback
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from types import ModuleType
from typing import Any
from urllib.parse import unquote

from . import admin, anthropic_api, gcs_api, openai_api, vertex_api
from .faults import Fault
from .routes import Route
from .wire import ApiError, Body, Reply, Request
from .world import World

APIS: dict[str, ModuleType] = {
    "openai": openai_api,
    "anthropic": anthropic_api,
    "gcs": gcs_api,
    "vertex": vertex_api,
    "admin": admin,
}
ROUTES: list[Route] = [route for api in APIS.values() for route in api.ROUTES]
PREFIXES = {
    "/openai/": "openai",
    "/anthropic/": "anthropic",
    "/gcs/": "gcs",
    "/storage/": "gcs",
    "/upload/": "gcs",
    "/download/": "gcs",
    "/vertex/": "vertex",
    "/v1": "vertex",
}
NOT_FOUND = {"openai": "invalid_request_error", "anthropic": "not_found_error"}
IDLE_SECONDS = 120


class Dropped(Exception):
    """The connection is to be closed without (the rest of) a reply, on purpose."""


class Server(ThreadingHTTPServer):
    daemon_threads = True
    request_queue_size = 128
    allow_reuse_address = True

    def __init__(self, address: tuple[str, int], world: World, tls: ssl.SSLContext | None) -> None:
        super().__init__(address, Handler)
        self.world = world
        self.tls = tls
        self.scheme = "https" if tls else "http"

    @property
    def url(self) -> str:
        return f"{self.scheme}://{self.server_address[0]}:{self.server_address[1]}"

    def finish_request(self, request: Any, client_address: Any) -> None:
        """Shakes hands in the connection's own thread, so that a silent peer blocks nobody."""
        if self.tls is not None:
            request.settimeout(IDLE_SECONDS)
            request = self.tls.wrap_socket(request, server_side=True)
        try:
            super().finish_request(request, client_address)
        finally:
            if self.tls is not None:
                self.shutdown_request(request)

    def handle_error(self, request: Any, client_address: Any) -> None:
        """A peer that hangs up is no news."""


class Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True
    timeout = IDLE_SECONDS
    server: Server  # pyright: ignore[reportIncompatibleVariableOverride]

    def version_string(self) -> str:
        return "simulator"

    def log_message(self, format: str, *args: Any) -> None:
        """The journal replaces the log on stderr."""

    def _serve(self) -> None:
        base = f"{self.server.scheme}://{self.headers.get('host') or self.server.url[7:]}"
        body = Body(self.rfile, self.headers)
        request = Request(self.command, self.path, self.headers, body, base)
        started = time.time()
        route = _find(request)
        entry = {"at": started, "method": request.method, "path": request.target}
        status, reason = 0, ""
        try:
            reply = self._reply(route, request)
            status, reason = reply.status, _reason(reply)
            self._send(reply, request)
        except (Dropped, OSError) as error:
            status, reason = 0, str(error)
            self._hang_up()
        if route is not None and route.provider != "admin":
            engine = self.server.world.engine
            engine.ledger.call(route.provider, route.operation, status, started, reason)
            named = {"provider": route.provider, "operation": route.operation, "status": status}
            faults = [fault.kind for fault in request.faults]
            seconds = round(time.time() - started, 4)
            engine.log({**entry, **named, "faults": faults, "seconds": seconds})

    def __getattr__(self, name: str) -> Any:
        """The base class looks for a method named `do_GET` and so on."""
        if name.startswith("do_"):
            return self._serve
        raise AttributeError(name)

    def _reply(self, route: Route | None, request: Request) -> Reply:
        provider = route.provider if route else _provider_of(request.path)
        try:
            reply = self._answer(route, request)
        except ApiError as error:
            reply = APIS[provider].render(error)
        except Exception as error:
            if isinstance(error, Dropped | OSError):
                raise
            traceback.print_exc()
            reply = APIS[provider].render(ApiError(500, f"Simulator error: {error!r}"))
        request.body.drain()
        if hasattr(APIS[provider], "decorate"):
            APIS[provider].decorate(reply)
        return reply

    def _answer(self, route: Route | None, request: Request) -> Reply:
        world = self.server.world
        if route is None:
            message = f"Invalid URL ({request.method} {request.path})"
            raise ApiError(404, message, kind="invalid_request_error")
        if route.authorize is not None:
            route.authorize(world, request)
        if route.provider != "admin":
            target = request.params.get(route.target) if route.target else None
            request.faults = world.engine.faults.take(route.provider, route.operation, target)
            if target and world.engine.faults.is_gone(target):
                raise ApiError(404, f"No such object: {target}", kind=NOT_FOUND.get(route.provider))
            self._before(request)
        reply = route.handle(world, request)
        if any(fault.kind == "drop_after" for fault in request.faults):
            raise Dropped("drop_after")
        return reply

    def _before(self, request: Request) -> None:
        for fault in request.faults:
            if fault.kind == "delay":
                time.sleep(fault.seconds)
            elif fault.kind == "drop_before":
                request.body.drain()
                raise Dropped("drop_before")
            elif fault.kind == "status":
                raise _as_error(fault)

    def _send(self, reply: Reply, request: Request) -> None:
        ends = ("truncate", "stall")
        end = next((fault for fault in request.faults if fault.kind in ends), None)
        self.send_response(reply.status)
        for name, value in reply.headers.items():
            self.send_header(name, value)
        if reply.status != 204:
            self.send_header("content-length", str(reply.length))
        self.end_headers()
        sent = 0
        for block in reply.blocks():
            block = block if end is None else block[: end.bytes - sent]
            self.wfile.write(block)
            sent += len(block)
            if end is not None and sent >= end.bytes:
                if end.kind == "stall":
                    select.select([self.connection], [], [], end.seconds)
                raise Dropped(end.kind)

    def _hang_up(self) -> None:
        self.close_connection = True
        with contextlib.suppress(OSError):
            self.connection.shutdown(socket.SHUT_RDWR)


def _find(request: Request) -> Route | None:
    for route in ROUTES:
        if route.method == request.method and (match := route.pattern.fullmatch(request.path)):
            request.params = {n: unquote(v) for n, v in match.groupdict().items() if v is not None}
            return route
    return None


def _provider_of(path: str) -> str:
    """Whose shape an unknown path's error takes."""
    return next((name for prefix, name in PREFIXES.items() if path.startswith(prefix)), "admin")


def _reason(reply: Reply) -> str:
    if reply.status < 400 or not isinstance(reply.body, bytes):
        return ""
    return reply.body[:500].decode("utf-8", "replace")


def _as_error(fault: Fault) -> ApiError:
    headers: dict[str, str] = {}
    if fault.retry_after is not None:
        headers["retry-after"] = f"{fault.retry_after:g}"
    message = fault.message or f"A fault was armed: {fault.status}."
    return ApiError(fault.status, message, code=fault.code, headers=headers)


def tls_context(certificate: Path, key: Path | None) -> ssl.SSLContext:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate, key)
    return context
