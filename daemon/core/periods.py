"""Calendar periods of a cost limit, as their user's clock on the wall counts them: days of 23 and 25 hours included."""

from __future__ import annotations

from datetime import datetime, timedelta, tzinfo

PERIODS = ("daily", "weekly", "monthly")  # shortest first


def period_start(now: float, period: str, zone: tzinfo | None) -> float:
    """When the ``daily``, ``weekly`` (from Monday) or ``monthly`` period of ``now`` began, in unix seconds.

    ``zone`` ``None`` is the process' own local time.
    """
    return _first_day(now, period, zone).timestamp()


def period_end(now: float, period: str, zone: tzinfo | None) -> float:
    """When the next period begins, in unix seconds."""
    first = _first_day(now, period, zone)
    if period == "monthly":
        return (first + timedelta(days=31)).replace(day=1).timestamp()
    # Adding days to a local time moves the calendar, not the clock: midnight stays midnight.
    return (first + timedelta(days=7 if period == "weekly" else 1)).timestamp()


def _first_day(now: float, period: str, zone: tzinfo | None) -> datetime:
    # fold=0: a midnight that comes twice begins the day the first time; one that never comes is the jump itself.
    day = datetime.fromtimestamp(now, zone).replace(hour=0, minute=0, second=0, microsecond=0, fold=0)
    if period == "weekly":
        return day - timedelta(days=day.weekday())
    return day.replace(day=1) if period == "monthly" else day
