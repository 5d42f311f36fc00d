"""How many tokens rows have to share before a model caches them.

https://platform.claude.com/docs/en/build-with-claude/prompt-caching#cache-limitations
https://platform.openai.com/docs/guides/prompt-caching
https://docs.cloud.google.com/vertex-ai/generative-ai/docs/context-cache/context-cache-overview#limits
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

import msgspec

from functions.batch.reading.tokens import json_tokens, text_tokens
from functions.batch.recipe import SharedPrefix
from functions.providers.anthropic.tokens import block_tokens
from functions.providers.content import Record, string, tokens_of
from functions.recipes.prefixes import Prefix, prefix_of

if TYPE_CHECKING:
    from functions.recipes.model import Recipe

KEPT_SECONDS = 3_600
"""Of what is marked, from its last use on. OpenAI keeps it for minutes, Google does not say."""

_OPENAI = 1_024
_GEMINI = {"gemini-2": 2_048, "gemini-3": 4_096}
_CLAUDE = {
    **dict.fromkeys(("fable-5", "fable-5-1", "mythos-5", "mythos-5-1"), 512),
    **dict.fromkeys(("opus-5", "opus-5-5", "sonnet-5-5", "haiku-5-5"), 512),
    **dict.fromkeys(("opus-4", "opus-4-1", "opus-4-8"), 1_024),
    **dict.fromkeys(("sonnet-4", "sonnet-4-5", "sonnet-4-6", "sonnet-5"), 1_024),
    **dict.fromkeys(("opus-4-7", "mythos-preview", "3-5-haiku"), 2_048),
    **dict.fromkeys(("opus-4-5", "opus-4-6", "haiku-4-5"), 4_096),
}
_VERSION = re.compile(r"(-0)?(-latest|[-@]\d{8})?\Z")


def least_tokens(provider: str, model: str) -> int | None:
    """None where nobody has said."""
    if provider == "openai":
        return _OPENAI
    if provider == "anthropic":
        return _CLAUDE.get(_VERSION.sub("", model).removeprefix("claude-"))
    name = model.rpartition("/")[2]
    return next((least for start, least in _GEMINI.items() if name.startswith(start)), None)


def shared_prefix(recipe: Recipe) -> SharedPrefix | None:
    """Without the documents that rows may share beside it: they are not known yet."""
    if recipe.cache == "off" or recipe.provider is None:
        return None
    prefix = prefix_of(recipe.params, recipe.system, recipe.messages)
    if prefix.is_empty and recipe.system is not None:
        return SharedPrefix()
    names = (recipe.model, recipe.escalate_to, *(route.model for route in recipe.routes))
    known = {name: least_tokens(recipe.provider, name) for name in names if name}
    return SharedPrefix(
        tokens=round(_tokens(prefix, recipe.provider)),
        least={name: least for name, least in known.items() if least},
        kept_seconds=KEPT_SECONDS if recipe.provider == "anthropic" and not prefix.by_hand else 0,
    )


def _tokens(prefix: Prefix, provider: str) -> float:
    tokens = text_tokens(prefix.system or "")
    if prefix.tools:
        tokens += json_tokens(msgspec.json.encode(prefix.tools))
    return tokens + tokens_of(prefix.parts, block_tokens if provider == "anthropic" else _text)


def _text(part: Record) -> float:
    return text_tokens(string(part.get("text")))
