"""One check's result, what checks look at, and running all of them."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from typing import Literal

import aiohttp
import msgspec
import structlog

from ..config import Settings
from ..connecting import FAULT
from ..core.options import Checked
from ..errors import TunerdError
from ..replicate.client import ReplicateClient
from ..replicate.feeds import StatusFeed
from ..replicate.ip_ranges import RangesFeed
from ..replicate.preflight import Preflight
from ..replicate.token import TokenSource
from ..replicate.webhook_secret import WebhookSecrets
from ..store.effective import EffectiveSettings
from ..store.records import DestinationConfig
from ..store.store import Store

log = structlog.get_logger()

Status = Literal["ok", "warn", "fail", "unknown"]
CHECK_SECONDS = 25.0  # for one check; they run side by side, and one asks a destination that may be far away


class Result(msgspec.Struct, frozen=True):
    """``detail`` says what is, ``fix`` what to do about it; no fix where all is well."""

    status: Status
    detail: str
    fix: str | None = None


class Check(msgspec.Struct, frozen=True):
    """One check with its result."""

    id: str
    title: str
    status: Status
    detail: str
    fix: str | None = None


class Health(msgspec.Struct, frozen=True):
    """``status`` is the worst of the checks' (unknown counts as ok: it may be out of reach from here)."""

    status: Literal["ok", "warn", "fail"]
    checked_at: float  # unix seconds
    checks: list[Check]


@dataclass(frozen=True)
class Surroundings:
    """What checks look at. ``running``: within the daemon; else this is a command beside a stopped one."""

    settings: Settings
    effective: EffectiveSettings
    store: Store
    client: ReplicateClient
    tokens: TokenSource
    webhook_secrets: WebhookSecrets
    session: aiohttp.ClientSession
    status_feed: StatusFeed
    preflight: Preflight
    check_destination: Callable[[DestinationConfig], Awaitable[Checked]]
    now: Callable[[], float]
    feed: RangesFeed | None = None
    rejections: Callable[[], list[tuple[str, int]]] = list  # address and requests, newest first
    listening: tuple[str, ...] = ()
    running: bool = True
    database_problem: str | None = None  # why ``store`` is an empty stand-in
    database_absent: bool = False  # there is none yet: ``store`` is a stand-in, too


Look = Callable[[Surroundings], Awaitable[Result]]


@dataclass(frozen=True)
class Named:
    """A check with the name that never changes and the title that people read."""

    id: str
    title: str
    look: Look


async def run_checks(checks: Sequence[Named], here: Surroundings) -> Health:
    """All at once; none of them can stop the others."""
    found = list(await asyncio.gather(*(_run(check, here) for check in checks)))
    states = {check.status for check in found}
    worst: Literal["ok", "warn", "fail"] = "fail" if "fail" in states else "warn" if "warn" in states else "ok"
    return Health(worst, here.now(), found)


async def _run(check: Named, here: Surroundings) -> Check:
    try:
        async with asyncio.timeout(CHECK_SECONDS):
            result = await check.look(here)
    except TimeoutError:
        result = Result("unknown", f"No answer within {CHECK_SECONDS:g} s.")
    except TunerdError as problem:
        result = Result("unknown", problem.detail)
    except Exception as problem:  # the others are worth showing all the same; the text might hold a secret
        log.warning("check failed", check=check.id, exc_info=problem)
        result = Result("unknown", f"The check itself failed: {FAULT}.")
    return Check(check.id, check.title, result.status, result.detail, result.fix)
