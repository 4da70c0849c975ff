"""Moments as text."""

from __future__ import annotations

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from daemon.core.times import rfc3339

NOW = 1_767_610_800.0  # 2026-01-05T11:00:00Z


@pytest.mark.parametrize(
    ("seconds", "text"),
    [
        (0.0, "1970-01-01T00:00:00.000Z"),
        (NOW + 0.1234, "2026-01-05T11:00:00.123Z"),
        (NOW + 0.9999, "2026-01-05T11:00:01.000Z"),
        (-62135596800.0, "0001-01-01T00:00:00.000Z"),
        (1e15, None),
        (float("inf"), None),
        (float("nan"), None),
        (None, None),
    ],
)
def test_times_are_rfc3339_with_milliseconds(seconds: float | None, text: str | None) -> None:
    assert rfc3339(seconds) == text


@pytest.mark.parametrize("seconds", [1e300, -1e300, math.inf, math.nan])
def test_what_no_calendar_holds_is_none(seconds: float) -> None:
    assert rfc3339(seconds) is None


@given(st.floats(min_value=0, max_value=4e9))
def test_a_moment_has_milliseconds_and_a_z(seconds: float) -> None:
    text = rfc3339(seconds)
    assert text is not None and len(text) == len("2026-01-05T10:00:00.000Z") and text.endswith("Z")
