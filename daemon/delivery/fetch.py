"""One attempt to fetch one output file: resumed after a cut, in pieces where it is large, length and hashes checked."""

from __future__ import annotations

import asyncio
import errno
import threading
from collections.abc import Callable
from concurrent.futures import Executor
from http import HTTPStatus
from types import TracebackType
from typing import Self, TypeVar

import aiohttp
from aiohttp.abc import AbstractResolver

from .data_uri import decode_data, is_data, write_data
from .download import Anew, Download, along
from .errors import Permanent, Retry
from .limits import Limits, Room, Throttle
from .opening import Opener, TokenSource
from .origins import Origins, PublicResolver
from .staging import Fetched, Part
from .stores.allowed import NO_STORES, Stores
from .stores.copying import copy
from .stores.reading import Reader
from .threads import Threads
from .wire import Broken, Reply

IDLE_SECONDS = 60.0  # without a single byte
ALONG = 2  # threads beside the connections of a file: hashing, syncing

T = TypeVar("T")


class Fetcher:
    """Fetches from allowed origins only. ``pool`` is for what is short; downloads have threads of their own."""

    def __init__(
        self,
        origins: Origins,
        token: TokenSource,
        pool: Executor,
        limits: Limits,
        *,
        trust_env: bool = True,
        resolver: AbstractResolver | None = None,
        idle_seconds: float = IDLE_SECONDS,
    ) -> None:
        self.limits = limits
        self._origins = origins
        self._pool = pool
        self._throttle = Throttle(limits.bytes_per_second)
        self._room = Room()
        self._threads = Threads(limits.files * (limits.connections + ALONG))
        self._resolver = PublicResolver(origins, resolver or aiohttp.ThreadedResolver())
        self._opener = Opener(
            origins, self._resolver, token, self._threads, trust_env=trust_env, idle_seconds=idle_seconds
        )

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._threads.close()

    async def in_thread(self, function: Callable[..., T], *args: object) -> T:
        return await asyncio.get_running_loop().run_in_executor(self._pool, function, *args)

    def check(self, url: str, stores: Stores = NO_STORES) -> None:
        """``Permanent`` where ``url`` is not to be fetched from."""
        if not is_data(url) and stores.reader(url) is None:
            self._origins.check(url)

    async def attempt(self, url: str, part: Part, stores: Stores = NO_STORES) -> Fetched:
        """Fetch what is missing of ``url``. Raises ``Retry``, ``Gone`` or ``Permanent``; what has come is kept.

        ``stores`` are the repositories and buckets that the job's output may be read from.
        """
        try:
            await self._on(part.recover)
            if is_data(url):
                await self._on(write_data, url, part)
            elif not part.whole:
                reader = stores.reader(url)
                await (self._download(url, part) if reader is None else self._copy(reader, part))
            return await self._on(part.finish)
        except TimeoutError:
            raise Retry(f"nothing came for {self._opener.idle_seconds:g} s") from None
        except Broken as problem:
            raise Retry(f"the connection failed: {problem}") from None
        except OSError as problem:
            full = problem.errno in {errno.ENOSPC, errno.EDQUOT}
            raise Retry(f"{'the disk is full' if full else 'an input/output error'}: {problem}") from None

    async def small(self, url: str, most: int) -> bytes:
        """The whole of ``url`` into memory, ``most`` bytes at most. Raises ``Retry`` or ``Permanent``."""
        if is_data(url):
            return await self.in_thread(decode_data, url)
        try:
            reply, _ = await self._opener.open(url, {"Accept": "*/*", "User-Agent": "tunerd"})
            try:
                if reply.status != HTTPStatus.OK:
                    raise Permanent(f"answered {reply.status}")
                return await self._threads.run(reply.connection.abort, _read_all, reply, most)
            finally:
                reply.connection.close()
        except TimeoutError:
            raise Retry(f"nothing came for {self._opener.idle_seconds:g} s") from None
        except Broken as problem:
            raise Retry(f"the connection failed: {problem}") from None

    async def _download(self, url: str, part: Part) -> None:
        if part.done and not part.continuable:
            await self._on(part.restart)  # nothing proves that the rest would belong to it
        async with self._room.used_by(part):
            try:
                await Download(self._opener, self._threads, self._throttle, part, self.limits.connections).run(
                    url, self._room
                )
            except Anew as reason:
                await self._on(part.restart)
                raise Retry(f"{reason}; starting over") from None

    async def _on(self, function: Callable[..., T], *arguments: object) -> T:
        """What a thread does to a part, waited for though it is cancelled: its caller closes the part next."""
        return await self._threads.run(_nothing, function, *arguments)

    async def _copy(self, reader: Reader, part: Part) -> None:
        stopping = threading.Event()
        async with self._room.used_by(part), along(self._threads, part):
            await self._threads.run(stopping.set, copy, reader, part, self._throttle, self._room, stopping)


def _nothing() -> None:
    """What is short is not aborted."""


def _read_all(reply: Reply, most: int) -> bytes:
    held = bytearray(most + 1)
    view, filled = memoryview(held), 0
    while filled <= most and (count := reply.read_into(view[filled:])):
        filled += count
    if filled > most:
        raise Permanent(f"it has more than {most} bytes")
    if reply.length not in {None, filled}:
        raise Retry(f"the connection ended after {filled} of {reply.length} bytes")
    return bytes(view[:filled])
