"""The API for people: the OpenAPI document as a page, made by the server, without a script of its own."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from typing import Any

import msgspec
from aiohttp import web
from markupsafe import Markup, escape

from ..endpoint import Answer, Endpoint
from ..openapi import DOCUMENT
from .rendering import page

Json = Mapping[str, Any]

_NOT_SHOWN = "pages"  # what browsers are given is no part of the API
_REFERENCE = "#/components/schemas/"
_LIMITS = {"minimum": "≥", "maximum": "≤", "minLength": "length ≥", "maxLength": "length ≤", "default": "default"}


class Row(msgspec.Struct):
    """A field or parameter. ``kind`` is its type in words, with links to what it is made of."""

    name: str
    kind: Markup
    says: Markup
    required: bool = False
    where: str = ""


class AnswerView(msgspec.Struct):
    status: str
    says: Markup
    kind: Markup
    contents: list[str]
    next: list[str]  # operations that it leads to


class OperationView(msgspec.Struct):
    id: str
    method: str
    path: str
    summary: str
    says: Markup
    public: bool
    parameters: list[Row]
    body: Markup | None
    examples: list[tuple[str, str]]  # what it shows, the request
    answers: list[AnswerView]


class Group(msgspec.Struct):
    name: str
    says: str
    operations: list[OperationView]


class SchemaView(msgspec.Struct):
    name: str
    says: Markup
    rows: list[Row]
    kind: Markup


async def docs_page(request: web.Request) -> web.Response:
    document = request.app[DOCUMENT].json
    context = {
        "about": prose(document["info"]["description"]),
        "version": document["info"]["version"],
        "groups": list(_groups(document)),
        "schemas": [_schema(name, one) for name, one in sorted(document["components"]["schemas"].items())],
    }
    return await page(request, "docs.html", context, here="/docs")


def _groups(document: Json) -> Iterator[Group]:
    for tag in document["tags"]:
        operations = [
            _operation(method, path, operation)
            for path, methods in document["paths"].items()
            for method, operation in methods.items()
            if tag["name"] in operation["tags"]
        ]
        if tag["name"] != _NOT_SHOWN:
            yield Group(tag["name"], tag.get("description", ""), operations)


def _operation(method: str, path: str, operation: Json) -> OperationView:
    body = operation.get("requestBody")
    content = next(iter(body["content"].values())) if body else {}  # JSON, or the bytes of an upload
    examples = content.get("examples", {}).values()
    return OperationView(
        id=operation["operationId"],
        method=method.upper(),
        path=path,
        summary=operation["summary"],
        says=prose(operation.get("description", "")),
        public=operation["security"] == [],
        parameters=[
            Row(one["name"], kind_of(one["schema"]), prose(one["description"]), one["required"], one["in"])
            for one in operation.get("parameters", ())
        ],
        body=kind_of(content["schema"]) if body else None,
        examples=[(one["summary"], _curl(method, path, one["value"])) for one in examples],
        answers=[_answer(status, one) for status, one in sorted(operation["responses"].items())],
    )


def _answer(status: str, answer: Json) -> AnswerView:
    contents = list(answer.get("content", {}))
    kinds = [kind_of(one["schema"]) for name, one in answer.get("content", {}).items() if "problem" not in name]
    return AnswerView(
        status, prose(answer["description"]), kinds[0] if kinds else Markup(), contents, list(answer.get("links", {}))
    )


def _curl(method: str, path: str, value: Any) -> str:
    """What to type; the body is JSON, so a single quote in it is all that needs care."""
    body = msgspec.json.format(msgspec.json.encode(value), indent=2).decode().replace("'", "'\\''")
    filled = re.sub(r"{(\w+)}", lambda found: found[1].upper(), path)
    call = f"curl -X {method.upper()} http://localhost:8080{filled}"
    return f"{call} \\\n  -H 'Content-Type: application/json' \\\n  -d '{body}'"


def _schema(name: str, schema: Json) -> SchemaView:
    required = set(schema.get("required", ()))
    rows = [
        Row(field, kind_of(one), prose(one.get("description", "")), field in required)
        for field, one in schema.get("properties", {}).items()
    ]
    return SchemaView(name, prose(schema.get("description", "")), rows, Markup() if rows else kind_of(schema))


def kind_of(schema: Json | bool) -> Markup:
    """A JSON Schema in a few words. Total over what ``openapi.py`` makes; anything else is "any JSON"."""
    if isinstance(schema, bool):
        return Markup("any JSON") if schema else Markup("nothing")
    if "$ref" in schema:
        name = schema["$ref"].removeprefix(_REFERENCE)
        return Markup('<a href="#schema-{0}">{1}</a>').format(name, name.rpartition(".")[2] or name)
    for word in ("anyOf", "oneOf"):
        if word in schema:
            return Markup(" or ").join(dict.fromkeys(kind_of(one) for one in schema[word]))
    if "allOf" in schema:
        return kind_of(schema["allOf"][0])
    if "enum" in schema or "const" in schema:
        words = schema.get("enum") or [schema["const"]]
        return Markup(", ").join(Markup("<code>{}</code>").format(_word(one)) for one in words)
    kind = schema.get("type", "any JSON")
    if kind == "array" and "prefixItems" in schema:
        return Markup("[{}]").format(Markup(", ").join(kind_of(one) for one in schema["prefixItems"]))
    if kind == "array":
        return Markup("list of {}").format(kind_of(schema.get("items", {})))
    if kind == "object" and isinstance(schema.get("additionalProperties"), dict):
        return Markup("object of {}").format(kind_of(schema["additionalProperties"]))
    limits = [f"{sign} {_word(schema[name])}" for name, sign in _LIMITS.items() if name in schema]
    return escape(", ".join([kind if isinstance(kind, str) else " or ".join(kind), *limits]))


def _word(value: Any) -> str:
    return value if isinstance(value, str) else msgspec.json.encode(value).decode()


def prose(text: str) -> Markup:
    """Paragraphs, ``- `` lists, `code` and **bold**; everything else is text."""
    blocks = []
    for block in text.strip().split("\n\n"):
        items = re.split(r"^- ", block, flags=re.MULTILINE)
        lead, points = items[0], items[1:]
        if lead.strip():
            blocks.append(Markup("<p>{}</p>").format(_inline(lead)))
        if points:
            blocks.append(Markup("<ul>{}</ul>").format(Markup("").join(map(_point, points))))
    return Markup("").join(blocks)


def _point(text: str) -> Markup:
    return Markup("<li>{}</li>").format(_inline(text))


def _inline(text: str) -> Markup:
    safe = str(escape(" ".join(text.split())))
    safe = re.sub(r"(``?)([^`]+)\1", r"<code>\2</code>", safe)
    return Markup(re.sub(r"\*\*([^*]+)\*\*", r"<strong>\1</strong>", safe))  # noqa: S704 - escaped above


ENDPOINTS = (
    Endpoint(
        "GET",
        "/docs",
        docs_page,
        "The API for people",
        {200: Answer("The page", {"type": "string"}, content="text/html")},
    ),
)
