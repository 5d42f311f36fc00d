"""Recipes whose rows are rendered in the test's own process: starting another takes its time."""

from __future__ import annotations

from collections.abc import Sequence

import msgspec

from functions.batch.recipe import MadeRow, StoredRecipe
from functions.recipes.adapter import RecipeFiles
from functions.recipes.rendering import Renderer
from functions.recipes.requests import Instructions


class InProcessMaker:
    def __init__(self, content: bytes) -> None:
        self._renderer = Renderer(msgspec.json.decode(content, type=Instructions))

    def make(self, rows: Sequence[bytes]) -> list[MadeRow]:
        return [self._renderer.make(row) for row in rows]

    def attached(self, line: bytes, name: str, document: bytes, *, shared: bool) -> bytes:
        raise AssertionError("documents go through the real one")

    def close(self) -> None:
        return


class InProcessRecipes(RecipeFiles):
    def maker(self, recipe: StoredRecipe) -> InProcessMaker:
        return InProcessMaker(bytes(recipe.content))
