"""A server of output files that can be made to misbehave, and jobs that have just completed."""

from __future__ import annotations

import asyncio
import base64
import fcntl
import hashlib
import json
import struct
import termios
import time
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

from aiohttp import web
from awscrt.checksums import crc32c

from daemon.config import Settings, load_settings
from daemon.store.records import Delivery
from daemon.store.store import Store
from tests.support.events import append
from tests.support.serving import Handler, serving


class OutputServer:
    """Serves ``files`` with Range and If-Range; ``script[path]`` handlers answer first, each once."""

    def __init__(self) -> None:
        self.files: dict[str, bytes] = {}
        self.script: dict[str, list[Handler]] = {}
        self.requests: list[tuple[str, dict[str, str]]] = []
        self.url = ""

    async def handle(self, request: web.Request) -> web.StreamResponse:
        self.requests.append((request.path, dict(request.headers)))
        if self.script.get(request.path):
            return await self.script[request.path].pop(0)(request)
        if request.path not in self.files:
            raise web.HTTPNotFound
        return self.answer(request)

    def answer(self, request: web.Request) -> web.Response:
        content = self.files[request.path]
        headers = {"ETag": etag(content), "Accept-Ranges": "bytes", "x-goog-hash": goog_hash(content)}
        span = request.http_range
        if span.start is None or request.headers.get("If-Range") not in {None, etag(content)}:
            return web.Response(body=content, headers=headers)
        part = content[span]
        headers["Content-Range"] = f"bytes {span.start}-{span.start + len(part) - 1}/{len(content)}"
        return web.Response(status=206, body=part, headers=headers)

    def seen(self, path: str) -> list[dict[str, str]]:
        """The headers of each request for ``path``."""
        return [headers for requested, headers in self.requests if requested == path]


@asynccontextmanager
async def output_server() -> AsyncIterator[OutputServer]:
    server = OutputServer()
    async with serving(server.handle) as server.url:
        yield server


def etag(content: bytes) -> str:
    return f'"{hashlib.sha1(content).hexdigest()}"'


def goog_hash(content: bytes) -> str:
    crc = crc32c(content).to_bytes(4, "big")
    return f"crc32c={base64.b64encode(crc).decode()},md5={base64.b64encode(hashlib.md5(content).digest()).decode()}"


def sha256(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()


def cut_after(content: bytes, sent: int, **headers: str) -> Handler:
    """Announce all of ``content``, send ``sent`` bytes, then reset the connection."""

    async def handler(request: web.Request) -> web.StreamResponse:
        length = {"Content-Length": str(len(content)), "ETag": etag(content)}
        response = web.StreamResponse(headers=length | headers)
        await response.prepare(request)
        await response.write(content[:sent])
        assert request.transport is not None
        await arrived(request.transport)
        request.transport.abort()
        return response

    return handler


async def arrived(transport: asyncio.WriteTransport, *, seconds: float = 30) -> None:
    """Wait until the other end has received everything: a reset throws away what is still on its way."""
    connection = transport.get_extra_info("socket")
    async with asyncio.timeout(seconds):
        while True:
            waiting = struct.unpack("i", fcntl.ioctl(connection.fileno(), termios.TIOCOUTQ, b"\0" * 4))[0]
            if transport.get_write_buffer_size() == waiting == 0:
                return
            await asyncio.sleep(0.005)


def slow(content: bytes, step: int, pause: float) -> Handler:
    """Send ``content`` in pieces of ``step`` bytes with ``pause`` seconds between them."""

    async def handler(request: web.Request) -> web.StreamResponse:
        response = web.StreamResponse(headers={"Content-Length": str(len(content)), "ETag": etag(content)})
        await response.prepare(request)
        for start in range(0, len(content), step):
            await response.write(content[start : start + step])
            await asyncio.sleep(pause)
        return response

    return handler


def status(code: int, **headers: str) -> Handler:
    async def handler(_request: web.Request) -> web.StreamResponse:
        return web.Response(status=code, headers={key.replace("_", "-"): value for key, value in headers.items()})

    return handler


def settings_for(folder: Path, base_url: str, *origins: str, **flags: Any) -> Settings:
    return load_settings(
        {
            "data_dir": str(folder / "data"),
            "output_dir": str(folder / "outputs"),
            "replicate_base_url": base_url,
            "output_origins": list(origins),
            "reconcile_seconds": "0.2",
            **flags,
        },
        {"HOME": str(folder)},
        None,
    )


async def complete(store: Store, provider_id: str, output: Any, *, completed_at: float | None = None) -> str:
    """A job that succeeds with ``output``, as its final webhook tells it; our id for it."""
    when = time.time() if completed_at is None else completed_at
    body = json.dumps(
        {
            "id": provider_id,
            "status": "succeeded",
            "model": "acme/trainer",
            "version": "5c7d",
            "output": output,
            "completed_at": time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(when)),
            "urls": {"get": f"https://api.replicate.com/v1/predictions/{provider_id}"},
        }
    ).encode()
    appended = await append(store, f"msg_{provider_id}", body, received_at=time.time())
    assert appended.job_id is not None
    return appended.job_id


async def ended(store: Store, job_id: str, *, seconds: float = 30) -> list[Delivery]:
    """The job's deliveries once none is pending or running."""
    async with asyncio.timeout(seconds):
        while True:
            deliveries = await store.deliveries.of_job(job_id)
            if deliveries and all(row.status in {"delivered", "failed"} for row in deliveries):
                return deliveries
            await asyncio.sleep(0.05)


async def shows(store: Store, job_id: str, what: Callable[[Delivery], bool]) -> bool:
    """Whether ``what`` holds of the job's only delivery."""
    [row] = await store.deliveries.of_job(job_id)
    return what(row)


def manifest(folder: Path) -> dict[str, Any]:
    read: dict[str, Any] = json.loads((folder / "manifest.json").read_bytes())
    return read


def names(folder: Path) -> Sequence[str]:
    return sorted(path.name for path in folder.iterdir())
