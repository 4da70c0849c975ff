"""Answers of the simulated API: JSON as one backend or the other writes it, and the recorded problem objects."""

from __future__ import annotations

import json
from typing import Any

from aiohttp import web

from .encoders import encode
from .faults import Style

# Two backends: their traces in the recordings' headers.
_VIA = {"go": "1.1 google", "django": "1.1 vegur, 1.1 google", "python": "1.1 google"}


def answer(value: Any, style: Style, *, status: int = 200, headers: dict[str, str] | None = None) -> web.Response:
    """JSON with the trailing newline that both backends write. Keys stay in order: these are structs, not maps."""
    return web.Response(
        status=status,
        body=encode(value, style, sort_keys=False) + b"\n",
        headers={"Content-Type": "application/json", "Server": "cloudflare", "via": _VIA[style]} | (headers or {}),
    )


class Problem(Exception):
    """An error answer. ``members`` are those of the recorded body, in order."""

    def __init__(self, http_status: int, *, headers: dict[str, str] | None = None, **members: Any) -> None:
        super().__init__(members.get("detail"))
        self.http_status, self.members, self.headers = http_status, members, headers or {}

    def response(self) -> web.Response:
        return web.Response(
            status=self.http_status,
            body=json.dumps(self.members, ensure_ascii=False, separators=(",", ":")).encode() + b"\n",
            headers={"Content-Type": "application/problem+json", "Server": "cloudflare"} | self.headers,
        )


def unauthenticated() -> Problem:
    detail = "You did not pass a valid authentication token"
    return Problem(401, title="Unauthenticated", detail=detail, status=401)


def insufficient_credit() -> Problem:
    detail = (
        "You have insufficient credit to run this model. Go to https://replicate.com/account/billing#billing to "
        "purchase credit. Once you purchase credit, please wait a few minutes before trying again."
    )
    return Problem(402, title="Insufficient credit", detail=detail, status=402)


def not_found() -> Problem:
    return Problem(404, detail="The requested resource could not be found.", status=404)


def file_not_found() -> Problem:
    return Problem(404, detail="File not found")


def no_destination() -> Problem:
    return Problem(404, detail="The specified training destination does not exist", status=404)


def invalid_version() -> Problem:
    detail = "The specified version does not exist (or perhaps you don't have permission to use it?)"
    return Problem(422, title="Invalid version or not permitted", detail=detail, status=422)


def invalid_input(fields: list[dict[str, str]]) -> Problem:
    detail = "".join(f"- {each['field']}: {each['description']}\n" for each in fields)
    return Problem(422, title="Input validation failed", detail=detail, status=422, invalid_fields=fields)


def invalid_request(kind: str, field: str, description: str) -> Problem:
    return invalid_input([{"type": kind, "field": field, "description": description}])


def file_too_large() -> Problem:
    return Problem(413, detail="Files must be less than 100MB in size")


def throttled(style: str, seconds: int, http_date: str) -> Problem:
    """429, saying when to come back as ``style`` asks: in the body, a header, as a date, in words, or not at all."""
    reduced = (
        "Request was throttled. Your rate limit for creating predictions is reduced to 6 requests per minute with a "
        f"burst of 1 requests while you have less than $5.0 in credit. Your rate limit resets in ~{seconds}s."
    )
    match style:
        case "body":
            return Problem(429, detail=reduced, status=429, retry_after=seconds)
        case "header":
            return Problem(429, detail="Request was throttled.", headers={"Retry-After": str(seconds)})
        case "date":
            return Problem(429, detail="Request was throttled.", headers={"Retry-After": http_date})
        case "text":
            return Problem(429, detail=f"Request was throttled. Your rate limit resets in ~{seconds}s.")
        case _:
            return Problem(429, detail="Request was throttled.")
