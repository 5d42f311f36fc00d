from __future__ import annotations

import json
from importlib.resources import files
from typing import Any

import pytest

from functions.providers.vertex import shapes
from functions.providers.vertex.shapes import Fields, ListOf, Shape


@pytest.fixture(scope="module")
def discovery() -> dict[str, Any]:
    """Google's own description of the service, as google-api-python-client ships it."""
    shipped = files("googleapiclient") / "discovery_cache/documents/aiplatform.v1.json"
    return json.loads(shipped.read_text())


def kind_of(told: dict[str, Any]) -> str:
    if "$ref" in told:
        return "object"
    return {"integer": "number"}.get(told["type"], told["type"])


def compare(schemas: dict[str, Any], name: str, shape: Fields, seen: set[str]) -> None:
    if name in seen:
        return
    seen.add(name)
    for key, told in schemas[name].get("properties", {}).items():
        ours = shape.fields.get(key)
        if ours is None or told["type" if "type" in told else "$ref"] == "any":
            continue
        if told.get("format") == "int64":
            assert ours == shapes.NUMBER
            continue
        compare_field(schemas, f"{name}.{key}", told, ours, seen)


def compare_field(
    schemas: dict[str, Any], path: str, told: dict[str, Any], ours: Shape, seen: set[str]
) -> None:
    kind = kind_of(told)
    if isinstance(ours, ListOf):
        assert kind == "array", path
        compare_field(schemas, path, told["items"], ours.item, seen)
    elif isinstance(ours, Fields):
        assert kind == "object", path
        if "$ref" in told:
            compare(schemas, told["$ref"], ours, seen)
    else:
        assert kind == ours, path


def test_the_kinds_of_a_requests_fields_are_googles(discovery: dict[str, Any]) -> None:
    schemas = discovery["schemas"]
    prefix = "GoogleCloudAiplatformV1"
    compare(schemas, f"{prefix}GenerateContentRequest", shapes.GENERATE_REQUEST, set())
    compare(schemas, f"{prefix}EmbedContentRequest", shapes.EMBED_REQUEST, set())
    for name, shape in (
        ("Content", shapes.CONTENT),
        ("GenerationConfig", shapes.GENERATION),
        ("Schema", shapes.SCHEMA),
        ("FunctionDeclaration", shapes.FUNCTION),
        ("EmbedContentRequestEmbedContentConfig", shapes.EMBED_CONFIG),
    ):
        told = schemas[f"{prefix}{name}"]["properties"]
        unlike = {key for key, field in told.items() if kind_of(field) in ("number", "boolean")}
        assert unlike <= set(shape.fields), name
