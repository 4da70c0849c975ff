"""A ``Fetcher`` of a test's own, and attempts with it as the daemon makes them."""

from __future__ import annotations

import asyncio
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path
from typing import Any

from aiohttp import web
from aiohttp.abc import AbstractResolver

from daemon.delivery.errors import Retry
from daemon.delivery.fetch import Fetcher
from daemon.delivery.limits import Limits
from daemon.delivery.origins import Origins
from daemon.delivery.staging import Fetched, Part
from daemon.delivery.stores.allowed import NO_STORES, Stores
from tests.support.outputs import Handler, status

TOKEN = "r8_secret"


class fetcher_for:  # noqa: N801 - a context manager, used like a function
    def __init__(
        self, origins: Origins, names: AbstractResolver | None = None, *, limits: Limits | None = None, **more: Any
    ) -> None:
        more.setdefault("trust_env", False)
        self.make = partial(Fetcher, origins, self.token, limits=limits or Limits(), resolver=names, **more)

    @staticmethod
    async def token() -> str:
        return TOKEN

    async def __aenter__(self) -> Fetcher:
        self.pool = ThreadPoolExecutor(2)
        self.fetcher = self.make(pool=self.pool)
        return await self.fetcher.__aenter__()

    async def __aexit__(self, *_error: object) -> None:
        await self.fetcher.__aexit__(None, None, None)
        self.pool.shutdown()


async def attempt(fetcher: Fetcher, url: str, path: Path) -> Fetched:
    """One attempt with a part of its own, as after a restart of the daemon."""
    return await attempt_with(fetcher, url, path, NO_STORES)


async def attempt_with(fetcher: Fetcher, url: str, path: Path, stores: Stores) -> Fetched:
    part = await asyncio.to_thread(Part, path, url)
    try:
        return await fetcher.attempt(url, part, stores)
    finally:
        await asyncio.to_thread(part.close)


async def until_done(fetcher: Fetcher, url: str, path: Path, *, most: int = 20) -> list[str]:
    """Attempt until it works, with one part as the daemon does; the reasons of the retries."""
    part = await asyncio.to_thread(Part, path, url)
    reasons: list[str] = []
    try:
        while len(reasons) < most:
            try:
                await fetcher.attempt(url, part)
            except Retry as reason:
                reasons.append(str(reason))
                assert not await asyncio.to_thread(path.exists)
            else:
                return reasons
    finally:
        await asyncio.to_thread(part.close)
    raise AssertionError(f"not done after {most} attempts: {reasons}")


def answer(body: bytes, code: int = 200, **headers: str) -> Handler:
    async def handler(_request: web.Request) -> web.StreamResponse:
        return web.Response(
            status=code, body=body, headers={key.replace("_", "-"): text for key, text in headers.items()}
        )

    return handler


def redirect(location: str, code: int = 302) -> Handler:
    return status(code, Location=location)
