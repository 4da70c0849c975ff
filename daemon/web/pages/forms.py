"""Form fields from a JSON Schema: what a destination's options become on a page."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Literal

import msgspec

from ...core.options import OptionType

Control = Literal["text", "secret", "number", "checkbox", "select"]


class FormField(msgspec.Struct, frozen=True):
    """``value``: as the field shows it at first. ``stored``: a secret that is there and is not shown."""

    name: str
    title: str
    description: str
    control: Control
    required: bool
    value: Any
    choices: list[str]
    minimum: float | None
    maximum: float | None
    placeholder: str
    stored: bool


def option_fields(kind: OptionType, values: Mapping[str, Any], stored: frozenset[str]) -> list[FormField]:
    """A field for each option of ``kind``, in the type's own order."""
    schema = kind.schema
    return [
        _field(name, one, name in schema["required"], values.get(name), name in stored)
        for name, one in schema["properties"].items()
    ]


def _field(name: str, schema: Mapping[str, Any], required: bool, value: Any, stored: bool) -> FormField:
    shape = _shape(schema)
    control = _control(schema, shape)
    default = schema.get("default")
    choices = [str(choice) for choice in shape.get("enum", ())]
    if control in {"checkbox", "select"} and value is None:
        value = default
    if isinstance(value, list):
        value = ", ".join(map(str, value))
    return FormField(
        name=name,
        title=schema.get("title", name),
        description=schema.get("description", shape.get("description", "")),
        control=control,
        required=required,
        value=None if control == "secret" else value,
        choices=choices if default is not None or required else ["", *choices],
        minimum=shape.get("minimum"),
        maximum=shape.get("maximum"),
        placeholder="" if default is None or control == "secret" else str(default),
        stored=stored,
    )


def _shape(schema: Mapping[str, Any]) -> Mapping[str, Any]:
    """The schema of a value that is there, where it may also be null."""
    for one in schema.get("anyOf", ()):
        if one.get("type") != "null":
            found: Mapping[str, Any] = one
            return found
    return schema


def _control(schema: Mapping[str, Any], shape: Mapping[str, Any]) -> Control:
    if schema.get("writeOnly") or shape.get("writeOnly"):
        return "secret"
    if "enum" in shape:
        return "select"
    by_type: dict[Any, Control] = {"boolean": "checkbox", "integer": "number", "number": "number"}
    return by_type.get(shape.get("type"), "text")
