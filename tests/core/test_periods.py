"""Calendar periods in a zone: Mondays, months, days of 23 and 25 hours, midnights that never come."""

from __future__ import annotations

import time
from datetime import UTC, datetime, timedelta
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from daemon.core.periods import PERIODS, period_end, period_start

HOUR = 3600
BERLIN = ZoneInfo("Europe/Berlin")


def at(zone: ZoneInfo, *when: int) -> float:
    return datetime(*when, tzinfo=zone).timestamp()  # type: ignore[misc]


@pytest.mark.parametrize(("period", "month", "day"), [("daily", 1, 7), ("weekly", 1, 5), ("monthly", 1, 1)])
def test_when_a_period_began(period: str, month: int, day: int) -> None:
    wednesday = datetime(2026, 1, 7, 15, 30, tzinfo=UTC).timestamp()
    assert period_start(wednesday, period, UTC) == datetime(2026, month, day, tzinfo=UTC).timestamp()


def test_a_week_may_begin_in_the_year_before() -> None:
    new_year = datetime(2026, 1, 1, tzinfo=UTC).timestamp()
    assert period_start(new_year, "weekly", UTC) == datetime(2025, 12, 29, tzinfo=UTC).timestamp()
    assert period_end(new_year, "weekly", UTC) == datetime(2026, 1, 5, tzinfo=UTC).timestamp()


def test_a_day_is_the_zone_s() -> None:
    late = datetime(2026, 1, 31, 23, 30, tzinfo=UTC).timestamp()  # already February in Berlin
    assert period_start(late, "monthly", BERLIN) == at(BERLIN, 2026, 2, 1)
    assert period_start(late, "monthly", UTC) == datetime(2026, 1, 1, tzinfo=UTC).timestamp()


@pytest.mark.parametrize(("day", "hours"), [((2026, 3, 29), 23), ((2026, 10, 25), 25), ((2026, 3, 30), 24)])
def test_days_on_which_the_clock_is_changed(day: tuple[int, int, int], hours: int) -> None:
    start = at(BERLIN, *day)
    for moment in (start, start + 2.5 * HOUR, start + (hours - 1) * HOUR, start + hours * HOUR - 0.001):
        assert period_start(moment, "daily", BERLIN) == start
        assert period_end(moment, "daily", BERLIN) == start + hours * HOUR
    assert period_start(start + hours * HOUR, "daily", BERLIN) == start + hours * HOUR


def test_a_midnight_that_never_comes_is_the_jump() -> None:
    cairo = ZoneInfo("Africa/Cairo")  # 2024-04-26 began at 01:00
    morning = at(cairo, 2024, 4, 26, 9)
    start = period_start(morning, "daily", cairo)
    assert morning - start == 8 * HOUR
    assert period_end(start - 1, "daily", cairo) == start


def test_a_midnight_that_comes_twice_begins_the_day_the_first_time() -> None:
    havana = ZoneInfo("America/Havana")  # 2026-11-01: at 01:00 it is 00:00 again
    noon = at(havana, 2026, 11, 1, 12)
    assert noon - period_start(noon, "daily", havana) == 13 * HOUR
    second = datetime(2026, 11, 1, 0, 30, tzinfo=havana, fold=1).timestamp()
    assert period_start(second, "daily", havana) == period_start(noon, "daily", havana)


def test_without_a_zone_it_is_the_process_s(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TZ", "Asia/Kathmandu")
    time.tzset()
    try:
        now = datetime(2026, 5, 5, 20, tzinfo=UTC).timestamp()  # 01:45 on the 6th
        for period in PERIODS:
            assert period_start(now, period, None) == period_start(now, period, ZoneInfo("Asia/Kathmandu"))
            assert period_end(now, period, None) == period_end(now, period, ZoneInfo("Asia/Kathmandu"))
    finally:
        monkeypatch.undo()
        time.tzset()


@settings(deadline=None)  # the first use of a zone reads its file
@given(
    st.integers(631_152_000, 2_114_380_800),  # 1990 to 2037
    st.sampled_from(["Europe/Berlin", "America/Havana", "Africa/Cairo", "Pacific/Apia", "Asia/Kathmandu", "UTC"]),
    st.sampled_from(PERIODS),
)
def test_periods_follow_one_another_without_a_gap(now: int, name: str, period: str) -> None:
    zone = ZoneInfo(name)
    start, end = period_start(now, period, zone), period_end(now, period, zone)
    assert start <= now < end
    assert period_start(start, period, zone) == start
    assert period_start(end, period, zone) == end
    longest = {"daily": timedelta(hours=26), "weekly": timedelta(days=8), "monthly": timedelta(days=32)}[period]
    assert end - start <= longest.total_seconds()
