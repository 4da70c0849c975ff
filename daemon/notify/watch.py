"""What becomes true by the passing of time, and therefore has no transaction of its own: it is looked for."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

import structlog

from ..config import Settings
from ..core.periods import period_start
from ..core.spend import is_reached, limit_state
from ..errors import NotReady
from ..store.effective import EffectiveSettings
from ..store.store import Store

log = structlog.get_logger()

LOOK_SECONDS = 20.0  # an alert is given minutes ahead; running jobs cost cents meanwhile


class Watch:
    """Of several daemons over one database each looks; the store lets one tell. ``clock`` gives unix seconds."""

    def __init__(
        self, store: Store, effective: EffectiveSettings, settings: Settings, *, clock: Callable[[], float]
    ) -> None:
        self._store = store
        self._effective = effective
        self._settings = settings
        self._clock = clock

    async def run(self) -> None:
        """Runs until cancelled."""
        while True:
            try:
                await self.look()
            except NotReady as problem:
                log.warning("alerts_wait", reason=problem.detail)
            await asyncio.sleep(min(LOOK_SECONDS, self._settings.reconcile_seconds))

    async def look(self) -> None:
        """Warn of outputs that expire, and of a cost limit that running jobs have reached."""
        now, minutes = self._clock(), self._settings.expiry_alert_minutes
        if minutes > 0:
            for delivery in await self._store.dead_letters.warn_expiring(before=now + 60 * minutes, now=now):
                log.warning(
                    "delivery_expiring",
                    job_id=delivery.job_id,
                    destination=delivery.destination,
                    seconds_left=None if delivery.deadline is None else round(delivery.deadline - now),
                    fetched=delivery.fetched_at is not None,
                    reason=delivery.error,
                )
        await self._look_at_money(now)

    async def _look_at_money(self, now: float) -> None:
        limit = self._effective.cost_limit()
        if not limit.enabled:
            return
        ledger = await self._store.spending.ledger(since=period_start(now, limit.period, limit.zone))
        state = limit_state(ledger, limit, now)
        if is_reached(state) and await self._store.notifications.limit_reached(state, now=now):
            log.warning("cost_limit_reached", period=state.period, amount=state.amount, spent=state.spent)
