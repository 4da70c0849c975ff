"""What happened is told in the transaction in which it happens: a row in the outbox for each endpoint that wants it.

These run in the writer's thread. Where nobody listens they cost one look at an empty table.
"""

from __future__ import annotations

import secrets
from collections.abc import Iterable, Sequence
from typing import Any

import msgspec
import sqlalchemy as sa

from ..core import notices
from ..core.jobs import JobStatus
from ..core.notices import DeliveryFacts, JobFacts, Notice
from ..core.spend import LimitState
from .database import AnyRow
from .schema import deliveries, jobs, notification_endpoints, notifications, settings
from .text import storable

LIMIT_TOLD = "cost_limit_told"  # the setting that remembers for which period and amount the limit was told of

_LISTENING = sa.select(notification_endpoints.c.name, notification_endpoints.c.events).where(
    notification_endpoints.c.enabled.is_(sa.true())
)
_JOB_FACTS = tuple(jobs.c[name] for name in JobFacts.__struct_fields__)
_JOBS = sa.select(*_JOB_FACTS).where(jobs.c.job_id.in_(sa.bindparam("ids", expanding=True))).order_by(jobs.c.job_id)
_DELIVERIES = (
    sa.select(
        *_JOB_FACTS,
        *(deliveries.c[name] for name in ("destination", "type", "url", "bytes_done", "bytes_total", "deadline")),
        deliveries.c.status.label("delivery_status"),
        deliveries.c.error.label("delivery_error"),
        deliveries.c.fetched_at,
    )
    .join(deliveries, deliveries.c.job_id == jobs.c.job_id)
    .where(
        sa.tuple_(deliveries.c.job_id, deliveries.c.destination).in_(sa.bindparam("keys", expanding=True)),
    )
    .order_by(deliveries.c.job_id, deliveries.c.destination)
)
_LIMIT_TOLD = sa.select(settings.c.value).where(settings.c.key == LIMIT_TOLD)

Key = tuple[str, str]  # of a delivery: job id, destination


def jobs_finished(connection: sa.Connection, job_ids: Sequence[str], now: float, *, found: Iterable[str] = ()) -> None:
    """Those jobs have just ended; those in ``found`` ended unheard, and reconciliation came upon it."""
    listening = _listening(connection) if job_ids else []
    if not listening:
        return
    found = set(found)
    for row in connection.execute(_JOBS, {"ids": list(job_ids)}):
        facts = _job(row)
        tell(connection, notices.job_finished(facts), now, listening)
        if facts.job_id in found:
            tell(connection, notices.reconcile_found(facts), now, listening)


def job_doubled(connection: sa.Connection, job_id: str, other: str, now: float, *, cancelled: bool, sure: bool) -> None:
    """Replicate has a second job, or one that looks like it."""
    for row in connection.execute(_JOBS, {"ids": [job_id]}):
        tell(connection, notices.job_doubled(_job(row), other, cancelled=cancelled, sure=sure), now)


def deliveries_ended(connection: sa.Connection, keys: Sequence[Key], now: float) -> None:
    """Those deliveries have just become delivered or failed."""
    for facts, listening in _deliveries(connection, keys):
        tell(connection, notices.delivery_ended(facts), now, listening)


def deliveries_expiring(connection: sa.Connection, keys: Sequence[Key], now: float) -> None:
    """The outputs of those deliveries are about to expire."""
    for facts, listening in _deliveries(connection, keys):
        tell(connection, notices.delivery_expiring(facts, now), now, listening)


def limit_reached(connection: sa.Connection, state: LimitState, now: float) -> bool:
    """The cost limit was reached. Told once for each period and amount; whether it is new."""
    mark = msgspec.json.encode([state.period, state.period_start, state.amount]).decode()
    if connection.execute(_LIMIT_TOLD).scalar() == mark:
        return False
    connection.execute(settings.delete().where(settings.c.key == LIMIT_TOLD))
    connection.execute(settings.insert(), {"key": LIMIT_TOLD, "value": mark, "updated_at": now})
    notice = notices.cost_limit_reached(
        period=state.period, amount=state.amount, spent=state.spent, reserved=state.reserved, action=state.action
    )
    tell(connection, notice, now)
    return True


def tell(
    connection: sa.Connection, notice: Notice, now: float, listening: Sequence[AnyRow] | None = None, *, to: str = ""
) -> str | None:
    """One message into the outbox, for each endpoint that wants it (for ``to`` alone, where that is given); its id."""
    rows = _listening(connection) if listening is None else listening
    names = [to] if to else [row.name for row in rows if _wants(row.events, notice.type)]
    if not names:
        return None
    message_id = f"msg_{secrets.token_hex(16)}"
    message: dict[str, Any] = {
        "message_id": message_id,
        "type": notice.type,
        "payload": storable(notice.payload(now)),
        "created_at": now,
        "attempts": 0,
        "next_at": now,
    }
    connection.execute(notifications.insert(), [{**message, "endpoint": name} for name in names])
    return message_id


def _listening(connection: sa.Connection) -> Sequence[AnyRow]:
    return connection.execute(_LISTENING).fetchall()


def _wants(events: str | None, kind: str) -> bool:
    return events is None or kind in msgspec.json.decode(events, type=list[str])


def _deliveries(connection: sa.Connection, keys: Sequence[Key]) -> list[tuple[DeliveryFacts, Sequence[AnyRow]]]:
    listening = _listening(connection) if keys else []
    if not listening:
        return []
    return [(_delivery(row), listening) for row in connection.execute(_DELIVERIES, {"keys": list(keys)})]


def _job(row: AnyRow) -> JobFacts:
    values = {name: getattr(row, name) for name in JobFacts.__struct_fields__}
    values["status"] = JobStatus(values["status"])
    return JobFacts(**values)


def _delivery(row: AnyRow) -> DeliveryFacts:
    return DeliveryFacts(
        job=_job(row),
        destination=row.destination,
        type=row.type,
        status=row.delivery_status,
        url=row.url,
        error=row.delivery_error,
        bytes_done=row.bytes_done,
        bytes_total=row.bytes_total,
        deadline=row.deadline,
        fetched=row.fetched_at is not None,
    )
