"""What a dry run tries besides the request itself: each thing that a submit asks, with its verdict. Nothing is sent."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Literal

import msgspec

from ..core.estimate import Estimate, Unknown
from ..core.periods import period_start
from ..core.spend import judge, limit_state
from ..errors import CostLimitExceeded, WebhookUrlInvalid
from ..store.effective import EffectiveSettings
from ..store.store import Store
from .outgoing import Outgoing, webhook_base
from .preflight import Preflight
from .pricing import cost_of
from .request import SubmitRequest
from .token import SET_ONE, TokenSource


class SubmitCheck(msgspec.Struct, frozen=True):
    """``status``: a submit that fails one is refused; one that warns goes through."""

    id: Literal["token", "destinations", "webhook_url", "estimate", "cost_limit"]
    status: Literal["ok", "warn", "fail"]
    detail: str


class Rehearsal:
    """``now`` gives unix seconds."""

    def __init__(
        self,
        store: Store,
        effective: EffectiveSettings,
        tokens: TokenSource,
        preflight: Preflight | None,
        *,
        now: Callable[[], float],
    ) -> None:
        self._store = store
        self._effective = effective
        self._tokens = tokens
        self._preflight = preflight
        self._now = now

    async def answer(self, outgoing: Outgoing, request: SubmitRequest, hardware: str) -> dict[str, Any]:
        """The dry run's answer: what would be sent, what its user is told, and the checks."""
        cost = await cost_of(self._store, outgoing, hardware, self._effective.prices)
        found = [
            await _token(self._tokens),
            await _destinations(self._store, request.destinations),
            await _webhook(self._preflight, webhook_base(outgoing.webhook)),
            _estimate(cost),
            await self._limit(cost),
        ]
        checks = [msgspec.to_builtins(check) for check in found]
        return {"dry_run": True, "request": outgoing.shown(), **outgoing.told(), "checks": checks}

    async def _limit(self, cost: Estimate | Unknown) -> SubmitCheck:
        """What the limit says as things stand."""
        limit, now = self._effective.cost_limit(), self._now()
        if not limit.enabled:
            return SubmitCheck("cost_limit", "ok", "No cost limit is set.")
        ledger = await self._store.spending.ledger(since=period_start(now, limit.period, limit.zone))
        state = limit_state(ledger, limit, now)
        try:
            warning = judge(state, cost, limit.zone)
        except CostLimitExceeded as refused:
            return SubmitCheck("cost_limit", "fail", refused.detail)
        if warning is not None:
            return SubmitCheck("cost_limit", "warn", warning)
        return SubmitCheck("cost_limit", "ok", f"${state.remaining:.2f} of ${state.amount:.2f} are left.")


async def _token(tokens: TokenSource) -> SubmitCheck:
    if await tokens.get() is None:
        return SubmitCheck("token", "fail", f"REPLICATE_API_TOKEN not set. {SET_ONE}")
    return SubmitCheck("token", "ok", "There is an API token.")


async def _destinations(store: Store, names: list[str] | None) -> SubmitCheck:
    there = [one for one in await store.settings.destinations() if names is None or one.name in names]
    if not there:
        return SubmitCheck("destinations", "warn", "No destination is configured: the result goes nowhere.")
    listed = ", ".join(one.name for one in there)
    if all(one.paused for one in there):
        return SubmitCheck(
            "destinations", "warn", f"Paused: {listed}. The result waits until one is resumed, and expires in an hour."
        )
    return SubmitCheck("destinations", "ok", f"Delivered to {listed}.")


async def _webhook(preflight: Preflight | None, base: str | None) -> SubmitCheck:
    if base is None:
        return SubmitCheck("webhook_url", "warn", "No webhook URL is set: the job is followed by polling.")
    try:
        doubt = "it is not tried here." if preflight is None else await preflight.check(base)
    except WebhookUrlInvalid as refused:
        return SubmitCheck("webhook_url", "fail", refused.detail)
    if doubt is not None:
        return SubmitCheck("webhook_url", "warn", f"The webhook URL {base} was not proven: {doubt}")
    return SubmitCheck("webhook_url", "ok", f"A signed probe through {base} came back.")


def _estimate(cost: Estimate | Unknown) -> SubmitCheck:
    if isinstance(cost, Unknown):
        return SubmitCheck("estimate", "warn", f"The cost is not known: {cost.reason}.")
    figures = f"${cost.expected_usd:.2f} (${cost.low_usd:.2f} to ${cost.high_usd:.2f})"
    return SubmitCheck("estimate", "ok", f"{figures}: {cost.basis}.")
