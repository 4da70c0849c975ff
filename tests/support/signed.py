"""Signed webhook requests, and raw HTTP for what no client library would send."""

from __future__ import annotations

import asyncio
import contextlib
import json
import time
from collections.abc import AsyncIterator
from typing import Any

from daemon.core.signature import sign
from daemon.parsing import decode_webhook_secret

SECRET = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"
OTHER_SECRET = "whsec_C2FVsBQIhrscChlQIMV+b5sSYspob7oD"
PATH = "/api/webhooks/replicate"


def prediction(provider_id: str = "p1", **members: Any) -> bytes:
    return json.dumps({"id": provider_id, "status": "processing", **members}).encode()


def signed(
    body: bytes, webhook_id: str = "msg_1", *, secret: str = SECRET, at: float | None = None, **more: str
) -> dict[str, str]:
    """The headers of ``body``, signed now or at ``at``."""
    timestamp = str(int(time.time() if at is None else at))
    return {
        "Content-Type": "application/json",
        "webhook-id": webhook_id,
        "webhook-timestamp": timestamp,
        "webhook-signature": sign(decode_webhook_secret(secret), webhook_id, timestamp, body),
        **more,
    }


def request_bytes(body: bytes = b"", *, method: str = "POST", path: str = PATH, **headers: str) -> bytes:
    """One request; an underscore in a header's name is a hyphen, an empty value leaves the header out."""
    given = {name.replace("_", "-"): value for name, value in headers.items()}
    lines = {"Host": "127.0.0.1", "Content-Length": str(len(body)), **given}
    head = "".join(f"{name}: {value}\r\n" for name, value in lines.items() if value)
    return f"{method} {path} HTTP/1.1\r\n{head}\r\n".encode("utf-8", "surrogateescape") + body


def webhook(body: bytes, webhook_id: str = "msg_1", **more: str) -> bytes:
    """A whole request with ``body``, signed now."""
    head = {name.replace("-", "_"): value for name, value in signed(body, webhook_id).items()}
    return request_bytes(body, **head, **more)


class Raw:
    """One connection, byte by byte."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.reader = reader
        self.writer = writer

    @classmethod
    async def open(cls, url: str) -> Raw:
        host, port = url.removeprefix("http://").split(":")
        return cls(*await asyncio.open_connection(host, int(port)))

    async def send(self, data: bytes) -> None:
        self.writer.write(data)
        await self.writer.drain()

    async def answer(self) -> tuple[int, dict[str, str], Any]:
        """Status, headers in lower case, and the JSON body."""
        head = (await self.reader.readuntil(b"\r\n\r\n")).decode().split("\r\n")
        headers = dict(line.lower().split(": ", 1) for line in head[1:] if line)
        body = await self.reader.readexactly(int(headers["content-length"]))
        return int(head[0].split()[1]), headers, json.loads(body)

    async def closed_within(self, seconds: float) -> float:
        """The seconds until the server closed it."""
        began = time.monotonic()
        async with asyncio.timeout(seconds):
            try:
                while await self.reader.read(65536):
                    pass
            except ConnectionError:
                pass
        return time.monotonic() - began

    async def close(self) -> None:
        self.writer.close()
        with contextlib.suppress(ConnectionError):
            await self.writer.wait_closed()


@contextlib.asynccontextmanager
async def connected(url: str) -> AsyncIterator[Raw]:
    """A connection to ``url``, closed in the end."""
    raw = await Raw.open(url)
    try:
        yield raw
    finally:
        await raw.close()
