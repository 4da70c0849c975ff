"""OpenAPI 3.1 of every route, made from the endpoints themselves; schemas from msgspec's types."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from functools import cached_property
from importlib.metadata import version
from typing import Any

import msgspec
from aiohttp import web

from ..errors import (
    BodyTooLarge,
    CrossSite,
    ForwardedInvalid,
    InvalidJson,
    InvalidRequest,
    NotReady,
    TunerdError,
    Unauthorized,
)
from .answers import json_answer
from .endpoint import Answer, Endpoint, Param
from .openapi_links import links_of
from .openapi_words import ABOUT, EXAMPLES, PATH_PARAMETERS, TAGS, described

PROBLEM = "application/problem+json"
_REF = "#/components/schemas/{name}"
_ANY: tuple[type[TunerdError], ...] = (ForwardedInvalid, TunerdError, NotReady)
_ADMIN: tuple[type[TunerdError], ...] = (Unauthorized, CrossSite)
_BODY: tuple[type[TunerdError], ...] = (InvalidJson, InvalidRequest, BodyTooLarge)

# Headers of problems; Retry-After is in whole seconds.
_ERROR_HEADERS = {
    401: ("WWW-Authenticate", "How to be the admin, where that is what is missing"),
    429: ("Retry-After", "Seconds until it may be sent again"),
    503: ("Retry-After", "Seconds until it may be sent again"),
}

Json = dict[str, Any]


class Problem(msgspec.Struct):
    """RFC 9457; ``code`` is stable, ``detail`` says what to do next."""

    type: str
    title: str
    status: int
    detail: str
    code: str
    field: str | msgspec.UnsetType | None = msgspec.UNSET


def build(endpoints: Sequence[Endpoint], special: Mapping[str, Json]) -> Json:
    """The whole document. ``special``: components that stand in place of those that the types give."""
    types = [Problem, *_types(endpoints)]
    schemas, components = msgspec.json.schema_components(types, ref_template=_REF)
    known = dict(zip(map(_key, types), schemas, strict=True))
    ids = operation_ids(endpoints)
    paths: dict[str, Json] = {}
    for endpoint in endpoints:
        operation = _operation(endpoint, known, ids[endpoint])
        for status in endpoint.answers:
            links = links_of(endpoint, status, ids, endpoints)
            if links:
                operation["responses"][str(status)]["links"] = links
        paths.setdefault(endpoint.path, {})[endpoint.method.lower()] = operation
    return {
        "openapi": "3.1.0",
        "info": {
            "title": "tunerd",
            "version": version("tunerd"),
            "description": ABOUT,
            "license": {"name": "Apache License 2.0", "identifier": "Apache-2.0"},
        },
        "servers": [{"url": "/", "description": "This daemon"}],
        "tags": [
            {"name": name, "description": TAGS[name]} if name in TAGS else {"name": name}
            for name in dict.fromkeys(endpoint.tag for endpoint in endpoints)
        ],
        "paths": paths,
        "components": {
            "schemas": described({**components, **special}),
            "securitySchemes": {
                "admin": {
                    "type": "http",
                    "scheme": "bearer",
                    "description": "Not needed straight from loopback where no admin token is set.",
                }
            },
        },
    }


def _types(endpoints: Iterable[Endpoint]) -> list[Any]:
    found: dict[Any, Any] = {}
    for endpoint in endpoints:
        for schema in (endpoint.body, *(answer.schema for answer in endpoint.answers.values())):
            for one in schema if isinstance(schema, tuple) else (schema,):
                if one is not None and not isinstance(one, dict):
                    found.setdefault(_key(one), one)
    return list(found.values())


def _key(schema: Any) -> str:
    return repr(schema)


def _schema(schema: Any, known: Mapping[str, Json]) -> Json:
    if schema is None:
        return {}
    if isinstance(schema, tuple):
        return {"anyOf": [_schema(one, known) for one in schema]}
    return schema if isinstance(schema, dict) else known[_key(schema)]


def operation_ids(endpoints: Sequence[Endpoint]) -> dict[Endpoint, str]:
    """A name for each: its handler's; where that is not enough, with its group and path."""

    def spellings(endpoint: Endpoint) -> tuple[str, str, str]:
        name = endpoint.handler.__name__
        return name, f"{endpoint.tag}_{name}", f"{endpoint.tag}_{name}_{_slug(endpoint.path)}"

    counts = Counter(spelling for endpoint in endpoints for spelling in spellings(endpoint))
    return {endpoint: next(one for one in spellings(endpoint) if counts[one] == 1) for endpoint in endpoints}


def _operation(endpoint: Endpoint, known: Mapping[str, Json], operation_id: str) -> Json:
    operation: Json = {
        "summary": endpoint.summary,
        "operationId": operation_id,
        "tags": [endpoint.tag],
        "responses": _responses(endpoint, known),
        "security": [] if endpoint.public else [{"admin": []}, {}],
    }
    if endpoint.description:
        operation["description"] = endpoint.description
    parameters = [_path_param(name) for name in re.findall(r"{(\w+)}", endpoint.path)]
    parameters += [_param(param) for param in endpoint.params]
    if parameters:
        operation["parameters"] = parameters
    if endpoint.body is not None:
        content: Json = {endpoint.body_content: {"schema": _schema(endpoint.body, known)}}
        examples = EXAMPLES.get((endpoint.method, endpoint.path))
        if examples:
            content[endpoint.body_content]["examples"] = examples
        operation["requestBody"] = {"required": endpoint.body_required, "content": content}
    return operation


def _slug(path: str) -> str:
    return re.sub(r"\W+", "_", path).strip("_") or "index"


def _path_param(name: str) -> Json:
    schema: Json = {"type": "integer", "minimum": 0} if name == "seq" else {"type": "string", "minLength": 1}
    return {
        "name": name,
        "in": "path",
        "required": True,
        "description": PATH_PARAMETERS.get(name, name),
        "schema": schema,
    }


def _param(param: Param) -> Json:
    return {
        "name": param.name,
        "in": param.where,
        "required": param.required,
        "description": param.description,
        "schema": dict(param.schema),
    }


def _responses(endpoint: Endpoint, known: Mapping[str, Json]) -> Json:
    found = {str(status): _answer(answer, known) for status, answer in endpoint.answers.items()}
    for status, errors in sorted(_errors(endpoint).items()):
        codes = sorted({error.code for error in errors})
        schema = {"allOf": [known[_key(Problem)], {"properties": {"code": {"enum": codes}}}]}
        answer = found.setdefault(str(status), {"description": ", ".join(codes), "content": {}})
        answer["content"].setdefault(PROBLEM, {"schema": schema})
        if status in _ERROR_HEADERS:
            name, says = _ERROR_HEADERS[status]
            answer.setdefault("headers", {})[name] = {"description": says, "schema": {"type": "string"}}
    return found


def _errors(endpoint: Endpoint) -> dict[int, list[type[TunerdError]]]:
    every = (*endpoint.errors, *_ANY)
    every += () if endpoint.public else _ADMIN
    every += () if endpoint.body is None else _BODY
    by_status: dict[int, list[type[TunerdError]]] = {}
    for error in every:
        by_status.setdefault(error.status, []).append(error)
    return by_status


def _answer(answer: Answer, known: Mapping[str, Json]) -> Json:
    found: Json = {"description": answer.description, "content": {}}
    for content in (answer.content, *answer.also):
        if content is not None:
            found["content"][content] = {"schema": _schema(answer.schema, known)}
    if answer.headers:
        found["headers"] = {
            name: {"description": says, "schema": {"type": "string"}} for name, says in answer.headers.items()
        }
    return found


class Document:
    """The document of ``endpoints``, made when somebody first asks for it."""

    def __init__(self, endpoints: Sequence[Endpoint], special: Mapping[str, Json]) -> None:
        self._endpoints = endpoints
        self._special = special

    @cached_property
    def json(self) -> Json:
        return build(self._endpoints, self._special)


DOCUMENT: web.AppKey[Document] = web.AppKey("openapi")


async def get_openapi(request: web.Request) -> web.Response:
    return json_answer(request.app[DOCUMENT].json)


ENDPOINTS = (
    Endpoint("GET", "/openapi.json", get_openapi, "This document", {200: Answer("OpenAPI 3.1", {"type": "object"})}),
)
