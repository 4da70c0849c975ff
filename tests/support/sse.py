"""A strict reader of server-sent events."""

from __future__ import annotations

import asyncio
import json
from typing import Any, NamedTuple

import aiohttp

from tests.support.webapp import Served

PATIENCE = 30  # seconds; a stream that is right answers in milliseconds


class Frame(NamedTuple):
    id: str | None
    event: str
    data: Any


class Reader:
    """A strict reader: a line that is no field fails. ``id`` is what a reconnect would send."""

    def __init__(self, answer: aiohttp.ClientResponse) -> None:
        self._lines = answer.content
        self.id: str | None = None
        self.comments: list[str] = []

    async def next(self) -> Frame | None:
        """The next event; ``None`` at the end of the stream."""
        fields: dict[str, str] = {}
        while True:
            line = (await asyncio.wait_for(self._lines.readline(), PATIENCE)).decode()
            if not line:
                return None
            assert line.endswith("\n")
            if line == "\n":
                if "data" in fields:
                    return Frame(self.id, fields.get("event", "message"), json.loads(fields["data"]))
                fields = {}
                continue
            name, colon, value = line[:-1].partition(": ")
            assert colon, line
            if name == "":
                self.comments.append(value)
                continue
            assert name in {"id", "event", "data"}
            assert name not in fields
            fields[name] = value
            self.id = value if name == "id" else self.id

    async def take(self, count: int) -> list[Frame]:
        found = [await self.next() for _ in range(count)]
        assert None not in found
        return [one for one in found if one is not None]

    async def opened(self) -> None:
        """Return once the server follows the journal: with its first comment."""
        while not self.comments:
            line = (await asyncio.wait_for(self._lines.readline(), PATIENCE)).decode()
            if line.startswith(": "):
                self.comments.append(line)
            if line.startswith("id: "):
                self.id = line[4:-1]


def open_stream(served: Served, path: str, **headers: str) -> Any:
    return served.session.get(served.url + path, headers=headers, timeout=aiohttp.ClientTimeout(total=60))
