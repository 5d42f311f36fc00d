"""Recipes for twin providers: what a recipe of OpenAI makes of a row, as a twin's line."""

from __future__ import annotations

from collections.abc import Sequence

import msgspec

from functions.batch.ports import RowKind
from functions.batch.recipe import MadeRow, StoredRecipe
from tests.support.in_process_recipes import InProcessMaker, InProcessRecipes


class _Maker(InProcessMaker):
    def make(self, rows: Sequence[bytes]) -> list[MadeRow]:
        return [_as_twins(made) for made in super().make(rows)]


class TwinRecipes(InProcessRecipes):
    def maker(self, recipe: StoredRecipe) -> _Maker:
        return _Maker(bytes(recipe.content))


class LongPrefixes(TwinRecipes):
    """As if what rows share had so many tokens, and stayed for an hour."""

    def __init__(self, tokens: int = 20_000, kept_seconds: int = 3_600) -> None:
        self.tokens = tokens
        self.kept_seconds = kept_seconds

    def prepare(self, key: str, data: bytes, rows: RowKind) -> StoredRecipe:
        stored = super().prepare(key, data, rows)
        if stored.prefix is not None and stored.prefix.tokens is not None:
            stored.prefix.tokens = self.tokens
            stored.prefix.kept_seconds = self.kept_seconds
        return stored


def _as_twins(made: MadeRow) -> MadeRow:
    if not made.line:
        return made
    request = msgspec.json.decode(made.line)
    line = {
        "twin": "openai",
        "model": request["body"]["model"],
        "text": request["body"]["messages"][-1]["content"],
        "custom_id": request["custom_id"],
    }
    return msgspec.structs.replace(made, line=msgspec.json.encode(line))
