"""The provider's account: token, the API behind it, the clock, the signing secret."""

from __future__ import annotations

from email.utils import parsedate_to_datetime
from typing import Any

import aiohttp

from ..errors import NotReady, ProviderUnavailable
from ..replicate.failures import explain
from ..replicate.token import COPY_ANEW, SET_ONE, validate, well_formed
from .base import Named, Result, Surroundings

_ASK_SECONDS = 10.0
# Replicate signs with its clock, we judge with ours: 300 s off, and every event is refused.
CLOCK_WARN_SECONDS, CLOCK_FAIL_SECONDS = 30.0, 240.0


async def token(here: Surroundings) -> Result:
    found = await here.tokens.get()
    if not found:
        return Result(
            "fail",
            "REPLICATE_API_TOKEN not set.",
            SET_ONE,
        )
    if not well_formed(found):
        what = "holds blanks or line ends" if found.startswith("r8_") else "does not begin with r8_"
        return Result("fail", f"The token {what}.", COPY_ANEW)
    hint = await here.tokens.hint()
    return Result("ok", f"Set ({await here.tokens.source()}), ends in {hint}." if hint else "Set.")


async def token_valid(here: Surroundings) -> Result:
    if not await here.tokens.get():
        return Result("unknown", "There is no token to try.")
    try:
        answer = await validate(here.tokens, here.client)
    except ProviderUnavailable as problem:
        return Result("unknown", f"Replicate could not be asked: {problem.detail}")
    if not answer["valid"]:
        return Result("fail", str(answer["error"]), str(answer["fix"]))
    return Result("ok", f"Replicate accepts it: account {answer['user_info'].get('username')}.")


async def api(here: Surroundings) -> Result:
    url = here.settings.replicate_base_url
    try:
        status, _ = await _ask(here, url)
    except (aiohttp.ClientError, TimeoutError, OSError) as problem:
        return Result(
            "fail",
            f"{url} cannot be reached: {_words(problem)}",
            "Check the network and the proxy: env | grep -i proxy; curl -v https://api.replicate.com/v1/account. "
            "Outgoing port 443 must be open to api.replicate.com, *.replicate.delivery and replicate.com.",
        )
    if status >= 500:
        return Result("warn", f"{url} answers with status {status}.", "Wait, and look at the provider's status page.")
    return Result("ok", f"{url} answers.")


async def clock(here: Surroundings) -> Result:
    before = here.now()
    try:
        _, headers = await _ask(here, here.settings.replicate_base_url)
        theirs = parsedate_to_datetime(headers.get("Date", "")).timestamp()
    except (aiohttp.ClientError, TimeoutError, OSError, ValueError, TypeError):
        return Result("unknown", "The API's time could not be read.")
    ours = (before + here.now()) / 2
    skew = ours - theirs - 0.5  # Date is cut to the second
    if abs(skew) < CLOCK_WARN_SECONDS:
        return Result("ok", f"Within {max(1, round(abs(skew)))} s of the API's clock.")
    detail = f"This machine's clock is {abs(skew):.0f} s {'ahead of' if skew > 0 else 'behind'} the API's."
    fix = "Set the clock and keep it set: timedatectl set-ntp true. More than 300 s off, every webhook is refused."
    return Result("fail" if abs(skew) >= CLOCK_FAIL_SECONDS else "warn", detail, fix)


async def signing_secret(here: Surroundings) -> Result:
    pinned = here.settings.pinned("webhook_secret")
    if not here.effective.webhook_require_signature:
        return Result(
            "warn",
            "Signatures are not required: anyone who reaches the endpoint can forge events.",
            "Set webhook_require_signature to true (TUNERD_WEBHOOK_REQUIRE_SIGNATURE).",
        )
    try:
        keys = await here.webhook_secrets.get()
    except NotReady as problem:
        return Result(
            "fail",
            f"{problem.detail} Until then events are answered 503.",
            "Set a valid REPLICATE_API_TOKEN, with which it is fetched, or set TUNERD_WEBHOOK_SECRET (`whsec_…`).",
        )
    return Result("ok", f"{len(keys)} known ({'from the ' + pinned if pinned else 'fetched from Replicate'}).")


async def status_page(here: Surroundings) -> Result:
    status = await here.status_feed.status()
    if status.operational is None:
        return Result("unknown", status.error or "The status page does not say.")
    if status.operational:
        return Result("ok", status.description or "All systems operational.")
    names = "; ".join(incident.name for incident in status.incidents[:3]) or status.description or "an incident"
    return Result("warn", f"Replicate reports: {names}", "Jobs may wait or fail meanwhile: www.replicatestatus.com.")


async def _ask(here: Surroundings, url: str) -> tuple[int, Any]:
    """A request without the token: who answers, and what time is it there?"""
    timeout = aiohttp.ClientTimeout(total=_ASK_SECONDS)
    async with here.session.head(f"{url}/v1/account", timeout=timeout, allow_redirects=False) as answer:
        return answer.status, answer.headers


def _words(problem: Exception) -> str:
    return "no answer in time." if isinstance(problem, TimeoutError) else explain(problem)


CHECKS = (
    Named("token", "API token", token),
    Named("token_valid", "API token is accepted", token_valid),
    Named("api", "Replicate's API is reached", api),
    Named("clock", "Clock", clock),
    Named("signing_secret", "Webhook signing secret", signing_secret),
    Named("status_page", "Replicate's status page", status_page),
)
