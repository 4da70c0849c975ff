"""Errors as ``application/problem+json`` (RFC 9457): what happened, what to do next, and a stable code."""

from __future__ import annotations

from typing import Any

import msgspec
from aiohttp import web

from ..errors import BodyTooLarge, InvalidRequest, MethodNotAllowed, NotFound, TunerdError, Unauthorized

CONTENT_TYPE = "application/problem+json"

# On every answer. The policy for pages is their own; this one stops an answer from being read as anything else.
SECURITY_HEADERS = {
    "X-Content-Type-Options": "nosniff",
    "X-Frame-Options": "DENY",
    "Referrer-Policy": "same-origin",
    "Cross-Origin-Resource-Policy": "same-origin",
}

_encoder = msgspec.json.Encoder()


def problem(error: TunerdError, *, close: bool = False) -> web.Response:
    """The answer for ``error``. ``close``: the connection ends with it."""
    members: dict[str, Any] = {
        "type": f"urn:tunerd:problem:{error.code}",
        "title": error.title,
        "status": error.status,
        "detail": error.detail,
        "code": error.code,
        **{name: value for name, value in error.extra.items() if value is not None},
    }
    headers = {"Content-Type": CONTENT_TYPE, "Cache-Control": "no-store", **SECURITY_HEADERS}
    if error.retry_after is not None:
        headers["Retry-After"] = str(error.retry_after)
    if isinstance(error, Unauthorized):
        headers["WWW-Authenticate"] = 'Bearer realm="tunerd"'
    allowed = error.extra.get("allowed")
    if allowed:
        headers["Allow"] = ", ".join(allowed)
    answer = web.Response(status=error.status, body=_encoder.encode(members), headers=headers)
    if close:
        answer.force_close()
    return answer


def internal_error() -> TunerdError:
    """What the client sees of a fault of ours: nothing of the inside."""
    return TunerdError(
        "Something failed inside tunerd. Its log has the details, under the id in this answer's X-Request-ID header; "
        "trying again may help."
    )


def from_http(error: web.HTTPException, path: str) -> TunerdError:
    """aiohttp's own refusals (no such path, wrong method, body too large …) in our words."""
    match error:
        case web.HTTPMethodNotAllowed():
            allowed = sorted(error.allowed_methods)
            return MethodNotAllowed(
                f"{error.method} is not possible here; use {' or '.join(allowed)}.", allowed=allowed
            )
        case web.HTTPNotFound():
            return NotFound(_not_found(path))
        case web.HTTPRequestEntityTooLarge():
            return BodyTooLarge("The body is larger than this endpoint takes.")
        case _ if 400 <= error.status < 500:
            return InvalidRequest(f"{error.reason}: this request cannot be answered.")
        case _:
            return internal_error()


def _not_found(path: str) -> str:
    bare = path.rstrip("/")
    if bare and bare != path:
        return (
            "There is nothing at this path. Paths have no trailing slash here, and nothing is redirected: leave it off."
        )
    return "There is nothing at this path. Webhooks go to /api/webhooks/replicate; /openapi.json lists the API."
