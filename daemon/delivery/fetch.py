"""One attempt to fetch one output file: redirects checked by hand, resumed after a cut, length and hash checked."""

from __future__ import annotations

import asyncio
import base64
import binascii
import errno
import re
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from concurrent.futures import Executor
from contextlib import asynccontextmanager
from types import TracebackType
from typing import Self, TypeVar
from urllib.parse import unquote_to_bytes, urljoin

import aiohttp
from aiohttp.abc import AbstractResolver
from aiohttp.helpers import get_env_proxy_for_url
from yarl import URL

from .errors import Gone, Permanent, Retry
from .origins import Origins, PublicResolver
from .staging import BLOCK, RESERVE, Fetched, Part, free_bytes, total_bytes

MAX_REDIRECTS = 3
MAX_BYTES = 512 * 1024**3  # of one file: no model is larger, and a lie about a length often is
MAX_DATA_BYTES = 256 * 1024**2  # of a data: URI, decoded
IDLE_SECONDS = 60.0  # without a single byte
CONNECT_SECONDS = 30.0
FLUSH_SECONDS = 1.0  # a slow download is written at least this often, so that progress shows

T = TypeVar("T")
Progress = Callable[[int, int | None], None]  # bytes so far, bytes in all if known
TokenSource = Callable[[], Awaitable[str | None]]


class Fetcher:
    """Fetches from allowed origins only. ``session`` is used only where an HTTP proxy of the environment applies."""

    def __init__(
        self,
        origins: Origins,
        session: aiohttp.ClientSession,
        token: TokenSource,
        pool: Executor,
        *,
        resolver: AbstractResolver | None = None,
        idle_seconds: float = IDLE_SECONDS,
    ) -> None:
        self._origins = origins
        self._proxied = session
        self._token = token
        self._pool = pool
        self._resolver = resolver
        self._timeout = aiohttp.ClientTimeout(total=None, sock_connect=CONNECT_SECONDS, sock_read=idle_seconds)

    async def __aenter__(self) -> Self:
        resolver = PublicResolver(self._origins, self._resolver or aiohttp.ThreadedResolver())
        self._direct = aiohttp.ClientSession(
            connector=aiohttp.TCPConnector(resolver=resolver, limit=0),
            cookie_jar=aiohttp.DummyCookieJar(),
            auto_decompress=False,
            trust_env=False,
            read_bufsize=BLOCK,
        )
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self._direct.close()

    async def in_thread(self, function: Callable[..., T], *args: object) -> T:
        return await asyncio.get_running_loop().run_in_executor(self._pool, function, *args)

    def check(self, url: str) -> None:
        """``Permanent`` where ``url`` is not to be fetched from."""
        if not is_data(url):
            self._origins.check(url)

    async def attempt(self, url: str, part: Part, progress: Progress) -> Fetched:
        """Fetch what is missing of ``url``. Raises ``Retry``, ``Gone`` or ``Permanent``; what has come is kept."""
        try:
            if is_data(url):
                await self.in_thread(_write_data, url, part)
            elif part.state.total is None or part.offset != part.state.total:
                await self._download(url, part, progress)
            fetched = await self.in_thread(part.finish)
        except aiohttp.InvalidURL as problem:
            raise Permanent(f"refused: {problem}") from None
        except TimeoutError:
            raise Retry(f"nothing came for {self._timeout.sock_read:g} s") from None
        except aiohttp.ClientError as problem:
            raise Retry(f"the connection failed: {str(problem) or type(problem).__name__}") from None
        except OSError as problem:
            full = problem.errno in {errno.ENOSPC, errno.EDQUOT}
            raise Retry(f"{'the disk is full' if full else 'an input/output error'}: {problem}") from None
        if fetched is None:
            raise Retry("the MD5 of what came is not the one that the server announced")
        progress(fetched.bytes, fetched.bytes)
        return fetched

    async def _download(self, url: str, part: Part, progress: Progress) -> None:
        if part.offset and part.state.validator is None:
            await self.in_thread(part.restart)  # nothing proves that the rest would belong to it
        headers = {"Accept": "*/*", "Accept-Encoding": "identity", "User-Agent": "tunerd"}
        if part.offset and part.state.validator:
            headers |= {"Range": f"bytes={part.offset}-", "If-Range": part.state.validator}
        async with self._open(url, headers) as response:
            await self._begin(response, part)
            await self._check_room(part)
            await self._pump(response, part, progress)
        if part.state.total not in {None, part.offset}:
            raise Retry(f"the connection ended after {part.offset} of {part.state.total} bytes")

    @asynccontextmanager
    async def _open(self, url: str, headers: Mapping[str, str]) -> AsyncIterator[aiohttp.ClientResponse]:
        """The answer to GET, redirects followed: each hop is checked anew, and only the API gets the token."""
        for _hop in range(MAX_REDIRECTS + 1):
            target = self._origins.check(url)
            token = await self._token() if target.is_api else None
            sent = dict(headers) | ({"Authorization": f"Bearer {token}"} if token else {})
            session = self._proxied if self._proxied.trust_env and _has_proxy(target.url) else self._direct
            async with session.get(target.url, headers=sent, allow_redirects=False, timeout=self._timeout) as response:
                if response.status not in {301, 302, 303, 307, 308}:
                    yield response
                    return
                location = response.headers.get("Location")
                if not location:
                    raise Permanent(f"answered {response.status} without saying where to")
                url = urljoin(url, location)
                response.close()  # its body is of no interest, however long it is
        raise Permanent(f"more than {MAX_REDIRECTS} redirects")

    async def _begin(self, response: aiohttp.ClientResponse, part: Part) -> None:
        """Judge status and headers; afterwards the body continues ``part`` at its offset."""
        if response.status == 416:
            await self.in_thread(part.restart)
        _check_status(response)
        encoding = response.headers.get("Content-Encoding", "identity").strip().lower()
        if encoding not in {"", "identity"}:
            raise Permanent(f"the server compressed the file ({encoding}) although it was asked not to")
        if response.status == 206 and not (part.offset and _continues(response, part)):
            await self.in_thread(part.restart)
            raise Retry("the server answered with another part than asked for; starting over")
        if response.status == 200:
            await self.in_thread(part.restart)
            part.state.total = response.content_length
            part.state.validator = _validator(response)
            part.state.md5 = _announced_md5(response)

    async def _check_room(self, part: Part) -> None:
        folder, total = part.path.parent, part.state.total
        if total is not None and (total > MAX_BYTES or total > await self.in_thread(total_bytes, folder)):
            raise Permanent(f"refused: the server announces {total} bytes, more than this disk could ever hold")
        missing = (total or 0) - part.offset
        free = await self.in_thread(free_bytes, folder)
        if missing > free - RESERVE:
            raise Retry(
                f"not enough disk space in {folder}: {missing} bytes are missing, {free} are free "
                f"(and {RESERVE} are kept in reserve)"
            )

    async def _pump(self, response: aiohttp.ClientResponse, part: Part, progress: Progress) -> None:
        """Body to disk; one block is hashed and written in a thread while the next one is read."""
        clock = asyncio.get_running_loop().time
        writing: asyncio.Future[None] | None = None
        block, flushed = bytearray(), clock()
        try:
            async for chunk in response.content.iter_chunked(BLOCK):
                block += chunk
                if len(block) < BLOCK and clock() - flushed < FLUSH_SECONDS:
                    continue
                if part.offset + len(block) > MAX_BYTES:
                    raise Permanent(f"refused: longer than {MAX_BYTES} bytes")
                if writing is not None:
                    await writing
                progress(part.offset, part.state.total)
                writing = asyncio.ensure_future(self.in_thread(part.write, block))
                block, flushed = bytearray(), clock()
        finally:  # also after a cut: what has come need not come again
            if writing is not None:
                await writing
            if block:
                await self.in_thread(part.write, block)


def _check_status(response: aiohttp.ClientResponse) -> None:
    status = response.status
    if status in {200, 206}:
        return
    if status in {401, 403, 404, 410}:
        raise Gone(f"the server answered {status} {response.reason or ''}".rstrip())
    if status >= 500 or status in {408, 416, 425, 429}:
        after = response.headers.get("Retry-After", "")
        raise Retry(f"the server answered {status}", after=float(after) if re.fullmatch("[0-9]{1,6}", after) else None)
    raise Permanent(f"the server answered {status}")


def _continues(response: aiohttp.ClientResponse, part: Part) -> bool:
    found = re.fullmatch(r"bytes ([0-9]+)-([0-9]+)/([0-9]+)", response.headers.get("Content-Range", "").strip())
    if found is None:
        return False
    first, last, total = map(int, found.groups())
    length = response.content_length
    return (
        first == part.offset
        and last == total - 1
        and part.state.total in {None, total}
        and length in {None, total - first}
        and response.headers.get(_validator_header(part.state.validator)) in {None, part.state.validator}
    )


def _validator_header(validator: str | None) -> str:
    return "ETag" if validator and validator.startswith('"') else "Last-Modified"


def _validator(response: aiohttp.ClientResponse) -> str | None:
    """What ``If-Range`` can prove the file by: a strong ETag, else the time of its last change."""
    etag = response.headers.get("ETag", "")
    return etag if re.fullmatch(r'"[^"]+"', etag) else response.headers.get("Last-Modified")


def _announced_md5(response: aiohttp.ClientResponse) -> str | None:
    """Google's ``x-goog-hash: crc32c=…,md5=…`` (one header or several) as hex. Composite objects have no MD5."""
    for entry in ",".join(response.headers.getall("x-goog-hash", [])).split(","):
        name, _, value = entry.strip().partition("=")
        if name == "md5":
            try:
                return base64.b64decode(value, validate=True).hex()
            except binascii.Error:
                return None
    return None


def _has_proxy(url: URL) -> bool:
    try:
        get_env_proxy_for_url(url)
    except LookupError:
        return False
    return True


def is_data(url: str) -> bool:
    return url[:5].lower() == "data:"


def _write_data(url: str, part: Part) -> None:
    part.restart()
    part.write(decode_data(url))


def decode_data(url: str) -> bytes:
    """The content of a ``data:`` URI; ``Permanent`` where it is none or too large."""
    head, comma, payload = url[5:].partition(",")
    if not comma or len(payload) > MAX_DATA_BYTES * 4 // 3 + 4:
        raise Permanent("refused: a data: URI without content, or one that is too large")
    raw = unquote_to_bytes(payload)
    if head.lower().endswith(";base64"):
        try:
            raw = base64.b64decode(raw + b"=" * (-len(raw) % 4), validate=True)
        except binascii.Error:
            raise Permanent("refused: a data: URI whose base64 is broken") from None
    return raw


def shortened(url: str) -> str:
    """``url`` as it is shown and kept: the content of a ``data:`` URI left out."""
    if not is_data(url):
        return url
    head, _, payload = url.partition(",")
    return f"{head[:100]},… ({len(payload)} characters)"
