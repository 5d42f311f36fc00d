"""One synthesized template, and the questions that tests ask of it."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any


class Deployed:
    def __init__(self, template: dict[str, Any]) -> None:
        self.template = template
        self.resources: dict[str, dict[str, Any]] = template["Resources"]

    def of_type(self, kind: str) -> dict[str, dict[str, Any]]:
        return {
            name: resource
            for name, resource in self.resources.items()
            if resource["Type"] == f"AWS::{kind}"
        }

    def one(self, kind: str, *, containing: str = "") -> tuple[str, dict[str, Any]]:
        """Its logical id, and its properties."""
        found = [
            (name, resource.get("Properties", {}))
            for name, resource in self.of_type(kind).items()
            if containing in name
        ]
        assert len(found) == 1, f"{len(found)} of {kind} contain {containing!r}"
        return found[0]

    def functions(self) -> dict[str, dict[str, Any]]:
        """By handler module, such as `plan`, or `openai/submit` where a provider has its own."""
        found: dict[str, dict[str, Any]] = {}
        for resource in self.of_type("Lambda::Function").values():
            properties = resource["Properties"]
            provider = properties["Environment"]["Variables"].get("PROVIDER")
            handler = properties["Handler"].split(".")[-2]
            found[f"{provider}/{handler}" if provider else handler] = properties
        return found

    def statements(self, role_of: str) -> Iterator[dict[str, Any]]:
        """What the role whose logical id begins with `role_of` may do."""
        for resource in self.of_type("IAM::Policy").values():
            properties = resource["Properties"]
            if any(role["Ref"].startswith(role_of) for role in properties["Roles"]):
                yield from properties["PolicyDocument"]["Statement"]

    def definition(self, containing: str) -> dict[str, Any]:
        """A state machine's, with every reference spelled `<LogicalId>`."""
        _, properties = self.one("StepFunctions::StateMachine", containing=containing)
        return json.loads(flat(properties["DefinitionString"]))


def listed(value: Any) -> list[Any]:
    return value if isinstance(value, list) else [value]


def flat(value: Any) -> str:
    """An intrinsic function as text: `<Ref>` or `<Ref.Attribute>` where it refers."""
    match value:
        case str():
            return value
        case {"Ref": name}:
            return f"<{name}>"
        case {"Fn::GetAtt": [name, attribute]}:
            return f"<{name}.{attribute}>"
        case {"Fn::Join": [separator, parts]}:
            return separator.join(flat(part) for part in parts)
        case _:
            return json.dumps(value)
