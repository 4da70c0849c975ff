"""When to come back, and what an error says: pure functions, any bytes."""

from __future__ import annotations

from email.utils import formatdate

import pytest
from hypothesis import given
from hypothesis import strategies as st

from daemon.replicate.retry import RetryPolicy, backoff, clock_ahead, provider_words, retry_after

NOW = 1_767_600_000.0
LOW_CREDIT = (
    b'{"detail":"Request was throttled. Your rate limit for creating predictions is reduced to 6 requests per minute '
    b'with a burst of 1 requests while you have less than $5.0 in credit. Your rate limit resets in ~5s.",'
    b'"status":429,"retry_after":7}'
)


@pytest.mark.parametrize(
    ("headers", "body", "seconds"),
    [
        ({}, LOW_CREDIT, 7.0),
        ({"Retry-After": "3"}, LOW_CREDIT, 7.0),
        ({"Retry-After": "3"}, b"", 3.0),
        ({"Retry-After": "1.5"}, b"{}", 1.5),
        ({"Retry-After": formatdate(NOW + 40, usegmt=True)}, b"", 40.0),
        ({"Retry-After": formatdate(NOW - 40, usegmt=True)}, b"", 0.0),
        ({"Retry-After": "2026-01-05T08:00:10Z"}, b"", 10.0),
        ({}, b'{"detail":"Request was throttled. Your rate limit resets in ~30s."}', 30.0),
        ({}, b"Your rate limit resets in ~2s.", 2.0),
        ({"Retry-After": "soon"}, b'{"detail":"resets in ~9s"}', 9.0),
        ({}, b'{"retry_after": true}', None),
        ({}, b'{"retry_after": -3}', 0.0),
        ({}, b'{"retry_after": 1e300}', None),
        ({"Retry-After": "nan"}, b"", None),
        ({}, b"<html>", None),
        ({}, b"", None),
    ],
)
def test_a_429_says_when_in_three_ways(headers: dict[str, str], body: bytes, seconds: float | None) -> None:
    found = retry_after(headers, body, NOW)
    assert found == (None if seconds is None else pytest.approx(seconds, abs=1))


@pytest.mark.parametrize(
    ("status", "body", "words"),
    [
        (401, b'{"title":"Unauthenticated","detail":"You did not pass a valid token","status":401}',
         "Unauthenticated: You did not pass a valid token"),
        (404, b'{"detail":"The specified training destination does not exist","status":404}',
         "The specified training destination does not exist"),
        (422, b'{"title":"Input validation failed","detail":"- input: prompt is required\\n","status":422}',
         "Input validation failed: - input: prompt is required"),
        (422, b'{"detail":[{"loc":["body"]}]}', '{"detail":[{"loc":["body"]}]}'),
        (502, b"<html><head><title>502 Bad Gateway</title></head><body>x</body></html>", "502 Bad Gateway"),
        (502, b"<html><body>x</body></html>", "Bad Gateway"),
        (503, b"", "Service Unavailable"),
        (599, b"", "HTTP status 599"),
        (400, b'"no"', "no"),
        (400, b"plain\r\nwords", "plain words"),
        (400, b'{"detail":"token r8_abcDEF123 is wrong"}', "token r8_\xe2\x80\xa6 is wrong".encode("latin-1").decode()),
    ],
)  # fmt: skip
def test_words_of_an_error(status: int, body: bytes, words: str) -> None:
    assert provider_words(status, body) == words


@given(st.integers(100, 999), st.binary(max_size=300))
def test_any_answer_gives_words(status: int, body: bytes) -> None:
    words = provider_words(status, body)
    assert isinstance(words, str)
    assert len(words) <= 600
    assert "\n" not in words


@given(st.binary(max_size=300), st.text(max_size=40))
def test_any_answer_gives_a_wait_or_none(body: bytes, header: str) -> None:
    wait = retry_after({"Retry-After": header}, body, NOW)
    assert wait is None or 0 <= wait <= 86_400


def test_backoff_doubles_and_is_bounded() -> None:
    policy = RetryPolicy(first=1.0, longest=8.0)
    assert [backoff(policy, attempt, 1.0) for attempt in (1, 2, 3, 4, 5, 60)] == [1, 2, 4, 8, 8, 8]
    assert backoff(policy, 3, 0.0) == 2.0


@pytest.mark.parametrize(
    ("date", "ahead"),
    [
        ("Tue, 14 Nov 2023 22:13:20 GMT", 0.0),
        ("Tue, 14 Nov 2023 21:13:20 GMT", 3600.0),
        ("Tue, 14 Nov 2023 23:13:20 GMT", 0.0),  # ours is behind
        ("Thu, 01 Jan 1970 00:00:00 GMT", 86_400.0),
        ("yesterday", 0.0),
        ("", 0.0),
        (None, 0.0),
    ],
)
def test_how_far_our_clock_is_ahead(date: str | None, ahead: float) -> None:
    assert clock_ahead({} if date is None else {"Date": date}, 1_700_000_000.0) == ahead


@pytest.mark.parametrize(("age", "ahead"), [("3590", 10.0), ("3600", 0.0), ("7200", 0.0), ("old", 0.0)])
def test_what_comes_out_of_a_cache_tells_its_age(age: str, ahead: float) -> None:
    headers = {"Date": "Tue, 14 Nov 2023 21:13:20 GMT", "Age": age}
    assert clock_ahead(headers, 1_700_000_000.0) == ahead
