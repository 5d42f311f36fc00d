"""Records as items of the table, and back."""

from __future__ import annotations

from decimal import Decimal
from typing import Any, TypeVar, cast

import msgspec
from boto3.dynamodb.types import TypeDeserializer, TypeSerializer

# Their stubs leave the values open.
_serializer: Any = TypeSerializer()
_deserializer: Any = TypeDeserializer()
Record = TypeVar("Record", bound=msgspec.Struct)


def item_key(pk: str, sk: str) -> dict[str, Any]:
    return {"pk": {"S": pk}, "sk": {"S": sk}}


def to_plain(record: object) -> Any:
    return msgspec.to_builtins(record, str_keys=True)


def to_value(value: object) -> Any:
    return _serializer.serialize(to_plain(value))


def to_item(item: dict[str, Any]) -> dict[str, Any]:
    return {name: _serializer.serialize(value) for name, value in item.items()}


def from_item(item: dict[str, Any], kind: type[Record]) -> Record:
    plain = {name: _numbers(_deserializer.deserialize(value)) for name, value in item.items()}
    return msgspec.convert(plain, kind, str_keys=True)


def _numbers(value: Any) -> Any:
    match value:
        case Decimal():
            return int(value) if value == int(value) else float(value)
        case dict():
            return {name: _numbers(each) for name, each in cast("dict[str, Any]", value).items()}
        case list():
            return [_numbers(each) for each in cast("list[Any]", value)]
        case _:
            return value
