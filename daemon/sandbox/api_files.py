"""The Files API: upload, get, list, delete, download by signature."""

from __future__ import annotations

import hmac
from typing import Any
from urllib.parse import quote

import msgspec
from aiohttp import BodyPartReader, web

from . import answers
from .catalog import OWNER
from .paging import page
from .platform import Platform
from .records import stamp
from .uploads import Upload

_CHUNK_BYTES = 1 << 18
_NAME_BYTES = 255
_FIELD_BYTES = 1 << 20


class FilesApi:
    def __init__(self, platform: Platform) -> None:
        self._p = platform

    def routes(self) -> list[web.RouteDef]:
        return [
            web.post("/v1/files", self.create),
            web.get("/v1/files", self.listing),
            web.get("/v1/files/{id}", self.get),
            web.delete("/v1/files/{id}", self.delete),
            web.get("/v1/files/{id}/download", self.download),
        ]

    async def create(self, request: web.Request) -> web.Response:
        if not request.content_type.startswith("multipart/"):
            raise answers.Problem(400, detail="Missing content", status=400)
        data: bytearray | None = None
        name, content_type, fields = "file", "application/octet-stream", dict[str, bytes]()
        async for part in await request.multipart():
            if not isinstance(part, BodyPartReader):
                continue
            if part.name == "content":
                data = await self._read(part, self._p.faults.file_limit_bytes)
                name = part.filename or name
                content_type = part.headers.get("Content-Type", content_type)
            elif part.name in {"metadata", "type", "filename"}:
                fields[part.name] = bytes(await self._read(part, _FIELD_BYTES))
        if data is None:
            raise answers.Problem(400, detail="Missing content", status=400)
        name = fields.get("filename", name.encode()).decode()
        if len(name.encode()) > _NAME_BYTES:
            raise answers.Problem(400, detail="The filename is longer than 255 bytes", status=400)
        content_type = fields.get("type", content_type.encode()).decode()
        metadata = _metadata(fields.get("metadata", b"{}"))
        upload = await self._p.uploads.add(name=name, content_type=content_type, data=bytes(data), metadata=metadata)
        return self._p.answer(self._p.uploads.show(upload), created=True, status=201)

    async def _read(self, part: BodyPartReader, limit: int) -> bytearray:
        data = bytearray()
        while chunk := await part.read_chunk(_CHUNK_BYTES):
            data += chunk
            if len(data) > limit:
                raise answers.file_too_large()
        return data

    async def listing(self, request: web.Request) -> web.Response:
        result = page(
            self._p.uploads.living(),
            lambda upload: f"{stamp(upload.created_at, 6)} {upload.id}",
            size=self._p.faults.page_size,
            cursor=request.query.get("cursor"),
            url=f"{self._p.url}/v1/files",
        )
        return self._p.answer(result | {"results": [self._p.uploads.show(upload) for upload in result["results"]]})

    async def get(self, request: web.Request) -> web.Response:
        return self._p.answer(self._p.uploads.show(self._find(request)))

    async def delete(self, request: web.Request) -> web.Response:
        del self._p.uploads.files[self._find(request).id]
        return web.Response(status=204)

    async def download(self, request: web.Request) -> web.Response:
        """Admitted by its signature, not by a token."""
        owner, expiry, given = (request.query.get(key, "") for key in ("owner", "expiry", "signature"))
        wanted = self._p.uploads.signature(owner, request.match_info["id"], expiry)
        late = not expiry.isdecimal() or int(expiry) < self._p.clock()
        # A "+" of the base64 that was not escaped arrives as a blank.
        if owner != OWNER or late or not hmac.compare_digest(given.replace(" ", "+").encode(), wanted.encode()):
            raise answers.unauthenticated()
        upload = self._find(request)
        disposition = f"attachment; filename*=UTF-8''{quote(upload.name, safe='')}"
        headers = {"Content-Disposition": disposition, "Content-Type": upload.content_type}
        return web.Response(body=upload.data, headers=headers)

    def _find(self, request: web.Request) -> Upload:
        upload = self._p.uploads.get(request.match_info["id"])
        if upload is None:
            raise answers.file_not_found()
        return upload


def _metadata(raw: bytes) -> dict[str, Any]:
    try:
        return msgspec.json.decode(raw, type=dict[str, Any])
    except msgspec.MsgspecError:
        raise answers.Problem(400, detail="metadata must be a JSON object", status=400) from None
