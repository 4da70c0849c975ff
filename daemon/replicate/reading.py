"""Bodies of answers, as long as they are expected to be."""

from __future__ import annotations

import aiohttp


async def read_at_most(content: aiohttp.StreamReader, most: int) -> bytes | None:
    """The body, or ``None`` where it is longer than ``most`` bytes; the rest is not read then."""
    chunks: list[bytes] = []
    size = 0
    async for chunk in content.iter_any():
        size += len(chunk)
        if size > most:
            return None
        chunks.append(chunk)
    return b"".join(chunks)
