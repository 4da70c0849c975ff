"""The IP rule: its mode, the feed behind it, and whom it lately turned away."""

from __future__ import annotations

from .base import Named, Result, Surroundings

STALE_SECONDS = 7 * 86_400.0  # the feed is asked every six hours; the list itself changes about weekly


async def allowlist(here: Surroundings) -> Result:
    mode, listed = here.effective.webhook_ip_mode, here.effective.webhook_allowed_ips
    if mode == "off":
        if not listed:
            return Result("ok", "No IP rule: the signature alone decides.")
        return await _turned_away(here, f"{len(listed)} addresses and networks are listed.")
    if here.feed is None:
        return Result("unknown", f"Mode {mode}; the daemon does not run, its ranges are not known here.")
    state = here.feed.state
    if state.ranges is None:
        return Result(
            "fail" if mode == "enforce" else "warn",
            f"Mode {mode}, but no ranges are known yet: {state.error or 'the feed was not asked so far'}.",
            "Until then events are answered 503 where the mode is enforce. Open the way to TUNERD_IP_RANGES_URL, then "
            "`tunerd allowlist refresh`, or set TUNERD_WEBHOOK_IP_MODE=log-only.",
        )
    if state.alarm:
        return Result("warn", f"The feed changed a lot: {state.alarm}.", "Look at it: tunerd allowlist show.")
    age = here.now() - (state.checked_at or 0.0)
    if age > STALE_SECONDS:
        return Result(
            "warn",
            f"The ranges are {age / 86_400:.0f} days old: {state.error}",
            "Open the way to TUNERD_IP_RANGES_URL; tunerd allowlist refresh.",
        )
    return await _turned_away(here, f"Mode {mode}: {len(state.ranges.networks)} ranges, {len(listed)} listed.")


async def _turned_away(here: Surroundings, detail: str) -> Result:
    lately = here.rejections()
    if not lately:
        return Result("ok", detail)
    address, count = lately[0]
    return Result(
        "warn",
        f"{detail} In the last day requests from {len(lately)} other addresses came, lately {count} from {address}.",
        f"If it is Replicate's, add it to webhook_allowed_ips; tunerd allowlist explain {address} says why it is out.",
    )


CHECKS = (Named("allowlist", "Allowlist", allowlist),)
