"""A proxy before DynamoDB that throttles: it answers some calls with an error before they reached
the table, and some after they took effect.

    with throttling(endpoint) as proxy:
        proxy.refuse("PutItem", times=6)
        dynamodb = boto3.client("dynamodb", endpoint_url=proxy.url)

Its clients are told to go through it by `AWS_ENDPOINT_URL_DYNAMODB`, which every SDK of AWS knows:
https://docs.aws.amazon.com/sdkref/latest/guide/feature-ss-endpoints.html
"""

from __future__ import annotations

import json
import threading
import urllib.error
import urllib.request
from collections import Counter
from collections.abc import Generator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from itertools import count
from typing import Any, Literal

When = Literal["before", "after"]

BEFORE_EVERY, AFTER_EVERY = 13, 9
"""Of the calls of one operation; what meets both has not taken effect."""

ERRORS: dict[When, tuple[tuple[int, str], ...]] = {
    "before": ((400, "ProvisionedThroughputExceededException"), (400, "ThrottlingException")),
    "after": ((500, "InternalServerError"), (400, "ThrottlingException")),
}
_DIRECT = urllib.request.build_opener(urllib.request.ProxyHandler({}))
_DROPPED = {"connection", "content-length", "host", "keep-alive", "transfer-encoding"}


@dataclass
class Streak:
    """The next `times` calls of an operation whose body contains `part` are refused, in a row."""

    operation: str
    part: bytes
    times: int
    when: When


class Proxy(ThreadingHTTPServer):
    daemon_threads = True
    request_queue_size = 64

    def __init__(self, upstream: str) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.url = f"http://127.0.0.1:{self.server_port}"
        self.upstream = upstream
        self.calls: Counter[str] = Counter()
        self.refused: Counter[tuple[str, When]] = Counter()
        self.streaks: list[Streak] = []
        self.regular = False
        """Whether calls are refused now and then, as the constants above say."""
        self._lock = threading.Lock()
        self._turn = count()

    def refuse(self, operation: str, part: str = "", *, times: int, when: When = "before") -> None:
        """As often as a client tries again, and the step itself fails."""
        self.streaks.append(Streak(operation, part.encode(), times, when))

    def decide(self, operation: str, body: bytes) -> tuple[When, int, str] | None:
        """When the call is refused, and how; None: not at all."""
        with self._lock:
            self.calls[operation] += 1
            when = self._streak(operation, body) or self._regular(self.calls[operation])
            if when is None:
                return None
            self.refused[operation, when] += 1
            errors = ERRORS[when]
            return when, *errors[next(self._turn) % len(errors)]

    def refusals(self, when: When) -> int:
        return sum(times for (_, each), times in self.refused.items() if each == when)

    def handle_error(self, request: Any, client_address: Any) -> None:
        """A function that was killed is no news."""

    def _streak(self, operation: str, body: bytes) -> When | None:
        for streak in self.streaks:
            if streak.times and streak.operation == operation and streak.part in body:
                streak.times -= 1
                return streak.when
        return None

    def _regular(self, number: int) -> When | None:
        if not self.regular:
            return None
        if number % BEFORE_EVERY == 0:
            return "before"
        return "after" if number % AFTER_EVERY == 0 else None


class _Handler(BaseHTTPRequestHandler):
    server: Proxy
    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True
    timeout = 120

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers.get("content-length", 0)))
        operation = self.headers.get("x-amz-target", "").rpartition(".")[2]
        refusal = self.server.decide(operation, body)
        if refusal is None:
            self._send(*self._forward(body))
            return
        when, status, code = refusal
        if when == "after":
            self._forward(body)
        error = {"__type": f"com.amazonaws.dynamodb.v20120810#{code}", "message": "throttled"}
        self._send(status, {"content-type": "application/x-amz-json-1.0"}, error)

    def _forward(self, body: bytes) -> tuple[int, dict[str, str], bytes]:
        headers = {n: v for n, v in self.headers.items() if n.lower() not in _DROPPED}
        request = urllib.request.Request(self.server.upstream + self.path, body, headers)
        try:
            with _DIRECT.open(request, timeout=60) as answer:
                return answer.status, dict(answer.headers), answer.read()
        except urllib.error.HTTPError as error:
            with error:
                return error.code, dict(error.headers), error.read()

    def _send(self, status: int, headers: dict[str, str], body: bytes | dict[str, Any]) -> None:
        data = body if isinstance(body, bytes) else json.dumps(body).encode()
        with suppress(ConnectionError):
            self.send_response(status)
            for name, value in headers.items():
                if name.lower() not in _DROPPED:
                    self.send_header(name, value)
            self.send_header("content-length", str(len(data)))
            self.end_headers()
            self.wfile.write(data)

    def log_message(self, format: str, *args: Any) -> None:
        pass


@contextmanager
def throttling(upstream: str) -> Generator[Proxy]:
    with Proxy(upstream) as proxy:
        thread = threading.Thread(target=proxy.serve_forever, args=(0.05,), daemon=True)
        thread.start()
        try:
            yield proxy
        finally:
            proxy.shutdown()
            thread.join()
