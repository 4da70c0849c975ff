"""A model's own description of its input, and what of an input does not fit it. No I/O.

The description is the part of Cog's OpenAPI document that Replicate keeps with each version. Only what is certain is
refused: a keyword that is not known here lets everything pass, and Replicate has the last word.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from typing import Any

import msgspec

_DEEPEST = 20  # of nested schemas; a document that refers to itself would have no end
_MOST_CHECKS = 10_000  # of a value against a schema: nothing real has so many, and branches multiply
_MOST_SHOWN = 20  # choices of an enum in a message
_CHARS_SHOWN = 60  # of each
_PREFIX = "#/"

Schema = Mapping[str, Any]


class Misfit(msgspec.Struct, frozen=True):
    """One thing that does not fit. ``field`` is ``input.steps``; ``reason`` never shows the value: it may be secret."""

    field: str
    reason: str


def input_schema(document: Any, kind: str) -> Schema | None:
    """The input's schema in a version's ``openapi_schema``; ``None`` where there is none.

    A trainer may describe what it trains with apart from what it predicts with.
    """
    schemas = _at(document, ("components", "schemas"))
    if schemas is None:
        return None
    names = ("TrainingInput", "Input") if kind == "training" else ("Input",)
    return next((found for name in names if isinstance(found := schemas.get(name), dict)), None)


def misfits(given: Mapping[str, Any], schema: Schema, document: Any) -> list[Misfit]:
    """What of ``given`` does not fit ``schema``, whose references are looked up in ``document``."""
    return list(_Check(document).value("input", given, schema, 0))


class _Check:
    def __init__(self, document: Any) -> None:
        self._document = document
        self._left = _MOST_CHECKS

    def value(self, field: str, value: Any, schema: Any, depth: int) -> Iterator[Misfit]:
        schema = self._resolved(schema)
        self._left -= 1
        if schema is None or self._left < 0 or depth > _DEEPEST or (value is None and schema.get("nullable") is True):
            return
        yield from self._combined(field, value, schema, depth)
        wrong_type = _wrong_type(value, schema.get("type"))
        if wrong_type is not None:
            yield Misfit(field, wrong_type)
            return
        yield from (Misfit(field, reason) for test in _TESTS if (reason := test(value, schema)) is not None)
        if isinstance(value, dict):
            yield from self._object(field, value, schema, depth)
        elif isinstance(value, list):
            for number, item in enumerate(value):
                yield from self.value(f"{field}[{number}]", item, schema.get("items"), depth + 1)

    def _object(self, field: str, value: dict[str, Any], schema: Schema, depth: int) -> Iterator[Misfit]:
        properties = schema.get("properties")
        known: Mapping[str, Any] = properties if isinstance(properties, dict) else {}
        required = schema.get("required")
        for name in required if isinstance(required, list) else ():
            if isinstance(name, str) and name not in value:
                yield Misfit(f"{field}.{name}", "is required")
        for name, item in value.items():
            if name in known:
                yield from self.value(f"{field}.{name}", item, known[name], depth + 1)
            elif schema.get("additionalProperties") is False:
                listed = ", ".join(sorted(known)) or "none"
                yield Misfit(f"{field}.{name}", f"is not an input of this model; there is: {listed}")

    def _combined(self, field: str, value: Any, schema: Schema, depth: int) -> Iterator[Misfit]:
        for part in _list(schema, "allOf"):
            yield from self.value(field, value, part, depth + 1)
        for keyword in ("anyOf", "oneOf"):
            branches = [list(self.value(field, value, part, depth + 1)) for part in _list(schema, keyword)]
            if branches and all(branches):
                yield min(branches, key=_how_far_off)[0]

    def _resolved(self, schema: Any) -> Schema | None:
        for _ in range(_DEEPEST):
            if not isinstance(schema, dict):
                return None
            reference = schema.get("$ref")
            if not isinstance(reference, str):
                return schema
            if not reference.startswith(_PREFIX):
                return None
            schema = _at(self._document, tuple(reference.removeprefix(_PREFIX).split("/")))
        return None


def _how_far_off(branch: list[Misfit]) -> int:
    """Of several alternatives the one whose type is right says most; that it is not null, least."""
    reason = branch[0].reason
    return 2 if reason.startswith("must be null") else 1 if reason.startswith(("must be a ", "must be an ")) else 0


def _at(document: Any, path: tuple[str, ...]) -> dict[str, Any] | None:
    for name in path:
        document = document.get(name.replace("~1", "/").replace("~0", "~")) if isinstance(document, dict) else None
    return document if isinstance(document, dict) else None


def _list(schema: Schema, keyword: str) -> list[Any]:
    found = schema.get(keyword)
    return found if isinstance(found, list) else []


_WORDS = {
    "string": "a string",
    "integer": "an integer",
    "number": "a number",
    "boolean": "a boolean (true or false)",
    "array": "a list",
    "object": "an object",
    "null": "null",
}


def _wrong_type(value: Any, wanted: Any) -> str | None:
    names = wanted if isinstance(wanted, list) else [wanted]
    if not all(isinstance(name, str) and name in _WORDS for name in names) or any(_is(value, name) for name in names):
        return None
    given = next((words for name, words in _WORDS.items() if _is(value, name)), "something else")
    return f"must be {' or '.join(_WORDS[name] for name in names)}, not {given}"


def _is(value: Any, name: str) -> bool:
    match name:
        case "string":
            return isinstance(value, str)
        case "boolean":
            return isinstance(value, bool)
        case "integer":  # 1.0 is one, as JSON Schema has it
            return _number(value) is not None and float(value).is_integer()
        case "number":
            return _number(value) is not None
        case "array":
            return isinstance(value, (list, tuple))
        case "object":
            return isinstance(value, dict)
        case _:
            return value is None


def _number(value: Any) -> float | None:
    return value if isinstance(value, (int, float)) and not isinstance(value, bool) else None


def _not_chosen(value: Any, schema: Schema) -> str | None:
    choices = schema.get("enum", [schema["const"]] if "const" in schema else None)
    # In Python True is 1; in JSON it is not.
    if not isinstance(choices, list) or any(
        value == c and isinstance(value, bool) is isinstance(c, bool) for c in choices
    ):
        return None
    shown = [msgspec.json.encode(choice).decode()[:_CHARS_SHOWN] for choice in choices[:_MOST_SHOWN]]
    return f"must be one of {', '.join(shown)}{', …' if len(choices) > _MOST_SHOWN else ''}"


def _out_of_range(value: Any, schema: Schema) -> str | None:
    number = _number(value)
    if number is None:
        return None
    low, high = _number(schema.get("minimum")), _number(schema.get("maximum"))
    above, below = schema.get("exclusiveMinimum"), schema.get("exclusiveMaximum")
    # OpenAPI 3.0 says with a boolean that the limit itself is out; 3.1 gives the limit here.
    floor = low if above is True else _number(above)
    ceiling = high if below is True else _number(below)
    if low is not None and number < low:
        return f"must be at least {low}"
    if high is not None and number > high:
        return f"must be at most {high}"
    if floor is not None and number <= floor:
        return f"must be above {floor}"
    if ceiling is not None and number >= ceiling:
        return f"must be below {ceiling}"
    return None


def _wrong_length(value: Any, schema: Schema) -> str | None:
    if isinstance(value, str):
        low, high, unit = schema.get("minLength"), schema.get("maxLength"), "characters"
    elif isinstance(value, list):
        low, high, unit = schema.get("minItems"), schema.get("maxItems"), "items"
    else:
        return None
    if isinstance(low, int) and len(value) < low:
        return f"must have at least {low} {unit}"
    if isinstance(high, int) and len(value) > high:
        return f"must have at most {high} {unit}"
    return None


_TESTS: tuple[Callable[[Any, Schema], str | None], ...] = (_not_chosen, _out_of_range, _wrong_length)
