"""The token bucket, and the log that nobody can fill."""

from __future__ import annotations

import ipaddress

import pytest
import structlog
from structlog.testing import capture_logs

from daemon.errors import IpNotAllowed, SignatureInvalid
from daemon.web.rate import BURST_SECONDS, RateLimit
from daemon.web.refusals import LINES_A_PERIOD, PERIOD_SECONDS, RefusalLog

ONE, TWO = ipaddress.ip_address("198.51.100.1"), ipaddress.ip_address("198.51.100.2")


def taken(limit: RateLimit, count: int, now: float, address: object = ONE) -> int:
    return sum(limit.excess(address, now) == 0 for _ in range(count))  # type: ignore[arg-type]


def test_a_burst_and_then_the_sustained_rate() -> None:
    limit = RateLimit(10)
    assert taken(limit, 100, 1000.0) == 10 * BURST_SECONDS
    assert taken(limit, 100, 1000.5) == 5
    assert taken(limit, 100, 1001.5) == 10
    assert taken(limit, 1000, 2000.0) == 10 * BURST_SECONDS


def test_it_says_when_to_come_again() -> None:
    limit = RateLimit(10)
    taken(limit, 100, 1000.0)
    wait = limit.excess(ONE, 1000.0)
    assert 0 < wait <= 0.1001
    assert limit.excess(ONE, 1000.0 + wait * 1.001) == 0


def test_asking_counts_nothing_and_what_is_given_back_is_free() -> None:
    limit = RateLimit(1)
    assert not any(limit.is_over(ONE, 1000.0) for _ in range(9))
    assert taken(limit, 9, 1000.0) == 2
    assert limit.is_over(ONE, 1000.0)
    limit.give_back(ONE)
    limit.give_back(TWO)  # who never came
    assert not limit.is_over(ONE, 1000.0)
    assert taken(limit, 9, 1000.0) == 1
    assert taken(limit, 9, 1000.0, TWO) == 2
    assert not RateLimit(0).is_over(ONE, 1000.0)
    RateLimit(0).give_back(ONE)


def test_each_client_has_its_own() -> None:
    limit = RateLimit(1)
    assert taken(limit, 9, 1000.0) == 2
    assert taken(limit, 9, 1000.0, TWO) == 2
    assert taken(limit, 9, 1000.0, None) == 2


def test_an_ipv6_customer_is_a_64() -> None:
    limit = RateLimit(1)
    assert taken(limit, 9, 1000.0, ipaddress.ip_address("2001:db8::1")) == 2
    assert taken(limit, 9, 1000.0, ipaddress.ip_address("2001:db8::ffff")) == 0
    assert taken(limit, 9, 1000.0, ipaddress.ip_address("2001:db8:0:1::1")) == 2


def test_zero_is_no_limit() -> None:
    assert taken(RateLimit(0), 10_000, 1000.0) == 10_000


def test_memory_is_bounded_and_the_busy_stay_remembered() -> None:
    limit = RateLimit(1, most_clients=100)
    assert taken(limit, 9, 1000.0) == 2
    for number in range(1000):
        assert limit.excess(ipaddress.IPv4Address(number), 1000.0) == 0
        if number % 50 == 0:
            taken(limit, 1, 1000.0)
    assert len(limit._full_at) == 100


@pytest.fixture(autouse=True)
def plain_structlog() -> None:
    structlog.reset_defaults()


def test_refusals_are_told_up_to_a_bound_for_each_code() -> None:
    now = 0.0
    refusals = RefusalLog(lambda: now)
    with capture_logs() as lines:
        for _ in range(LINES_A_PERIOD * 5):
            refusals.note(SignatureInvalid("no"), path="/x")
        refusals.note(IpNotAllowed("no"), path="/x")
    assert [line["code"] for line in lines] == ["signature_invalid"] * LINES_A_PERIOD + ["ip_not_allowed"]
    now = PERIOD_SECONDS
    with capture_logs() as lines:
        refusals.note(SignatureInvalid("no"), path="/x")
    assert lines[0]["not_logged_before"] == LINES_A_PERIOD * 4
    assert lines[0]["log_level"] == "warning"
