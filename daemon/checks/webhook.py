"""The way of an event: the public URL, redirects, its certificate, a large body, and whether any arrive."""

from __future__ import annotations

import asyncio
import io
import secrets as randomness
import ssl
from datetime import UTC, datetime
from urllib.parse import urlsplit

import aiohttp
import msgspec

from ..connecting import explain_connection
from ..core.jobs import JobStatus
from ..errors import BodyTooLarge, IpNotAllowed, SignatureMissing, WebhookUrlInvalid
from ..parsing import WEBHOOK_PATH
from . import certificate
from .base import Named, Result, Surroundings

BODY_BYTES = 5 * 1024 * 1024  # of a final event with a long log; nginx's own limit is 1 MiB
_BODY_SECONDS = 20.0
_TLS_SECONDS = 8.0
EXPIRY_WARN_DAYS = 14.0
# A job that runs for so long without one event by webhook: they do not arrive. Seconds.
SILENT_SECONDS = 300.0

_BY_HAND = "Test by hand from outside: curl -X POST {url}" + WEBHOOK_PATH + " -d '{{}}' must say signature_missing."


async def webhook_url(here: Surroundings) -> Result:
    url = here.effective.webhook_url
    if url is None:
        return Result(
            "warn",
            "No webhook URL is set: jobs are followed by polling only, which is later by some seconds.",
            "Start a tunnel (tunerd tunnel ngrok, or cloudflared) or a proxy, and set TUNERD_WEBHOOK_URL (`https://…`).",
        )
    parts = urlsplit(url)
    if parts.scheme != "https":
        return Result("warn", f"{url}: plain http to this machine; Replicate cannot reach it.", "Set an https:// URL.")
    return Result("ok", url + WEBHOOK_PATH)


async def webhook_reached(here: Surroundings) -> Result:
    url = here.effective.webhook_url
    if url is None:
        return Result("unknown", "No webhook URL is set.")
    if not here.running:
        return Result("unknown", "The daemon does not run: nothing can answer there.")
    try:
        doubt = await here.preflight.check(url)
    except WebhookUrlInvalid as problem:
        return Result("fail", problem.detail, _BY_HAND.format(url=url))
    tried = here.preflight.last(url)
    if doubt is not None and tried is not None and tried.certain and tried.problem == doubt:  # of a loopback URL
        return Result("fail", f"{url} does not lead to this daemon: {doubt}", _BY_HAND.format(url=url))
    if doubt is not None:
        return Result("unknown", f"This machine cannot verify it: {doubt}", _BY_HAND.format(url=url))
    return Result("ok", "A signed probe sent to it arrived at this daemon, without a redirect.")


async def webhook_tls(here: Surroundings) -> Result:
    url = here.effective.webhook_url
    parts = urlsplit(url or "")
    if url is None or parts.scheme != "https" or not parts.hostname:
        return Result("unknown", "There is no https:// webhook URL.")
    try:
        async with asyncio.timeout(_TLS_SECONDS):
            expires = await certificate.expiry(url)
    except ssl.SSLCertVerificationError as problem:
        return Result(
            "fail",
            f"The certificate of {parts.hostname} is not trusted: {problem.verify_message}.",
            "Replicate takes no self-signed certificate and no incomplete chain: serve the full chain of a public "
            "authority (Caddy and certbot do), for this name.",
        )
    except certificate.ProxyRefused as problem:
        return Result("unknown", f"The proxy of the environment does not connect to {parts.hostname}: {problem}.")
    except (OSError, TimeoutError, ValueError) as problem:
        return Result("unknown", f"No TLS connection from here: {explain_connection(problem, _TLS_SECONDS)}.")
    days = (expires - here.now()) / 86_400.0
    until = datetime.fromtimestamp(expires, UTC).date().isoformat()
    if days < EXPIRY_WARN_DAYS:
        return Result("warn", f"The certificate ends on {until}.", "Renew it: certbot renew, or look why it was not.")
    return Result("ok", f"The chain is trusted; the certificate ends on {until}.")


async def webhook_body(here: Surroundings) -> Result:
    url = here.effective.webhook_url
    if url is None or not here.running:
        return Result("unknown", "There is nothing to send it to." if url is None else "The daemon does not run.")
    if here.settings.max_body_mib * 1024 * 1024 < BODY_BYTES:
        return Result(
            "warn",
            f"TUNERD_MAX_BODY_MIB is {here.settings.max_body_mib}: the final event of a long log is larger.",
            "Leave it at 32.",
        )
    try:
        status, said = await _send_large(here.session, url)
    except (aiohttp.ClientError, TimeoutError, OSError) as problem:
        return Result("unknown", f"5 MiB could not be sent from here: {explain_connection(problem, _BODY_SECONDS)}.")
    if said in {SignatureMissing.code, IpNotAllowed.code}:
        return Result("ok" if said == SignatureMissing.code else "unknown", f"Answered by this daemon: {said}.")
    if status == 413 and said != BodyTooLarge.code:
        return Result(
            "fail",
            "The proxy in front refuses a body of 5 MiB (413): the final events of long jobs get lost.",
            "Raise its limit above 32 MiB: nginx `client_max_body_size 33m;`, Caddy `request_body { max_size 33MiB }`; "
            "`tunerd deploy nginx|caddy` prints it.",
        )
    return Result("unknown", f"Answered with status {status}.")


async def _send_large(session: aiohttp.ClientSession, url: str) -> tuple[int, str | None]:
    """Unsigned, so that nothing is kept of it: refused only after it has arrived whole."""
    body = b'{"padding":"' + randomness.token_bytes(BODY_BYTES // 2).hex().encode() + b'"}'
    timeout = aiohttp.ClientTimeout(total=_BODY_SECONDS)
    async with session.post(
        url + WEBHOOK_PATH,
        data=io.BytesIO(body),  # a payload that aiohttp writes in pieces
        headers={"Content-Type": "application/json"},
        timeout=timeout,
        allow_redirects=False,
    ) as answer:
        content = await answer.content.read(64 * 1024)
        try:
            said = msgspec.json.decode(content)
        except (msgspec.MsgspecError, UnicodeDecodeError):
            said = None
        return answer.status, said.get("code") if isinstance(said, dict) else None


async def webhook_events(here: Surroundings) -> Result:
    """Running jobs of which every event was polled: webhooks are missing."""
    if here.effective.webhook_url is None:
        return Result("unknown", "No webhook URL is set.")
    last = await here.store.arrivals.last("webhook")
    running, _, _ = await here.store.jobs.list(status=JobStatus.RUNNING.value, limit=20)
    silent = [job for job in running if here.now() - (job.started_at or job.created_at) > SILENT_SECONDS]
    waiting = [job for job in silent if last is None or last < (job.started_at or job.created_at)]
    if waiting:
        return Result(
            "fail",
            f"{len(waiting)} running jobs got no event by webhook ({waiting[0].job_id} …): all of them were polled.",
            "Is the tunnel or proxy running, and does the webhook URL have https://? "
            + _BY_HAND.format(url=here.effective.webhook_url),
        )
    if last is None:
        return Result("unknown", "None has arrived yet.")
    when = datetime.fromtimestamp(last, UTC).isoformat(timespec="seconds")
    return Result("ok", f"The last one arrived at {when}.")


CHECKS = (
    Named("webhook_url", "Webhook URL", webhook_url),
    Named("webhook_reached", "Webhook URL leads here", webhook_reached),
    Named("webhook_tls", "Webhook certificate", webhook_tls),
    Named("webhook_body", "Large events pass the proxy", webhook_body),
    Named("webhook_events", "Events arrive", webhook_events),
)
