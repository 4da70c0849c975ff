"""Reading a request's body and query strictly, and answering JSON."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from typing import Any, TypeVar

import msgspec
from aiohttp import web

from ..errors import BodyTooLarge, InvalidJson, InvalidRequest

T = TypeVar("T")

API_BODY_BYTES = 8 * 1024 * 1024  # a training configuration has kilobytes; data sets are read from disk, not sent here

_encoder = msgspec.json.Encoder()
_PATH = re.compile(r" - at `(?:key in )?\$(?P<path>[^`]*)`$")
_NAMED = re.compile(r"(?:unknown|required) field `(?P<name>[^`]*)`")


def json_answer(value: Any, *, status: int = 200, headers: Mapping[str, str] | None = None) -> web.Response:
    """``value`` (anything msgspec encodes) as a JSON answer that nobody caches."""
    return web.Response(
        body=_encoder.encode(value),
        status=status,
        content_type="application/json",
        headers={"Cache-Control": "no-store", **(headers or {})},
    )


async def read_body(request: web.Request) -> bytes:
    """The whole body; ``BodyTooLarge`` over ``API_BODY_BYTES``."""
    try:
        return await request.read()
    except web.HTTPRequestEntityTooLarge:
        raise BodyTooLarge(f"An API body may have {API_BODY_BYTES} bytes at most.") from None


async def read_json(request: web.Request, model: type[T]) -> T:
    """The body as ``model``, whatever its Content-Type says. Raises ``InvalidJson`` and ``InvalidRequest``."""
    return decode_json(await read_body(request), model)


def decode_json(body: bytes, model: type[T]) -> T:
    """``body`` as ``model``. Total: any bytes give a value, ``InvalidJson`` or ``InvalidRequest`` naming the field."""
    try:
        try:
            return msgspec.json.decode(body, type=model)
        except msgspec.ValidationError as problem:
            msgspec.json.decode(body)  # the first wrong type hides whether the rest is JSON at all
            raise _invalid(str(problem)) from None
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as problem:
        raise InvalidJson(f"The body must be one JSON object in UTF-8: {problem}.") from None


def _invalid(message: str) -> InvalidRequest:
    found, named = _PATH.search(message), _NAMED.search(message)
    parts = [found["path"].lstrip(".")] if found and found["path"] else []
    field = ".".join(parts + ([named["name"]] if named else []))
    text = _PATH.sub("", message)
    return InvalidRequest(f"{field or 'The body'}: {text}." if field else f"The body: {text}.", field=field or None)


def query_int(request: web.Request, name: str, default: int, *, low: int, high: int) -> int:
    """A whole number of the query. Raises ``InvalidRequest`` naming it."""
    text = request.query.get(name)
    if text is None:
        return default
    if not re.fullmatch(r"[0-9]{1,18}", text, re.ASCII) or not low <= int(text) <= high:
        raise InvalidRequest(f"{name}: a whole number from {low} to {high} is expected.", field=name)
    return int(text)


def query_choice(request: web.Request, name: str, words: Iterable[str]) -> str | None:
    """One of ``words``, or ``None`` where the query has none. Raises ``InvalidRequest`` naming it."""
    text = request.query.get(name)
    if text is None:
        return None
    allowed = [str(word) for word in words]
    if text not in allowed:
        raise InvalidRequest(f"{name}: one of {', '.join(allowed)} is expected.", field=name)
    return text


def query_text(request: web.Request, name: str) -> str | None:
    """A short text of the query without control characters. Raises ``InvalidRequest`` naming it."""
    text = request.query.get(name)
    if text is None:
        return None
    if not text or len(text) > 1000 or not text.isprintable():
        raise InvalidRequest(f"{name}: a text of 1 to 1000 printable characters is expected.", field=name)
    return text
