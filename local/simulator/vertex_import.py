"""Vertex's importer: what it takes from a JSONL file, which is what a BigQuery load would take.

One JSON type for each key over the whole file (null fits any, integers fit floats), no key with a
`$`, no empty struct, and records nested no deeper than 15. Anything else fails the whole job,
without a word about the row.
"""

from collections.abc import Callable
from pathlib import Path
from typing import Any, cast

import msgspec

from .answers import Json
from .rows import Rows, lines

MAX_DEPTH = 15
MAX_ROWS = 200_000


class ImportFailed(Exception):
    """The job fails with code 3; the reason is for the journal, not for the client."""


def load(path: Path, inspect: Callable[[int, bytes, Json], None]) -> Rows:
    """Calls `inspect` with each row's index, line and value."""
    rows = Rows(path)
    types: dict[str, str] = {}
    for _, offset, line in lines(path):
        if not line.strip():
            continue
        try:
            row = msgspec.json.decode(line)
        except (msgspec.DecodeError, UnicodeDecodeError):
            raise ImportFailed("a line is not JSON") from None
        if not isinstance(row, dict):
            raise ImportFailed("a line is not an object")
        _check_record(cast(Json, row), "", 0, types)
        rows.add(offset, len(line))
        inspect(len(rows) - 1, line, cast(Json, row))
    if not 0 < len(rows) <= MAX_ROWS:
        raise ImportFailed(f"{len(rows)} rows")
    return rows


def _check_record(record: Json, path: str, depth: int, types: dict[str, str]) -> None:
    if not record:
        raise ImportFailed(f"empty struct at {path}")
    if depth > MAX_DEPTH:
        raise ImportFailed(f"nested too deep at {path}")
    for name, value in record.items():
        if "$" in name or not name:
            raise ImportFailed(f"key {name!r}")
        _check(value, f"{path}.{name}", depth + 1, types)


def _check(value: Any, path: str, depth: int, types: dict[str, str]) -> None:
    if value is None:
        return
    kind = _kind(value)
    if types.setdefault(path, kind) != kind:
        raise ImportFailed(f"{path} is {types[path]} and {kind}")
    if isinstance(value, dict):
        _check_record(cast(Json, value), path, depth, types)
    elif isinstance(value, list):
        for item in cast(list[Any], value):
            _check(item, f"{path}[]", depth, types)


def _kind(value: Any) -> str:
    if isinstance(value, bool):
        return "boolean"
    if isinstance(value, int | float):
        return "number"
    if isinstance(value, str):
        return "string"
    return "array" if isinstance(value, list) else "struct"
