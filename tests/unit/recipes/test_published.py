from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from jsonschema import Draft202012Validator

from functions.recipes.published import json_schema

DOCS = Path(__file__).resolve().parents[3] / "docs" / "recipe.schema.json"


def test_the_schema_in_the_docs_is_current() -> None:
    told = "run: python -m functions.recipes.published > docs/recipe.schema.json"
    assert DOCS.read_text() == json_schema(), told


@pytest.mark.parametrize(
    ("recipe", "fits"),
    [
        ({"provider": "openai", "model": "m", "prompt": "{{ a }}", "output": {"csv": True}}, True),
        ({"routes": [{"when": "chars > 1", "model": "m"}]}, True),
        ({"modell": "m"}, False),
        ({"max_tokens": 0}, False),
        ({"routes": [{"when": "a"}]}, False),
        ({"output": {"csv": "yes"}}, False),
    ],
)
def test_an_editor_sees_what_is_wrong(recipe: dict[str, Any], fits: bool) -> None:
    schema = json.loads(DOCS.read_text())
    Draft202012Validator.check_schema(schema)
    assert Draft202012Validator(schema).is_valid(recipe) == fits
