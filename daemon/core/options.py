"""A destination's options as a form: their JSON Schema, which of them are secret, and values judged field by field.

All of it is read off one frozen msgspec struct; ``msgspec.Meta`` says what a field means. ``writeOnly`` in its
``extra_json_schema`` makes a secret, ``hint`` in its ``extra`` is the error's text where a value does not fit.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Annotated, Any, get_args, get_origin

import msgspec

MAX_TEXT = 2000  # characters; keys and URLs are shorter
SECRET = {"writeOnly": True, "format": "password"}


class OptionInvalid(ValueError):
    """``field`` and what is wrong with it. An options struct may raise it in ``__post_init__``."""

    def __init__(self, field: str, reason: str) -> None:
        super().__init__(f"{field}: {reason}")
        self.field = field
        self.reason = reason


class Checked(msgspec.Struct, frozen=True):
    """What a test of a destination found. ``checked``: what was tried and worked, one sentence each."""

    ok: bool
    checked: list[str]
    error: str | None = None


@dataclass(frozen=True)
class OptionType:
    """A type of destination that this daemon has. ``options``: the struct; its docstring describes the type."""

    name: str
    options: type[msgspec.Struct]

    @property
    def title(self) -> str:
        """What a person calls it: the struct's ``TITLE``."""
        return str(getattr(self.options, "TITLE", self.name))

    @cached_property
    def description(self) -> str:
        return " ".join((self.options.__doc__ or "").split())

    @cached_property
    def fields(self) -> dict[str, Field]:
        return {field.encode_name: Field(field) for field in msgspec.structs.fields(self.options)}

    @property
    def secrets(self) -> frozenset[str]:
        """Options that can be written, never read."""
        return frozenset(name for name, field in self.fields.items() if field.secret)

    @cached_property
    def schema(self) -> dict[str, Any]:
        """JSON Schema 2020-12 of the options, complete in itself."""
        return {
            "type": "object",
            "title": self.title,
            "description": self.description,
            "properties": {name: field.schema for name, field in self.fields.items()},
            "required": [name for name, field in self.fields.items() if field.required],
            "additionalProperties": False,
        }

    def read(self, given: Mapping[str, Any]) -> dict[str, Any]:
        """The values of ``given``, judged and in their own types; ``None`` and empty texts are left out.

        Raises ``OptionInvalid``. Texts are taken for numbers and truth values, as forms send them.
        """
        found = {}
        for name, value in given.items():
            if name not in self.fields:
                raise OptionInvalid(name, f"there is no such option of {self.name}; there are {', '.join(self.fields)}")
            read = self.fields[name].read(value)
            if read is not None:
                found[name] = read
        for name, field in self.fields.items():
            if field.required and name not in found:
                raise OptionInvalid(name, "this option is required")
        self.options(**found)  # what concerns more than one option is checked in its __post_init__
        return found


class Field:
    """One option."""

    def __init__(self, field: msgspec.structs.FieldInfo) -> None:
        self.name = field.encode_name
        self.type = field.type
        self.required = field.required
        self.default = None if field.required else field.default
        metas = get_args(field.type)[1:] if get_origin(field.type) is Annotated else ()
        said = {name: value for meta in metas for name, value in _said(meta).items()}
        self.title = said.get("title", self.name.replace("_", " ").capitalize())
        self.description = said.get("description", "")
        self.secret = bool(said.get("extra_json_schema", {}).get("writeOnly"))
        self._hint = said.get("extra", {}).get("hint")
        [schema], _ = msgspec.json.schema_components([field.type], ref_template="#/$defs/{name}")
        shown = {} if self.required else {"default": msgspec.to_builtins(self.default)}
        self.schema: dict[str, Any] = {"title": self.title, **schema, **shown}

    def read(self, value: Any) -> Any:
        """The value, ``None`` where there is none. Raises ``OptionInvalid``."""
        if isinstance(value, str):
            value = value.strip()
            if self.secret and not value:
                raise OptionInvalid(self.name, "it is empty; leave it out to keep what is stored, null removes it")
        if value is None or value == "":
            return None
        if isinstance(value, str) and not (value.isprintable() and len(value) <= MAX_TEXT):
            raise OptionInvalid(self.name, f"a text of at most {MAX_TEXT} printable characters is expected")
        if isinstance(value, str) and self.schema.get("type") == "array":
            value = [item.strip() for item in value.split(",") if item.strip()]
        try:
            return msgspec.convert(value, self.type, strict=False)
        except (msgspec.ValidationError, ValueError) as problem:
            text = str(problem)
            raise OptionInvalid(self.name, self._hint or f"{text[:1].lower()}{text[1:]}") from None


def _said(meta: msgspec.Meta) -> dict[str, Any]:
    named = {name: getattr(meta, name) for name in ("title", "description", "extra_json_schema", "extra")}
    return {name: value for name, value in named.items() if value is not None}
