"""The delivery host: output files with validators, ranges, hashes and an end; and every way to break a download."""

from __future__ import annotations

import asyncio
import base64
import mimetypes
import random
import re
import socket
import struct
from collections.abc import Callable
from email.utils import formatdate, parsedate_to_datetime
from typing import Any
from urllib.parse import quote

import msgspec
from aiohttp import web

from . import ids
from .content import BLOCK_BYTES, Content
from .faults import Faults
from .records import Record

_MD5_LIMIT_BYTES = 64 << 20  # hashing more before the first byte would look like a hang; GCS has no md5 of such either
_CRC_LIMIT_BYTES = 1 << 20  # in plain Python, so small ones only
_RANGE = re.compile(r"bytes=(\d*)-(\d*)\s*$")
_GONE = (
    "<?xml version='1.0' encoding='UTF-8'?><Error><Code>NoSuchKey</Code>"
    "<Message>The specified key does not exist.</Message></Error>"
)


class OutputFile(msgspec.Struct, frozen=True):
    """One file of one prediction; ``made_at`` is unix seconds."""

    id: str
    name: str
    content: Any
    record: Record
    made_at: float
    hashes: dict[str, str] = {}


class Outputs:
    def __init__(self, *, url: str, faults: Faults, clock: Callable[[], float], rng: random.Random) -> None:
        self.files: dict[str, OutputFile] = {}
        self._url, self._faults, self._clock, self._rng = url, faults, clock, rng

    def add(self, record: Record, name: str, size: int) -> str:
        """Make a file for ``record`` and return its URL: the id leads to it, the name is only for show."""
        made = OutputFile(
            id=ids.delivery_id(self._rng),
            name=name,
            content=Content(record.behaviour.seed, name, size),
            record=record,
            made_at=self._clock(),
        )
        self.files[made.id] = made
        record.file_ids.append(made.id)
        base = self._faults.output_base_url or self._url
        return f"{base}/delivery/xezq/{made.id}/{quote(name, safe='')}"

    async def serve(self, request: web.Request) -> web.StreamResponse:
        file = self.files.get(request.match_info["file_id"])
        if self._faults.output_redirect is not None:
            return web.Response(status=302, headers={"Location": self._faults.output_redirect})
        if file is None or file.record.removed(self._clock(), self._faults.output_ttl):
            return web.Response(status=404, text=_GONE, content_type="application/xml")
        fault = self._fault(request)
        if fault in {"error", "forbidden"}:
            return web.Response(status=503 if fault == "error" else 403, text=_GONE, content_type="application/xml")
        headers = await self._headers(file)
        if fault == "wrong_md5":
            wrong = base64.b64encode(bytes(16)).decode()
            headers["x-goog-hash"] = f"md5={wrong}"
        size = file.content.size
        start, stop = 0, size
        wanted = None if self._faults.output_ignore_range else requested_range(request, headers, size)
        if wanted is not None:
            if wanted[0] >= wanted[1]:
                return web.Response(status=416, headers={"Content-Range": f"bytes */{size}"})
            start, stop = wanted
            headers["Content-Range"] = f"bytes {start}-{stop - 1}/{size}"
        response = web.StreamResponse(status=200 if wanted is None else 206, headers=headers)
        return await self._stream(request, response, file, start, stop, fault)

    def _fault(self, request: web.Request) -> str:
        if self._faults.output_fault == "none" or request.method == "HEAD":
            return "none"
        return self._faults.output_fault if self._faults.take("output_fault_next") else "none"

    async def _headers(self, file: OutputFile) -> dict[str, str]:
        content, size = file.content, file.content.size
        if not file.hashes:
            if size <= _CRC_LIMIT_BYTES:
                crc = content.crc32c().to_bytes(4, "big")
                file.hashes["crc32c"] = base64.b64encode(crc).decode()
            if size <= _MD5_LIMIT_BYTES:
                file.hashes["md5_hex"] = await asyncio.to_thread(content.digest, "md5")
        md5 = file.hashes.get("md5_hex")
        etag = f'"{md5 or file.id[:32]}"'
        if self._faults.output_changes:
            etag = f'"{self._rng.randbytes(16).hex()}"'
        hashes = [f"crc32c={file.hashes['crc32c']}"] if "crc32c" in file.hashes else []
        if md5 is not None and self._faults.output_md5:
            hashes.append("md5=" + base64.b64encode(bytes.fromhex(md5)).decode())
        headers = {
            "Content-Type": mimetypes.guess_type(file.name)[0] or "application/octet-stream",
            "Accept-Ranges": "bytes",
            "ETag": etag,
            "Last-Modified": formatdate(file.made_at, usegmt=True),
            "Cache-Control": "public,max-age=3600",
            "x-goog-generation": str(round(file.made_at * 1e6)),
            "Server": "UploadServer",
            "via": "1.1 google",
        }
        return headers | ({"x-goog-hash": ",".join(hashes)} if hashes else {})

    async def _stream(
        self, request: web.Request, response: web.StreamResponse, file: OutputFile, start: int, stop: int, fault: str
    ) -> web.StreamResponse:
        response.content_length = stop - start
        if fault == "short_length":  # the header and the bytes agree, but it is not the whole file
            stop = max(start, stop - 7)
            response.content_length = stop - start
        end = start + (stop - start) // 2 if fault in {"truncate", "reset", "hang"} else stop
        rate = self._faults.output_bytes_per_second
        piece_limit = min(BLOCK_BYTES // 4, max(1, rate // 20)) if rate else BLOCK_BYTES // 4
        await response.prepare(request)
        if request.method != "HEAD":
            for piece in file.content.chunks(start, end, limit=piece_limit):
                await response.write(piece)
                if rate:
                    await asyncio.sleep(len(piece) / rate)
        if fault == "hang":
            await asyncio.sleep(self._faults.hang_seconds)
        if end != stop:
            cut(request, reset=fault == "reset")
            return response
        await response.write_eof()
        return response


def requested_range(request: web.Request, headers: dict[str, str], size: int) -> tuple[int, int] | None:
    """``[start, stop)`` of a single range that ``If-Range`` allows; ``None`` for everything; empty where unfit."""
    found = _RANGE.match(request.headers.get("Range", ""))
    if found is None or not (found[1] or found[2]):
        return None
    condition = request.headers.get("If-Range")
    if condition is not None and not _same(condition, headers):
        return None
    if not found[1]:
        return max(0, size - int(found[2])), size
    return int(found[1]), min(size, int(found[2]) + 1) if found[2] else size


def _same(condition: str, headers: dict[str, str]) -> bool:
    if condition.startswith('"'):
        return condition == headers["ETag"]
    try:
        return parsedate_to_datetime(condition) == parsedate_to_datetime(headers["Last-Modified"])
    except ValueError:
        return False


def cut(request: web.Request, *, reset: bool) -> None:
    """Break the connection off: with RST, or as if all had been sent."""
    transport = request.transport
    if transport is None:
        return
    if reset:
        raw = transport.get_extra_info("socket")
        if raw is not None:
            raw.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        transport.abort()
    else:
        transport.close()
