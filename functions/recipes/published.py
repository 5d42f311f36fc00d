"""The recipe's JSON schema, for editors: `python -m functions.recipes.published` prints it.

It says which keys there are and what kind of value each takes; what goes with what, and whether a
template can be read, is told when a job starts.
"""

from __future__ import annotations

import json

from functions.recipes.model import Recipe


def json_schema() -> str:
    described = {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        **Recipe.model_json_schema(),
    }
    return json.dumps(described, indent=2, ensure_ascii=False) + "\n"


if __name__ == "__main__":
    print(json_schema(), end="")
