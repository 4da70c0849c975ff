"""What is read from a model's own schema: the forms that Cog's versions write, and none that is not certain."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from daemon.replicate.input_schema import input_schema, misfits

# As Cog writes it: older containers with allOf and nullable, newer ones with anyOf; enums are schemas of their own.
DOCUMENT: dict[str, Any] = {
    "components": {
        "schemas": {
            "Input": {
                "type": "object",
                "required": ["prompt"],
                "additionalProperties": False,
                "properties": {
                    "prompt": {"type": "string", "minLength": 2, "maxLength": 5},
                    "steps": {"type": "integer", "minimum": 1, "maximum": 50},
                    "scale": {"type": "number", "minimum": 0, "exclusiveMinimum": True},
                    "weight": {"type": "number", "exclusiveMaximum": 1},
                    "ratio": {"allOf": [{"$ref": "#/components/schemas/ratio"}], "default": "1:1"},
                    "seed": {"anyOf": [{"type": "integer"}, {"type": "null"}]},
                    "mask": {"type": "string", "format": "uri", "nullable": True},
                    "fast": {"type": "boolean"},
                    "images": {"type": "array", "items": {"type": "string"}, "minItems": 1, "maxItems": 2},
                    "extra": {"type": "object", "properties": {"size": {"type": ["integer", "string"]}}},
                    "odd": {"$ref": "#/components/schemas/nowhere"},
                    "loop": {"$ref": "#/components/schemas/loop"},
                    "code": {"type": "tensor"},
                    "mode": {"const": "a"},
                },
            },
            "TrainingInput": {"type": "object", "required": ["input_images"], "properties": {}},
            "ratio": {"enum": ["1:1", "16:9"], "type": "string"},
            "loop": {"allOf": [{"$ref": "#/components/schemas/loop"}]},
        }
    }
}


def reasons(**fields: Any) -> dict[str, str]:
    schema = input_schema(DOCUMENT, "prediction")
    assert schema is not None
    return {found.field: found.reason for found in misfits({"prompt": "dog", **fields}, schema, DOCUMENT)}


@pytest.mark.parametrize(
    "fields",
    [
        {},
        {"steps": 1, "scale": 0.1, "weight": 0, "ratio": "16:9", "fast": False, "images": ["x"]},
        {"steps": 50.0},  # a whole number however it is written
        {"seed": None, "mask": None},
        {"extra": {"size": "10", "more": 1}},
        {"odd": object(), "code": 7, "mode": "a"},  # what is not understood is let through
    ],
)
def test_what_fits(fields: dict[str, Any]) -> None:
    assert reasons(**fields) == {}


@pytest.mark.parametrize(
    ("fields", "field", "reason"),
    [
        ({"steps": "10"}, "input.steps", "must be an integer, not a string"),
        ({"steps": True}, "input.steps", "must be an integer, not a boolean (true or false)"),
        ({"steps": 1.5}, "input.steps", "must be an integer, not a number"),
        ({"steps": None}, "input.steps", "must be an integer, not null"),
        ({"steps": 0}, "input.steps", "must be at least 1"),
        ({"steps": 51}, "input.steps", "must be at most 50"),
        ({"scale": 0}, "input.scale", "must be above 0"),
        ({"weight": 1}, "input.weight", "must be below 1"),
        ({"ratio": "4:3"}, "input.ratio", 'must be one of "1:1", "16:9"'),
        ({"seed": "x"}, "input.seed", "must be an integer, not a string"),
        ({"fast": 1}, "input.fast", "must be a boolean (true or false), not an integer"),
        ({"prompt": "x"}, "input.prompt", "must have at least 2 characters"),
        ({"prompt": "xxxxxx"}, "input.prompt", "must have at most 5 characters"),
        ({"images": []}, "input.images", "must have at least 1 items"),
        ({"images": ["a", "b", "c"]}, "input.images", "must have at most 2 items"),
        ({"images": ["a", 2]}, "input.images[1]", "must be a string, not an integer"),
        ({"images": "a"}, "input.images", "must be a list, not a string"),
        ({"extra": {"size": 1.5}}, "input.extra.size", "must be an integer or a string, not a number"),
        ({"mode": "b"}, "input.mode", 'must be one of "a"'),
    ],
)
def test_what_does_not(fields: dict[str, Any], field: str, reason: str) -> None:
    assert reasons(**fields) == {field: reason}


def test_an_input_that_there_is_not() -> None:
    (reason,) = reasons(promt="a dog").values()
    assert reason.startswith("is not an input of this model; there is: code, extra, fast")


def test_an_input_that_is_missing_and_what_a_training_needs() -> None:
    schema = input_schema(DOCUMENT, "training")
    assert schema is not None
    (found,) = misfits({"anything": 1}, schema, DOCUMENT)
    assert (found.field, found.reason) == ("input.input_images", "is required")
    schema = input_schema(DOCUMENT, "prediction")
    assert schema is not None
    assert [found.field for found in misfits({}, schema, DOCUMENT)] == ["input.prompt"]


@pytest.mark.parametrize("document", [None, [], {}, {"components": 1}, {"components": {"schemas": {"Input": 3}}}])
def test_documents_without_an_input(document: Any) -> None:
    assert input_schema(document, "prediction") is None


def test_a_value_is_never_told() -> None:
    secret = "hf_abcdefghij"
    assert secret not in str(reasons(steps=secret, ratio=secret, prompt=secret, images=[[secret]], extra=secret))


_JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=10), inner, max_size=3),
    max_leaves=10,
)
_KEYWORDS = (
    "type enum const minimum exclusiveMaximum items properties required allOf anyOf $ref minLength maxItems nullable"
)
_SCHEMA = st.dictionaries(st.sampled_from([*_KEYWORDS.split(), "additionalProperties"]), _JSON)


@given(value=st.dictionaries(st.text(max_size=5), _JSON, max_size=4), schema=_SCHEMA)
def test_any_schema_gives_an_answer(value: dict[str, Any], schema: dict[str, Any]) -> None:
    misfits(value, schema, {"components": {"schemas": {"Input": schema}}})


def test_a_schema_that_multiplies_has_an_end() -> None:
    knot = {"anyOf": [{"$ref": "#/knot"}] * 9}
    assert misfits({}, knot, {"knot": knot}) == []
