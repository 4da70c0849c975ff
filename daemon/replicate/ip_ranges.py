"""The feed of cloud address ranges: fetched when it changed, validated, the last good copy kept on disk.

It fails safe both ways: a feed that is down, damaged, empty or suddenly quite another one leaves the last good list in
force, and never an empty one, which would let everybody in.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from pathlib import Path

import aiohttp
import msgspec
import structlog

from ..core.cloud_ranges import Ranges, Refused, is_older, large_change, parse_ranges
from ..files import write_durably
from .failures import explain
from .reading import read_at_most

log = structlog.get_logger()

MAX_BYTES = 5 * 1024 * 1024  # the real list has about 100 KB
TIMEOUT_SECONDS = 30.0
REFRESH_SECONDS = 6 * 3600.0  # the list changes about weekly
RETRY_SECONDS = 600.0
LOOK_SECONDS = 2.0  # how soon a mode or scope that was just set is acted upon


class Kept(msgspec.Struct, frozen=True):
    """What is on disk: the list's own text with where and when it came from. Times are unix seconds."""

    url: str
    fetched_at: float  # when this content came
    checked_at: float  # when the feed last said that it is still the newest
    etag: str | None
    modified: str | None  # Last-Modified
    body: str


class FeedState(msgspec.Struct, frozen=True):
    """What is in force, and how the last attempt ended. ``alarm``: a list that waits for somebody to accept it."""

    ranges: Ranges | None = None
    fetched_at: float | None = None
    checked_at: float | None = None
    error: str | None = None
    alarm: str | None = None
    scopes: tuple[str, ...] = ()


class RangesFeed:
    """``wanted()`` gives the scopes to read, empty: none. ``session`` is borrowed. ``now`` gives unix seconds."""

    def __init__(
        self,
        session: aiohttp.ClientSession,
        url: str,
        path: Path,
        wanted: Callable[[], Sequence[str]],
        *,
        now: Callable[[], float],
    ) -> None:
        self._session = session
        self.url = url
        self._path = path
        self._wanted = wanted
        self._now = now
        self._kept: Kept | None = None
        self._loaded = False
        self._lock = asyncio.Lock()
        self.state = FeedState()

    async def run(self) -> None:
        """Keep it fresh for as long as it is wanted. Never ends."""
        due = 0.0
        while True:
            scopes = tuple(self._wanted())
            if scopes and (scopes != self.state.scopes or self._now() >= due or self._now() < due - REFRESH_SECONDS):
                state = await self.refresh()
                due = self._now() + (REFRESH_SECONDS if state.error is None else RETRY_SECONDS)
            await asyncio.sleep(LOOK_SECONDS)

    async def refresh(self, *, accept: bool = False) -> FeedState:
        """Ask the feed now; what is in force afterwards. ``accept``: take a list that is quite another one, too."""
        async with self._lock:
            scopes = tuple(self._wanted()) or self.state.scopes
            await self._load(scopes)
            found = await self._fetch()
            if isinstance(found, Refused):
                log.warning("ip ranges: the feed could not be read; the last good list stays", reason=found.reason)
                self.state = msgspec.structs.replace(self.state, error=found.reason)
                return self.state
            await self._take(found, scopes, accept=accept)
            return self.state

    async def _load(self, scopes: tuple[str, ...]) -> None:
        """The copy on disk, which a start without network has to do with."""
        if not self._loaded:
            self._kept = await asyncio.to_thread(_read, self._path)
            self._loaded = True
        if scopes != self.state.scopes:
            self.state = FeedState(scopes=scopes)
            kept = self._kept
            ranges = parse_ranges(kept.body.encode(), scopes) if kept is not None and scopes else None
            if kept is not None and isinstance(ranges, Ranges):
                self.state = FeedState(ranges, kept.fetched_at, kept.checked_at, scopes=scopes)

    async def _fetch(self) -> Kept | Refused:
        kept = self._kept if self._kept is not None and self._kept.url == self.url else None
        headers = {"Accept": "application/json"}
        if kept is not None and self.state.ranges is not None and self.state.alarm is None:
            headers |= {"If-None-Match": kept.etag} if kept.etag else {}
            headers |= {"If-Modified-Since": kept.modified} if kept.modified else {}
        now = self._now()
        try:
            async with (
                asyncio.timeout(TIMEOUT_SECONDS),
                self._session.get(self.url, headers=headers, max_redirects=3) as answer,
            ):
                if answer.status == 304 and kept is not None:
                    return msgspec.structs.replace(kept, checked_at=now)
                if answer.status != 200:
                    return Refused(f"the feed answered {answer.status}")
                body = await read_at_most(answer.content, MAX_BYTES)
                etag, modified = answer.headers.get("ETag"), answer.headers.get("Last-Modified")
        except (aiohttp.ClientError, TimeoutError, OSError, ValueError) as problem:
            return Refused(f"{self.url}: {explain(problem)}")
        if body is None:
            return Refused(f"the list is longer than {MAX_BYTES // (1024 * 1024)} MiB")
        try:
            return Kept(self.url, now, now, etag, modified, body.decode())
        except UnicodeDecodeError:
            return Refused("the list is not UTF-8")

    async def _take(self, found: Kept, scopes: tuple[str, ...], *, accept: bool) -> None:
        ranges = parse_ranges(found.body.encode(), scopes)
        known = self.state.ranges
        if isinstance(ranges, Refused):
            log.warning("ip ranges: the list is not valid; the last good one stays", reason=ranges.reason)
            self.state = msgspec.structs.replace(self.state, error=f"the list is not valid: {ranges.reason}")
            return
        if known is not None and is_older(known, ranges):
            self.state = msgspec.structs.replace(self.state, error="the feed gave an older list than the one in force")
            return
        change = None if known is None else large_change(known, ranges)
        if change is not None and not accept:
            log.error("ip ranges: a large change; the last good list stays until somebody accepts it", change=change)
            alarm = f"{change}; `tunerd allowlist refresh --accept` puts it in force"
            self.state = msgspec.structs.replace(self.state, error=None, alarm=alarm)
            return
        try:
            await asyncio.to_thread(write_durably, self._path, msgspec.json.encode(found))
        except OSError as problem:  # in force all the same; the next start asks the feed again
            log.warning("ip ranges: no copy could be kept", reason=problem.strerror, path=str(self._path))
        if known is not None and known.networks != ranges.networks:
            log.info("ip ranges: changed", before=len(known.networks), after=len(ranges.networks))
        self._kept = found
        self.state = FeedState(ranges, found.fetched_at, found.checked_at, scopes=scopes)


def _read(path: Path) -> Kept | None:
    try:
        return msgspec.json.decode(path.read_bytes(), type=Kept)
    except (OSError, msgspec.MsgspecError, UnicodeDecodeError):
        return None  # none yet, or damaged: the feed is asked
