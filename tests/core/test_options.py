"""An options struct read as a form."""

from __future__ import annotations

from typing import Annotated, Any

import jsonschema_rs
import msgspec
import pytest
from msgspec import Meta

from daemon.core.options import SECRET, OptionInvalid, OptionType


class Options(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """Somewhere."""

    where: Annotated[str, Meta(description="Where to.")]
    port: Annotated[Annotated[int, Meta(ge=1)] | None, Meta(extra={"hint": "a port is expected"})] = None
    key: Annotated[str | None, Meta(title="The key", extra_json_schema=SECRET)] = None
    tags: tuple[str, ...] = ()
    on: bool = False

    def __post_init__(self) -> None:
        if self.where == "nowhere":
            raise OptionInvalid("where", "it has to be somewhere")


KIND = OptionType("somewhere", Options)


def test_values_are_read_as_forms_send_them() -> None:
    given = {"where": " here ", "port": "80", "on": "true", "tags": "a, b,", "key": None}
    assert KIND.read(given) == {"where": "here", "port": 80, "on": True, "tags": ("a", "b")}
    assert KIND.read({"where": "x", "tags": ["a"], "port": ""}) == {"where": "x", "tags": ("a",)}


@pytest.mark.parametrize(
    ("given", "field", "says"),
    [
        ({}, "where", "required"),
        ({"where": "nowhere"}, "where", "has to be somewhere"),
        ({"where": "x", "other": 1}, "other", "there are where, port, key"),
        ({"where": "x", "port": 0}, "port", "a port is expected"),
        ({"where": "a\nb"}, "where", "printable"),
        ({"where": 1}, "where", "expected `str`"),
        ({"where": "x", "key": " "}, "key", "null removes it"),
        ({"where": "x" * 3000}, "where", "2000"),
    ],
)
def test_the_wrong_field_is_named(given: dict[str, Any], field: str, says: str) -> None:
    with pytest.raises(OptionInvalid, match=says) as raised:
        KIND.read(given)
    assert raised.value.field == field


def test_schema_and_secrets() -> None:
    assert KIND.secrets == {"key"} and KIND.description == "Somewhere."
    jsonschema_rs.meta.validate({**KIND.schema, "$schema": "https://json-schema.org/draft/2020-12/schema"})
    properties = KIND.schema["properties"]
    assert KIND.schema["required"] == ["where"]
    assert properties["key"]["writeOnly"] and properties["key"]["title"] == "The key"
    assert properties["port"]["default"] is None and properties["on"]["default"] is False
    jsonschema_rs.validate(KIND.schema, {"where": "x", "tags": ["a"], "port": 5})
    with pytest.raises(jsonschema_rs.ValidationError):
        jsonschema_rs.validate(KIND.schema, {"where": "x", "port": 0})
