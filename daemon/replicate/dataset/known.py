"""Archives that Replicate has already, by content: an identical dataset is not sent again while its file lives."""

from __future__ import annotations

import asyncio
from typing import Any

import msgspec

from ...store.store import Store

_SETTING = "uploads"
_MOST = 100  # remembered files; newest kept
# Seconds that a file must still live: the trainer fetches it when the job starts, and jobs can queue for long.
MARGIN = 7200.0


class Upload(msgspec.Struct, frozen=True):
    """A file at Replicate. ``expires_at`` is unix seconds."""

    sha256: str
    id: str
    url: str
    expires_at: float


class KnownUploads:
    def __init__(self, store: Store) -> None:
        self._settings = store.settings
        self._changing = asyncio.Lock()

    async def find(self, sha256: str, now: float) -> Upload | None:
        """The file with that content, if it lives long enough."""
        return next((item for item in await self._living(now) if item.sha256 == sha256), None)

    async def remember(self, upload: Upload, now: float) -> None:
        await self._replace(upload.sha256, [upload], now)

    async def forget(self, sha256: str, now: float) -> None:
        await self._replace(sha256, [], now)

    async def _living(self, now: float) -> list[Upload]:
        stored: Any = await self._settings.get(_SETTING, [])
        try:
            known = msgspec.convert(stored, list[Upload])
        except msgspec.ValidationError:
            return []
        return [item for item in known if item.expires_at - now > MARGIN]

    async def _replace(self, sha256: str, by: list[Upload], now: float) -> None:
        async with self._changing:
            others = [item for item in await self._living(now) if item.sha256 != sha256]
            await self._settings.put({_SETTING: msgspec.to_builtins([*others, *by][-_MOST:])}, now=now)
