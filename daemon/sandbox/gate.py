"""What every API request passes: the log, the faults, the token; and how its errors are written."""

from __future__ import annotations

import asyncio
import hmac
import re
from collections.abc import Awaitable, Callable
from email.utils import formatdate
from typing import Any

from aiohttp import web

from . import answers
from .outputs import cut
from .platform import ApiCall, Platform

Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]

_CREATES = re.compile(r"/v1/(predictions|models/[^/]+/[^/]+/(predictions|versions/[^/]+/trainings))$")
_SIGNED_DOWNLOAD = re.compile(r"/v1/files/[^/]+/download$")
# Predictions are created from a bucket of 600 a minute; everything else, trainings too, from one of 3000.
_REMAINING = {True: "599", False: "2999"}
_HTML = "<html><head><title>502 Bad Gateway</title></head><body><center><h1>502 Bad Gateway</h1></center></body></html>"


class Gate:
    def __init__(self, platform: Platform) -> None:
        self._p = platform

    def middleware(self) -> Any:
        @web.middleware
        async def gate(request: web.Request, handler: Handler) -> web.StreamResponse:
            return await self._pass(request, handler) if request.path.startswith("/v1") else await handler(request)

        return gate

    async def _pass(self, request: web.Request, handler: Handler) -> web.StreamResponse:
        call = ApiCall(request.method, request.path, dict(request.query), b"", self._p.clock())
        self._p.requests.append(call)
        if self._p.hits(request, "reset_next"):
            cut(request, reset=True)
            return web.Response()
        if self._p.hits(request, "hang_next"):
            await asyncio.sleep(self._p.faults.hang_seconds)
            cut(request, reset=False)
            return web.Response()
        call.body = await _peek(request)
        await asyncio.sleep(self._p.faults.latency)
        try:
            self._admit(request)
            self._refuse(request)
            response = await handler(request)
        except answers.Problem as problem:
            response = problem.response()
        except web.HTTPMethodNotAllowed:
            response = answers.Problem(405, detail=f'Method "{request.method}" not allowed.', status=405).response()
        except web.HTTPNotFound:
            response = answers.not_found().response()
        if (
            response.status in {201, 202}
            and self._creates(request)
            and self._p.hits(request, "lose_create_answer_next")
        ):
            cut(request, reset=True)
            return web.Response()
        call.status = response.status
        bucket = request.method == "POST" and request.path.endswith("/predictions")
        response.headers.setdefault("ratelimit-remaining", _REMAINING[bucket])
        response.headers.setdefault("ratelimit-reset", "1")
        return response

    def _creates(self, request: web.Request) -> bool:
        return request.method == "POST" and _CREATES.match(request.path) is not None

    def _admit(self, request: web.Request) -> None:
        """``Bearer`` as documented; ``Token`` as older clients write it."""
        if _SIGNED_DOWNLOAD.match(request.path):
            return
        scheme, _, token = request.headers.get("Authorization", "").partition(" ")
        known = hmac.compare_digest(token.strip().encode(), self._p.api_token.encode())
        if scheme.lower() not in {"bearer", "token"} or not known:
            raise answers.unauthenticated()

    def _refuse(self, request: web.Request) -> None:
        faults = self._p.faults
        if self._p.hits(request, "server_error_next"):
            raise _ServerError(faults.server_error_status, faults.server_error_body)
        if self._p.hits(request, "rate_limit_next"):
            when = formatdate(self._p.clock() + faults.rate_limit_seconds, usegmt=True)
            raise answers.throttled(faults.rate_limit_style, faults.rate_limit_seconds, when)
        if self._creates(request) and self._p.hits(request, "insufficient_credit_next"):
            raise answers.insufficient_credit()


class _ServerError(answers.Problem):
    """A 5xx of the front, which is often no JSON at all."""

    def __init__(self, status: int, form: str) -> None:
        super().__init__(status, detail="An internal error occurred", status=status)
        self._form = form

    def response(self) -> web.Response:
        if self._form == "json":
            return super().response()
        text = _HTML if self._form == "html" else ""
        return web.Response(status=self.http_status, text=text, content_type="text/html")


async def _peek(request: web.Request) -> bytes:
    """The body, for the log of requests; uploads are left to their handler."""
    return b"" if request.content_type.startswith("multipart/") else await request.read()
