"""A recipe as the domain sees it: what was stored of it, and what it made of a row."""

from __future__ import annotations

import msgspec

from functions.batch.money import JobLimits


class Route(msgspec.Struct):
    when: str | None
    model: str | None


class _Routed(msgspec.Struct):
    routes: list[Route] = []


class MadeRow(msgspec.Struct, array_like=True):
    """What a row of data came to: a provider's line and the route that it took (-1: none of them),
    or why there is no line. `custom_id` is JSON. `document`: what the row names, to be put into the
    line yet."""

    line: bytes = b""
    route: int = -1
    code: str = ""
    message: str = ""
    custom_id: bytes = b"null"
    document: str = ""


class SharedPrefix(msgspec.Struct, kw_only=True):
    """What rows were meant to share of a prompt cache: its tokens, estimated, null if there is no
    text that all of them begin with; the fewest that each model caches, where that is known; and
    how long the provider keeps what one batch has written, 0 where it does not say."""

    tokens: int | None = None
    least: dict[str, int] = {}
    kept_seconds: int = 0


class StoredRecipe(msgspec.Struct, kw_only=True):
    """A job's recipe as it was when the job started.

    `content` is all of it, checked, as JSON. `makes_requests`: it is for rows of data; else it only
    says what becomes of requests. `model` is that of Gemini's rows which name none. `encoding` is
    the input's, where its upload declared one. `prefix`: with `cache: auto`.
    """

    key: str
    content: msgspec.Raw
    makes_requests: bool
    provider: str | None = None
    model: str | None = None
    id: str | None = None
    encoding: str | None = None
    csv: bool = False
    index: bool | None = None
    response_schema: msgspec.Raw = msgspec.Raw(b"null")
    escalate_to: str | None = None
    limits: JobLimits = msgspec.field(default_factory=JobLimits)
    prefix: SharedPrefix | None = None
    canary: bool = True
    dedupe: bool = False
    v: int = 1

    @property
    def schema(self) -> bytes | None:
        found = bytes(self.response_schema)
        return None if found == b"null" else found

    def models(self) -> set[tuple[str, str]]:
        """Provider and model: the recipe's own, and the stronger one."""
        if not self.makes_requests or self.provider is None:
            return set()
        return {(self.provider, each) for each in (self.model, self.escalate_to) if each}

    def routes(self) -> list[Route]:
        return msgspec.json.decode(self.content, type=_Routed).routes
