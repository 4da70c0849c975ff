"""When a message is sent again, and what an answer means."""

from __future__ import annotations

import pytest

from daemon.notify.schedule import RETRIES, judge, pause


def test_the_pauses_grow_and_end_after_about_a_day() -> None:
    pauses = [pause(attempts, 0.5) for attempts in range(1, RETRIES + 2)]
    assert pauses[:4] == [5, 15, 45, 135] and pauses[-1] is None
    whole = sum(one for one in pauses if one is not None)
    assert 22 * 3600 < whole < 26 * 3600


def test_jitter_spreads_and_a_receiver_may_ask_for_more() -> None:
    assert pause(1, 0.0) == pytest.approx(4.5) and pause(1, 1.0) == pytest.approx(5.5)
    assert pause(1, 0.5, 60.0) == 60 and pause(1, 0.5, 1e9) == 36_000 and pause(4, 0.5, 1.0) == 135


@pytest.mark.parametrize(
    ("status", "error", "after", "gone"),
    [
        (200, None, None, False),
        (204, None, None, False),
        (302, "redirects are not followed", None, False),
        (400, "HTTP 400", None, False),
        (410, "HTTP 410", None, True),
        (429, "HTTP 429", 7.0, False),
        (500, "HTTP 500", None, False),
        (503, "HTTP 503", 7.0, False),
    ],
)
def test_what_an_answer_means(status: int, error: str | None, after: float | None, gone: bool) -> None:
    outcome = judge(status, {"Retry-After": "7"})
    assert (outcome.after, outcome.gone) == (after, gone)
    assert (outcome.error is None) if error is None else (error in str(outcome.error))
    assert judge(429, {"Retry-After": "Wed, 21 Oct 2026 07:28:00 GMT"}).after is None
