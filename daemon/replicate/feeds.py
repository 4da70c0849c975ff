"""Replicate's status page, read leniently: it may be down, move, or change, and nothing here depends on it.

Two formats are understood (both unauthenticated): incident.io's widget summary, ``/api/v1/summary``
(docs.incident.io/status-pages/widget-api), and Statuspage's ``/api/v2/summary.json`` or ``status.json``.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any

import aiohttp
import msgspec

from ..connecting import explain_connection
from ..core import lenient_json
from .reading import read_at_most

TIMEOUT_SECONDS = 2.5  # the API promises its answer within 3 s
CACHE_SECONDS = 60.0  # a status page changes by hand
MAX_BYTES = 1024 * 1024  # the real page has some kilobytes
_MAX_INCIDENTS = 50
_MAX_CHARS = 500  # of any one text shown


class Incident(msgspec.Struct, frozen=True):
    """One ongoing incident or maintenance. ``updated_at`` is the page's own text."""

    name: str
    status: str | None
    impact: str | None
    url: str | None
    message: str | None
    updated_at: str | None


class ProviderStatus(msgspec.Struct, frozen=True):
    """``operational`` is ``None`` where it is not known; ``error`` then says why."""

    operational: bool | None
    description: str | None
    incidents: list[Incident]
    error: str | None


class StatusFeed:
    """The status page at ``url``, asked at most once a minute. ``session`` is borrowed; ``clock`` is monotonic."""

    def __init__(self, session: aiohttp.ClientSession, url: str, clock: Callable[[], float]) -> None:
        self._session = session
        self.url = url
        self._clock = clock
        self._lock = asyncio.Lock()
        self._known: ProviderStatus | None = None
        self._known_at = 0.0
        self._asking: asyncio.Task[ProviderStatus] | None = None

    def known(self) -> ProviderStatus | None:
        """What is known without waiting, ``None`` at first; where it is old, the page is asked in the background."""
        old = self._known is None or self._clock() - self._known_at >= CACHE_SECONDS
        if old and (self._asking is None or self._asking.done()):
            self._asking = asyncio.create_task(self.status(), name="status page")
        return self._known

    async def status(self) -> ProviderStatus:
        """What the page says, or an answer with ``operational`` null. Never raises for the page's sake."""
        async with self._lock:  # one request serves all who ask at once
            if self._known is None or self._clock() - self._known_at >= CACHE_SECONDS:
                self._known = await self._fetch()
                self._known_at = self._clock()
            return self._known

    async def _fetch(self) -> ProviderStatus:
        try:
            async with (
                asyncio.timeout(TIMEOUT_SECONDS),
                self._session.get(self.url, headers={"Accept": "application/json"}, max_redirects=3) as answer,
            ):
                if answer.status != 200:
                    return _unknown(f"The status page answered {answer.status}.")
                body = await read_at_most(answer.content, MAX_BYTES)
        except TimeoutError:
            return _unknown("The status page did not answer in time.")
        except (aiohttp.ClientError, OSError, ValueError) as problem:
            return _unknown(f"The status page could not be read: {explain_connection(problem)}.")
        if body is None:
            return _unknown("The status page's answer is too long.")
        return parse_status(body) or _unknown("The status page answered in a format that is not known.")


def _unknown(error: str) -> ProviderStatus:
    return ProviderStatus(operational=None, description=None, incidents=[], error=error)


def parse_status(body: bytes) -> ProviderStatus | None:
    """Read either format; ``None`` for anything else. Total: any bytes give an answer."""
    page = lenient_json.object_(body)
    if isinstance(page.get("ongoing_incidents"), list):
        return _widget(page)
    if isinstance(page.get("status"), dict) and isinstance(page["status"].get("indicator"), str):
        return _statuspage(page)
    return None


def _widget(page: dict[str, Any]) -> ProviderStatus:
    incidents = _incidents(page["ongoing_incidents"])
    maintenances = _incidents(page.get("in_progress_maintenances"))
    current = incidents + maintenances
    if not current:
        return ProviderStatus(operational=True, description="All systems operational", incidents=[], error=None)
    return ProviderStatus(operational=False, description=current[0].name, incidents=current, error=None)


def _statuspage(page: dict[str, Any]) -> ProviderStatus:
    status = page["status"]
    return ProviderStatus(
        operational=status["indicator"] == "none",
        description=_text(status.get("description")),
        incidents=[one for one in _incidents(page.get("incidents")) if one.status not in {"resolved", "postmortem"}],
        error=None,
    )


def _incidents(entries: Any) -> list[Incident]:
    if not isinstance(entries, list):
        return []
    return [_incident(entry) for entry in entries[:_MAX_INCIDENTS] if isinstance(entry, dict)]


def _incident(entry: dict[str, Any]) -> Incident:
    updates = entry.get("incident_updates")
    update = updates[0] if isinstance(updates, list) and updates and isinstance(updates[0], dict) else {}
    return Incident(
        name=_text(entry.get("name")) or "(unnamed)",
        status=_text(entry.get("status")),
        impact=_text(entry.get("current_worst_impact")) or _text(entry.get("impact")),
        url=_web_link(entry.get("url")) or _web_link(entry.get("shortlink")),
        message=_text(entry.get("last_update_message")) or _text(update.get("body")),
        updated_at=_text(entry.get("last_update_at")) or _text(entry.get("updated_at")),
    )


def _text(value: Any) -> str | None:
    return value[:_MAX_CHARS] if isinstance(value, str) and value else None


def _web_link(value: Any) -> str | None:
    # It becomes a link on a page: only the web's own schemes.
    return value if isinstance(value, str) and value.startswith(("https://", "http://")) else None
