"""The deliveries that one run works for: updated together, each only while this run's generation is its current one."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from ..core.deliveries import DeliveryStatus
from ..store.records import Delivery
from ..store.store import Store
from .errors import Superseded

UNKNOWN_DEADLINE_SECONDS = 3600.0  # Replicate keeps an API output for an hour


class Rows:
    """Fenced writes. A row that a newer generation has taken is dropped; with the last one the run ends."""

    def __init__(
        self, store: Store, rows: list[Delivery], clock: Callable[[], float], held: Mapping[str, str] | None = None
    ) -> None:
        self._store = store
        self._clock = clock
        self._rows = {row.destination: row for row in rows}
        self._held = held or {}  # destination → why it stays pending although the run goes on
        self.pending = any(row.status == DeliveryStatus.PENDING for row in rows)
        self.attempts = max((row.attempts for row in rows), default=0)
        deadlines = [row.deadline for row in rows if row.deadline is not None]
        self.deadline = min(deadlines) if deadlines else clock() + UNKNOWN_DEADLINE_SECONDS  # unix seconds

    @property
    def destinations(self) -> list[str]:
        return list(self._rows)

    @property
    def types(self) -> list[str]:
        """The destination types of the rows, one for each."""
        return [row.type for row in self._rows.values()]

    async def update(self, **columns: Any) -> None:
        """Write ``columns`` to every row; the store wakes whoever watches. ``Superseded``: none is ours any more."""
        for name, row in list(self._rows.items()):
            held = {"status": DeliveryStatus.PENDING, "error": self._held[name]} if name in self._held else {}
            values = columns | held if columns.get("status") == DeliveryStatus.RUNNING else columns
            ours = await self._store.deliveries.update(
                row.job_id, name, generation=row.generation, now=self._clock(), **values
            )
            if not ours:
                del self._rows[name]
        if not self._rows:
            raise Superseded
        if "status" in columns:
            self.pending = columns["status"] == DeliveryStatus.PENDING or not self._held.keys().isdisjoint(self._rows)

    async def fail(self, reason: str) -> None:
        """The end. What had been delivered before is there still, as far as we know: that is told, too."""
        for name, row in list(self._rows.items()):
            before = row.delivered_before
            error = reason if before is None else f"{reason}. It had been delivered before: {before}"
            ours = await self._store.deliveries.update(
                row.job_id,
                name,
                generation=row.generation,
                now=self._clock(),
                status=DeliveryStatus.FAILED,
                error=error,
            )
            if not ours:
                del self._rows[name]
        if not self._rows:
            raise Superseded

    async def attempt(self, error: str | None) -> None:
        """One more attempt begins, or will after a pause because of ``error``."""
        self.attempts += 1
        await self.update(status=DeliveryStatus.RUNNING, attempts=self.attempts, error=error)
