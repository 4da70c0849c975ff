"""While Replicate answers nobody, calls are spared the wait; a refusal is an answer."""

from __future__ import annotations

import aiohttp
import pytest

from daemon.errors import ProviderError, ProviderUnavailable
from daemon.replicate.breaker import FAILURES, FIRST_PAUSE, LONGEST_PAUSE, Breaker
from daemon.replicate.client import ReplicateClient
from daemon.replicate.retry import NO_RETRY
from daemon.replicate.transport import NotSent

from .conftest import Clock, Counterpart


def test_it_opens_after_failures_in_a_row_and_closes_with_an_answer() -> None:
    now = [1000.0]
    breaker = Breaker(lambda: now[0])
    for _ in range(FAILURES - 1):
        assert breaker.wait() == 0.0
        assert not breaker.failed()
    breaker.answered()
    for number in range(FAILURES):
        assert breaker.wait() == 0.0
        assert breaker.failed() is (number == FAILURES - 1)
    assert breaker.wait() == FIRST_PAUSE
    now[0] += FIRST_PAUSE
    assert breaker.wait() == 0.0  # the one on trial
    assert breaker.wait() > 0  # and no other beside it
    breaker.answered()
    assert breaker.wait() == breaker.wait() == 0.0


def test_pauses_grow_with_trials_and_not_with_calls_that_were_on_their_way() -> None:
    now = [1000.0]
    breaker = Breaker(lambda: now[0])
    for _ in range(FAILURES + 5):
        breaker.failed()
    pauses = []
    for _ in range(8):
        pauses.append(breaker.wait())
        now[0] += pauses[-1]
        assert breaker.wait() == 0.0
        breaker.failed()
        breaker.over()
    assert pauses[:3] == [FIRST_PAUSE, 2 * FIRST_PAUSE, 4 * FIRST_PAUSE]
    assert pauses[-1] == LONGEST_PAUSE


def test_a_trial_that_is_cancelled_and_a_clock_that_is_set_back_block_nothing() -> None:
    now = [1000.0]
    breaker = Breaker(lambda: now[0])
    for _ in range(FAILURES):
        breaker.failed()
    now[0] += FIRST_PAUSE
    assert breaker.wait() == 0.0
    breaker.over()
    assert breaker.wait() == 0.0
    breaker.over()
    now[0] -= 5000
    assert breaker.wait() == 0.0


@pytest.fixture
def client(session: aiohttp.ClientSession, counterpart: Counterpart, clock: Clock) -> ReplicateClient:
    async def token() -> str:
        return "r8_token"

    return ReplicateClient(session, token, counterpart.url, policy=NO_RETRY, now=clock, sleep=clock.sleep)


async def calls(client: ReplicateClient, count: int) -> set[type[Exception]]:
    problems: set[type[Exception]] = set()
    for _ in range(count):
        with pytest.raises((ProviderError, ProviderUnavailable)) as caught:
            await client.model("acme/x")
        problems.add(caught.type)
    return problems


async def test_5xx_opens_it_and_who_waits_for_an_answer_is_let_through(
    client: ReplicateClient, counterpart: Counterpart, clock: Clock
) -> None:
    counterpart.say({"status": 503, "data": {"detail": "down"}})
    await calls(client, FAILURES + 20)
    assert len(counterpart.seen) == FAILURES
    with pytest.raises(NotSent, match="has not answered"):
        await client.model("acme/x")
    counterpart.say({"data": {"username": "acme"}})
    assert await client.account(patient=False) == {"username": "acme"}  # and that closes it
    assert await client.model("acme/x") == {"username": "acme"}


async def test_it_closes_by_itself_once_replicate_is_back(
    client: ReplicateClient, counterpart: Counterpart, clock: Clock
) -> None:
    counterpart.say({"status": 500, "data": {}})
    await calls(client, FAILURES)
    counterpart.say({"data": {"latest_version": None}})
    clock.now += FIRST_PAUSE
    assert await client.model("acme/x") == {"latest_version": None}
    assert await client.model("acme/x") == {"latest_version": None}


@pytest.mark.parametrize("status", [400, 401, 404, 408, 422, 429])
async def test_refusals_never_open_it(client: ReplicateClient, counterpart: Counterpart, status: int) -> None:
    counterpart.say({"status": status, "data": {"detail": "no"}})
    await calls(client, 3 * FAILURES)
    assert len(counterpart.seen) == 3 * FAILURES


async def test_silence_opens_it(session: aiohttp.ClientSession, clock: Clock) -> None:
    async def token() -> str:
        return "r8_token"

    client = ReplicateClient(session, token, "http://127.0.0.1:9", policy=NO_RETRY, now=clock, sleep=clock.sleep)
    assert await calls(client, FAILURES) == {NotSent}
    with pytest.raises(NotSent, match="has not answered"):
        await client.model("acme/x")
