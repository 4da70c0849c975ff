"""What needs somebody's attention now, read from the store: for the API, the page and the metrics alike."""

from __future__ import annotations

from enum import StrEnum
from typing import Literal

import msgspec

from ..config import Settings
from ..core.deliveries import DeliveryStatus
from ..core.periods import period_start
from ..core.spend import is_reached, limit_state
from ..core.times import rfc3339
from ..store.effective import EffectiveSettings
from ..store.records import Delivery
from ..store.store import Store

MOST = 100  # of one kind that are listed; all are counted


class AlertKind(StrEnum):
    DELIVERY_EXPIRING = "delivery_expiring"
    DELIVERY_FAILED = "delivery_failed"
    COST_LIMIT_REACHED = "cost_limit_reached"
    ENDPOINT_DISABLED = "endpoint_disabled"
    ENDPOINT_FAILING = "endpoint_failing"
    DESTINATION_PAUSED = "destination_paused"


class Alert(msgspec.Struct):
    """``message`` says what is and what to do. ``critical``: something is lost if nobody acts within the hour."""

    kind: AlertKind
    severity: Literal["critical", "warning", "info"]
    message: str
    since: str | None = None
    job_id: str | None = None
    destination: str | None = None
    deadline: str | None = None


class Alerts(msgspec.Struct):
    """The most urgent first; ``counts`` has every kind, also what is too many to list."""

    alerts: list[Alert]
    counts: dict[AlertKind, int]


async def current_alerts(store: Store, effective: EffectiveSettings, settings: Settings, now: float) -> Alerts:
    """Everything that needs attention at ``now``. Raises ``NotReady``."""
    found = Alerts([], dict.fromkeys(AlertKind, 0))
    _add(found, AlertKind.DELIVERY_EXPIRING, await expiring_alerts(store, settings, now))
    failed, total = await store.dead_letters.dead(limit=MOST)
    _add(found, AlertKind.DELIVERY_FAILED, [_failed(one) for one in failed], total)
    _add(found, AlertKind.COST_LIMIT_REACHED, await _money(store, effective, now))
    for endpoint in await store.notifications.endpoints():
        if endpoint.disabled_reason is not None and not endpoint.enabled:
            said = f"The notification endpoint {endpoint.name} was disabled: {endpoint.disabled_reason}. "
            said += f"Mend it, then: tunerd notifications enable {endpoint.name}"
            alert = Alert(AlertKind.ENDPOINT_DISABLED, "warning", said, rfc3339(endpoint.failing_since))
            _add(found, AlertKind.ENDPOINT_DISABLED, [alert])
        elif endpoint.enabled and endpoint.failing_since is not None:
            said = f"The notification endpoint {endpoint.name} takes nothing: {endpoint.last_error}. It is tried again."
            alert = Alert(AlertKind.ENDPOINT_FAILING, "info", said, rfc3339(endpoint.failing_since))
            _add(found, AlertKind.ENDPOINT_FAILING, [alert])
    counts = await store.dead_letters.counts()
    for destination in await store.settings.destinations():
        if destination.paused:
            waiting = counts.get(destination.name, {}).get(DeliveryStatus.PENDING, 0)
            said = f"The destination {destination.name} is paused; waiting there: {waiting}. "
            said += f"tunerd destinations resume {destination.name} lets it go on."
            alert = Alert(AlertKind.DESTINATION_PAUSED, "info", said, destination=destination.name)
            _add(found, AlertKind.DESTINATION_PAUSED, [alert])
    return found


async def expiring_alerts(store: Store, settings: Settings, now: float) -> list[Alert]:
    """Outputs that are about to be lost, the most urgent first."""
    minutes = settings.expiry_alert_minutes
    expiring = await store.dead_letters.expiring(before=now + 60 * minutes) if minutes > 0 else []
    return [_expiring(one, now) for one in expiring]


def _add(found: Alerts, kind: AlertKind, alerts: list[Alert], total: int | None = None) -> None:
    found.alerts += alerts[:MOST]
    found.counts[kind] += len(alerts) if total is None else total


def _expiring(delivery: Delivery, now: float) -> Alert:
    left = (delivery.deadline or now) - now
    when = f"expires in {left / 60:.0f} min" if left > 0 else "has expired"
    held = " Its files are held here." if delivery.fetched_at is not None else " What is not fetched by then is gone."
    reason = f" Now: {delivery.error}." if delivery.error else ""
    said = f"The output of job {delivery.job_id} has not reached {delivery.destination} and {when}.{held}{reason}"
    severity: Literal["critical", "warning"] = "critical" if delivery.fetched_at is None else "warning"
    return _of(delivery, AlertKind.DELIVERY_EXPIRING, severity, said, delivery.expiring_at)


def _failed(delivery: Delivery) -> Alert:
    said = (
        f"The delivery of job {delivery.job_id} to {delivery.destination} failed: {delivery.error}. "
        f"Try again: tunerd redeliver {delivery.job_id} --to {delivery.destination}"
    )
    return _of(delivery, AlertKind.DELIVERY_FAILED, "warning", said, delivery.updated_at)


def _of(
    delivery: Delivery, kind: AlertKind, severity: Literal["critical", "warning"], said: str, since: float | None
) -> Alert:
    return Alert(
        kind, severity, said, rfc3339(since), delivery.job_id, delivery.destination, rfc3339(delivery.deadline)
    )


async def _money(store: Store, effective: EffectiveSettings, now: float) -> list[Alert]:
    limit = effective.cost_limit()
    if not limit.enabled:
        return []
    state = limit_state(await store.spending.ledger(since=period_start(now, limit.period, limit.zone)), limit, now)
    if not is_reached(state):
        return []
    said = (
        f"The {state.period} cost limit of ${state.amount:.2f} is reached: ${state.spent:.2f} spent, "
        f"${state.reserved:.2f} reserved. Further jobs are {'refused' if state.action == 'block' else 'warned of'}."
    )
    return [Alert(AlertKind.COST_LIMIT_REACHED, "warning", said)]
