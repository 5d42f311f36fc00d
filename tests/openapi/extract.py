"""Cuts OpenAI's own OpenAPI description down to files and batches: `extract.py FILE COMMIT`.

The file is `openapi.json` of https://github.com/openai/openai-openapi (MIT licence, copyright
OpenAI). Prose is left out. Three things are put in, which the description leaves open, or
contradicts in its own examples: errors, in the shape that it gives for them elsewhere; that a
file's content is the file's bytes; that what an answer may leave out may also be null.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

HERE = Path(__file__).parent
PROSE = {"description", "summary", "example", "examples", "x-oaiMeta", "title", "deprecated"}
ANSWERS = ("Batch", "BatchError", "ErrorResponse", "Error", "OpenAIFile")
NAMES = {"properties", "schemas", "paths", "responses"}  # their keys are names, not keywords


def extract(whole: dict[str, Any], commit: str) -> dict[str, Any]:
    paths = {
        path: bare(operations)
        for path, operations in whole["paths"].items()
        if path.split("/")[1] in ("files", "batches")
    }
    for operations in paths.values():
        for operation in operations.values():
            operation["responses"]["default"] = answer("application/json", "ErrorResponse")
    content = paths["/files/{file_id}/content"]["get"]["responses"]
    content["200"] = {"description": "", "content": {"*/*": {"schema": {}}}}
    schemas: dict[str, Any] = {}
    collect(paths, whole["components"]["schemas"], schemas)
    for name in ANSWERS:
        allow_null(schemas[name])
    return {
        "openapi": whole["openapi"],
        "info": {
            "title": "OpenAI: files and batches",
            "version": commit,
            "license": {"name": "MIT", "url": "https://github.com/openai/openai-openapi"},
        },
        "servers": whole["servers"],
        "paths": paths,
        "components": {"schemas": dict(sorted(schemas.items()))},
    }


def answer(media: str, schema: str) -> dict[str, Any]:
    found = {"schema": {"$ref": f"#/components/schemas/{schema}"}}
    return {"description": "", "content": {media: found}}


def allow_null(schema: dict[str, Any]) -> None:
    required = schema.get("required", [])
    for name, kind in schema["properties"].items():
        if name not in required:
            schema["properties"][name] = {"anyOf": [kind, {"type": "null"}]}


def bare(value: Any, *, names: bool = False) -> Any:
    if isinstance(value, list):
        return [bare(each) for each in value]
    if not isinstance(value, dict):
        return value
    kept = {
        key: bare(each, names=key in NAMES and not names)
        for key, each in value.items()
        if names or key not in PROSE
    }
    if "content" in kept and "schema" not in kept and not names:
        kept.setdefault("description", "")  # OpenAPI wants one of a response
    return kept


def collect(value: Any, known: dict[str, Any], found: dict[str, Any]) -> None:
    if isinstance(value, list):
        for each in value:
            collect(each, known, found)
    elif isinstance(value, dict):
        name = str(value.get("$ref", "")).removeprefix("#/components/schemas/")
        if name in known and name not in found:
            found[name] = bare(known[name])
            collect(found[name], known, found)
        for each in value.values():
            collect(each, known, found)


if __name__ == "__main__":
    source, commit = sys.argv[1:]
    made = extract(json.loads(Path(source).read_text()), commit)
    (HERE / "openai.json").write_text(json.dumps(made, indent=1) + "\n")
