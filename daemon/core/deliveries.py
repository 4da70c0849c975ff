"""How far a delivery is."""

from __future__ import annotations

from enum import StrEnum


class DeliveryStatus(StrEnum):
    """Of one job to one destination. Delivering again begins another generation with ``PENDING``."""

    PENDING = "pending"  # it waits: for its turn, or while its destination is paused
    RUNNING = "running"
    DELIVERED = "delivered"
    FAILED = "failed"


GOING_ON = (DeliveryStatus.PENDING.value, DeliveryStatus.RUNNING.value)  # plain texts, as the store takes them
OVER = (DeliveryStatus.DELIVERED.value, DeliveryStatus.FAILED.value)
