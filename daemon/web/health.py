"""Liveness and readiness. The checks themselves are named callables that the composition root passes in."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable

import msgspec
import structlog
from aiohttp import web

from .. import keys
from ..connecting import FAULT
from ..errors import NotReady, TunerdError
from .answers import json_answer
from .endpoint import Answer, Endpoint
from .problem import CONTENT_TYPE, problem

# Returns when all is well (with a word about it, or None); raises TunerdError with the reason.
Check = Callable[[], Awaitable[str | None]]

CHECK_SECONDS = 2.0  # a prober waits 5 s or so for all of them; they run side by side

RETRY_SECONDS = 5

log = structlog.get_logger()


class Checked(msgspec.Struct):
    """One check's result; ``detail`` says what to do where it failed."""

    ok: bool
    detail: str | None = None


class Readiness(msgspec.Struct):
    ready: bool
    checks: dict[str, Checked]


class Unready(msgspec.Struct):
    """A problem that names each check as well."""

    type: str
    title: str
    status: int
    detail: str
    code: str
    ready: bool
    checks: dict[str, Checked]


class Alive(msgspec.Struct):
    status: str


async def healthz(_request: web.Request) -> web.Response:
    return json_answer(Alive("alive"))


async def readyz(request: web.Request) -> web.Response:
    checks = request.app[keys.CHECKS]
    results = dict(zip(checks, await asyncio.gather(*(_run(*named) for named in checks.items())), strict=True))
    draining = request.app[keys.DRAINING].is_set()
    results["draining"] = Checked(not draining, "The daemon is stopping." if draining else None)
    failed = [f"{name}: {result.detail}" for name, result in results.items() if not result.ok]
    if failed:
        return problem(NotReady("; ".join(failed), retry_after=RETRY_SECONDS, ready=False, checks=results))
    return json_answer(Readiness(True, results))


async def _run(name: str, check: Check) -> Checked:
    try:
        async with asyncio.timeout(CHECK_SECONDS):
            return Checked(True, await check())
    except TunerdError as reason:
        return Checked(False, reason.detail)
    except TimeoutError:
        return Checked(False, f"No answer within {CHECK_SECONDS:g} s.")
    except Exception as reason:  # whatever it is, the prober gets an answer, and no text that might hold a secret
        log.warning("readiness check failed", check=name, exc_info=reason)
        return Checked(False, f"{FAULT[0].upper()}{FAULT[1:]}.")


ENDPOINTS = (
    Endpoint("GET", "/healthz", healthz, "The process answers", {200: Answer("Alive", Alive)}, public=True),
    Endpoint(
        "GET",
        "/readyz",
        readyz,
        "Whether events can be taken, with each check named",
        {200: Answer("Ready", Readiness), 503: Answer("Not ready", Unready, content=CONTENT_TYPE)},
        public=True,
    ),
)
