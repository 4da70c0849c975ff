"""What a person has to look at: each with the reason, what to do, and where."""

from __future__ import annotations

from typing import Literal

import msgspec
from aiohttp import web

from ... import keys
from ..alerts import expiring_alerts
from ..api.costs import CostLimit
from ..rejected import REJECTED
from .rendering import job_path

# A poll writes an event only where it learnt something that no webhook had brought. So much later, none will.
WEBHOOKS_LATE_SECONDS = 60
POLLED_LATELY_SECONDS = 24 * 3600
NAMED = 3  # addresses named in one line


class Notice(msgspec.Struct, frozen=True):
    """``link``: a page of ours where it is mended, with its words."""

    level: Literal["bad", "warn"]
    title: str
    detail: str
    link: str | None = None
    link_text: str = ""


async def notices(request: web.Request, limit: CostLimit, *, begun: bool) -> list[Notice]:
    """The most urgent first. What the guide says until jobs have ``begun`` is not said here as well."""
    found = [*await _token(request), *_webhook_url(request)] if begun else []
    found += [*await _expiring(request), *_limit(limit), *await _deliveries(request), *await _paused(request)]
    found += [*await _webhooks(request), *_rejected(request), *await _notifications(request)]
    return sorted(found, key=lambda notice: notice.level)  # "bad" before "warn"; else as found


async def _token(request: web.Request) -> list[Notice]:
    if await request.app[keys.TOKENS].get() is not None:
        return []
    detail = "Nothing can be submitted or checked until one is saved, or given as REPLICATE_API_TOKEN at the start."
    return [Notice("bad", "The API token is missing", detail, "/settings#token-title", "Enter it")]


def _limit(limit: CostLimit) -> list[Notice]:
    if not limit.enabled:
        return []
    if limit.unknown is not None:
        return [Notice("warn", "The spending limit cannot be judged", limit.unknown)]
    if not limit.exceeded:
        return []
    stops = "New jobs are refused" if limit.action == "block" else "New jobs are still taken, with a warning,"
    detail = f"{stops} until the period ends or the limit of ${limit.amount:,.2f} is raised."
    return [Notice("bad", "The spending limit is reached", detail, "/settings#limit-title", "The limit")]


async def _deliveries(request: web.Request) -> list[Notice]:
    count = await request.app[keys.STORE].job_searches.failed_deliveries()
    if not count:
        return []
    title = "A delivery failed" if count == 1 else f"Deliveries of {count} jobs failed"
    detail = "Replicate removes outputs about an hour after the end: see why, and deliver again."
    return [Notice("bad", title, detail, "/?delivery=failed", "Show them")]


async def _expiring(request: web.Request) -> list[Notice]:
    app = request.app
    alerts = await expiring_alerts(app[keys.STORE], app[keys.SETTINGS], app[keys.CLOCK]())
    if not alerts:
        return []
    worst, *others = alerts
    title = "An output is about to be lost" if not others else f"{len(alerts)} outputs are about to be lost"
    level: Literal["bad", "warn"] = "bad" if any(one.severity == "critical" for one in alerts) else "warn"
    return [Notice(level, title, worst.message, job_path(worst.job_id or ""), "The job")]


async def _notifications(request: web.Request) -> list[Notice]:
    found = []
    for one in await request.app[keys.STORE].notifications.endpoints():
        if one.disabled_reason is not None and not one.enabled:
            title, reason = f"Notifications to {one.name} were disabled", one.disabled_reason
        elif one.enabled and one.failing_since is not None:
            title, reason = f"Notifications to {one.name} do not arrive", one.last_error or ""
        else:
            continue
        found.append(Notice("warn", title, reason, "/settings/notifications", "Notifications"))
    return found


async def _paused(request: web.Request) -> list[Notice]:
    paused = [one.name for one in await request.app[keys.STORE].settings.destinations() if one.paused]
    if not paused:
        return []
    title = f"Paused: {', '.join(paused)}"
    detail = "What is to go there waits, and Replicate removes outputs about an hour after a job's end."
    return [Notice("warn", title, detail, "/publishing", "Publishing")]


def _webhook_url(request: web.Request) -> list[Notice]:
    if request.app[keys.EFFECTIVE].webhook_url is not None:
        return []
    detail = "Replicate cannot send events; jobs are followed by asking its API, a little later."
    return [Notice("warn", "No webhook URL is set", detail, "/settings#webhook-title", "Set it")]


async def _webhooks(request: web.Request) -> list[Notice]:
    url = request.app[keys.EFFECTIVE].webhook_url
    if url is None:
        return []
    arrivals, now = request.app[keys.STORE].arrivals, request.app[keys.CLOCK]()
    polled, came = await arrivals.last("poll"), await arrivals.last("webhook")
    tried = request.app[keys.PREFLIGHT].last(url)
    if tried is not None and tried.problem is not None and (came or 0.0) < tried.at:
        title = "The webhook URL does not lead here" if tried.certain else "The webhook URL could not be reached"
        detail = f"{url}, when it was last tried: {tried.problem} Without it jobs are followed by asking the API."
        return [Notice("bad" if tried.certain else "warn", title, detail, "/settings#webhook-title", "Test the URL")]
    if polled is None or now - polled > POLLED_LATELY_SECONDS or polled - (came or 0.0) < WEBHOOKS_LATE_SECONDS:
        return []
    detail = "The newest events were found by asking the API. Check that the tunnel or proxy runs and reaches tunerd."
    return [Notice("warn", "Webhooks do not arrive", detail, "/settings#webhook-title", "Test the URL")]


def _rejected(request: web.Request) -> list[Notice]:
    lately = request.app[REJECTED].lately(request.app[keys.CLOCK]())
    effective = request.app[keys.EFFECTIVE]
    if not lately or (effective.webhook_ip_mode == "off" and not effective.webhook_allowed_ips):
        return []
    count = sum(one.count for one in lately)
    named = ", ".join(one.address for one in lately[:NAMED]) + (" and others" if len(lately) > NAMED else "")
    requests = "1 request" if count == 1 else f"{count} requests"
    detail = "If they are Replicate's, add the addresses to the allowlist; else nothing needs to be done."
    verb = "would have rejected" if effective.webhook_ip_mode == "log-only" else "rejected"
    title = f"The allowlist {verb} {requests} from {named}"
    return [Notice("warn", title, detail, "/settings#allow-title", "Allowlist")]
