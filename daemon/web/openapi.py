"""OpenAPI 3.1 of every route, made from the endpoints themselves; schemas from msgspec's types."""

from __future__ import annotations

import re
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

PROBLEM = "application/problem+json"
_REF = "#/components/schemas/{name}"
_ANY: tuple[type[TunerdError], ...] = (ForwardedInvalid, TunerdError, NotReady)
_ADMIN: tuple[type[TunerdError], ...] = (Unauthorized, CrossSite)
_BODY: tuple[type[TunerdError], ...] = (InvalidJson, InvalidRequest, BodyTooLarge)

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
    paths: dict[str, Json] = {}
    for endpoint in endpoints:
        paths.setdefault(endpoint.path, {})[endpoint.method.lower()] = _operation(endpoint, known)
    return {
        "openapi": "3.1.0",
        "info": {
            "title": "tunerd",
            "version": version("tunerd"),
            "description": "Cloud training on Replicate: submit, signed webhooks, journal, delivery. "
            "Every error is application/problem+json with a stable code. GET answers HEAD too.",
        },
        "paths": paths,
        "components": {
            "schemas": {**components, **special},
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


def _operation(endpoint: Endpoint, known: Mapping[str, Json]) -> Json:
    operation: Json = {
        "summary": endpoint.summary,
        "operationId": f"{endpoint.tag}_{endpoint.handler.__name__}_{_slug(endpoint.path)}",
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
        content = {"application/json": {"schema": _schema(endpoint.body, known)}}
        operation["requestBody"] = {"required": endpoint.body_required, "content": content}
    return operation


def _slug(path: str) -> str:
    return re.sub(r"\W+", "_", path).strip("_") or "index"


def _path_param(name: str) -> Json:
    schema: Json = {"type": "integer", "minimum": 0} if name == "seq" else {"type": "string", "minLength": 1}
    return {"name": name, "in": "path", "required": True, "schema": schema}


def _param(param: Param) -> Json:
    return {
        "name": param.name,
        "in": param.where,
        "required": False,
        "description": param.description,
        "schema": dict(param.schema),
    }


def _responses(endpoint: Endpoint, known: Mapping[str, Json]) -> Json:
    found = {str(status): _answer(answer, known) for status, answer in endpoint.answers.items()}
    for status, errors in sorted(_errors(endpoint).items()):
        codes = sorted({error.code for error in errors})
        schema = {"allOf": [known[_key(Problem)], {"properties": {"code": {"enum": codes}}}]}
        content = found.setdefault(str(status), {"description": ", ".join(codes), "content": {}})["content"]
        content[PROBLEM] = {"schema": schema}
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
