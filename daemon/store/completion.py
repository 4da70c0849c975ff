"""What completing a job sets off: one pending delivery for each destination, in the same transaction."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import msgspec
import sqlalchemy as sa

from ..core.apply import OUTPUT_LIFETIME
from ..core.deliveries import DeliveryStatus
from . import notices
from .records import DestinationConfig
from .schema import deliveries, settings

LOCAL = DestinationConfig("local", "local", {})  # exists from the start

_DESTINATIONS = sa.select(settings.c.value).where(settings.c.key == "destinations")


def configured_destinations(stored: str | None) -> list[DestinationConfig]:
    """The ``destinations`` setting's JSON as values; ``[local]`` where nothing is stored."""
    return [LOCAL] if stored is None else msgspec.json.decode(stored, type=list[DestinationConfig])


def insert_deliveries(
    connection: sa.Connection, job_id: str, chosen: str | None, completed_at: float | None, now: float
) -> None:
    """``chosen``: the job's ``destinations``, a JSON list of names; ``None`` is every configured one."""
    deadline = (now if completed_at is None else completed_at) + OUTPUT_LIFETIME
    rows = delivery_rows(connection, job_id, chosen_names(connection, chosen), deadline, now)
    if rows:
        insert_rows(connection, rows, now)


def insert_rows(connection: sa.Connection, rows: Sequence[dict[str, Any]], now: float) -> None:
    """Those of ``delivery_rows``. One that is born failed is told as any other that fails."""
    connection.execute(deliveries.insert(), rows)
    failed = [(row["job_id"], row["destination"]) for row in rows if row["status"] == "failed"]
    if failed:
        notices.deliveries_ended(connection, failed, now)


def configured_names(connection: sa.Connection) -> set[str]:
    """The names of all destinations there are."""
    return {entry.name for entry in configured_destinations(connection.execute(_DESTINATIONS).scalar())}


def chosen_names(connection: sa.Connection, chosen: str | None) -> list[str]:
    """The names of the destinations that a job goes to."""
    if chosen is not None:
        return msgspec.json.decode(chosen, type=list[str])
    return [entry.name for entry in configured_destinations(connection.execute(_DESTINATIONS).scalar())]


def delivery_rows(
    connection: sa.Connection, job_id: str, names: Sequence[str], deadline: float, now: float, generation: int = 0
) -> list[dict[str, Any]]:
    """Fresh rows. A destination that was removed since gets one, too: it says why nothing arrived there."""
    configured = {entry.name: entry for entry in configured_destinations(connection.execute(_DESTINATIONS).scalar())}
    rows = []
    for name in dict.fromkeys(names):
        known = configured.get(name)
        rows.append(
            {
                "job_id": job_id,
                "destination": name,
                "type": known.type if known else "unknown",
                "generation": generation,
                "status": (DeliveryStatus.PENDING if known else DeliveryStatus.FAILED).value,
                "url": None,
                "attempts": 0,
                "error": None if known else f"There is no destination {name!r}: it was removed or renamed.",
                "bytes_done": 0,
                "bytes_total": None,
                "deadline": deadline,
                "fetched_at": None,
                "expiring_at": None,
                "delivered_before": None,
                "updated_at": now,
            }
        )
    return rows
