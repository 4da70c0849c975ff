"""The Files API's store: what users upload as inputs. Held in memory: 100 MB a file at most, for a day."""

from __future__ import annotations

import asyncio
import base64
import hashlib
import hmac
import random
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from . import ids
from .faults import Faults
from .records import stamp


@dataclass(slots=True, kw_only=True)
class Upload:
    id: str
    name: str
    content_type: str
    data: bytes
    md5: str
    sha256: str
    metadata: dict[str, Any] = field(default_factory=dict)
    created_at: float
    expires_at: float


class Uploads:
    def __init__(self, *, url: str, faults: Faults, clock: Callable[[], float], rng: random.Random) -> None:
        self.files: dict[str, Upload] = {}
        self.signing_secret = ids.webhook_secret(rng).removeprefix("whsec_")
        self._url, self._faults, self._clock, self._rng = url, faults, clock, rng

    async def add(self, *, name: str, content_type: str, data: bytes, metadata: dict[str, Any]) -> Upload:
        now = self._clock()
        md5, sha256 = await asyncio.to_thread(_digests, data)
        upload = Upload(
            id=ids.file_id(self._rng),
            name=name,
            content_type=content_type,
            data=data,
            md5=md5,
            sha256=sha256,
            metadata=metadata,
            created_at=now,
            expires_at=now + self._faults.file_ttl,
        )
        self.files[upload.id] = upload
        return upload

    def get(self, upload_id: str) -> Upload | None:
        upload = self.files.get(upload_id)
        return upload if upload is not None and self._clock() < upload.expires_at else None

    def living(self) -> list[Upload]:
        """Newest first."""
        now = self._clock()
        return [upload for upload in reversed(self.files.values()) if now < upload.expires_at]

    def by_url(self, url: str) -> tuple[bool, Upload | None]:
        """Whether ``url`` is one of ours, and the upload while it lives."""
        prefix = f"{self._url}/v1/files/"
        return url.startswith(prefix), self.get(url.removeprefix(prefix).partition("/")[0].partition("?")[0])

    def signature(self, owner: str, upload_id: str, expiry: str) -> str:
        """What the download address carries as ``signature``."""
        signed = f"{owner} {upload_id} {expiry}".encode()
        return base64.b64encode(hmac.digest(self.signing_secret.encode(), signed, hashlib.sha256)).decode()

    def show(self, upload: Upload) -> dict[str, Any]:
        return {
            "id": upload.id,
            "name": upload.name,
            "content_type": upload.content_type,
            "size": len(upload.data),
            "etag": upload.md5,
            "checksums": {"sha256": upload.sha256, "md5": upload.md5},
            "metadata": upload.metadata,
            "created_at": stamp(upload.created_at, 3),
            "expires_at": stamp(upload.expires_at, 3),
            "urls": {"get": f"{self._url}/v1/files/{upload.id}"},
        }


def _digests(data: bytes) -> tuple[str, str]:
    return hashlib.md5(data, usedforsecurity=False).hexdigest(), hashlib.sha256(data).hexdigest()
