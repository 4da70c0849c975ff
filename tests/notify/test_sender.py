"""The sender against a real receiver: what we send is what the reference library verifies, whatever is answered."""

from __future__ import annotations

import asyncio
import contextlib
import json
import socket
import time
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any

import pytest
from aiohttp.abc import AbstractResolver, ResolveResult
from standardwebhooks import Webhook

from daemon.core.notices import trial
from daemon.notify import calling
from daemon.notify.calling import Caller
from daemon.notify.schedule import DISABLE_AFTER
from daemon.notify.sender import Sender
from daemon.store.notifications import Endpoint, EndpointChange
from daemon.store.secrets import endpoint_secret, endpoint_url
from daemon.store.store import Store
from tests.support.clock import RunningClock
from tests.support.empty import lay_down
from tests.support.receiver import Receiver, running_receiver

SECRET = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"


@pytest.fixture
async def store(tmp_path: Path) -> AsyncIterator[Store]:
    async with Store.open(None, lay_down(tmp_path / "data")) as opened:
        yield opened


@pytest.fixture
async def receiver() -> AsyncIterator[Receiver]:
    async with running_receiver() as running:
        yield running


async def listen(store: Store, url: str, name: str = "chat", **changes: Any) -> None:
    await store.secrets.put(endpoint_url(name), url, now=0)
    await store.secrets.put(endpoint_secret(name), SECRET, now=0)
    there = [one for one in await store.notifications.endpoints() if one.name != name]
    kept = [
        EndpointChange(name=one.name, shown_url=None, events=None, allow_private=False, enabled=one.enabled)
        for one in there
    ]
    fields = {"shown_url": "x", "events": None, "allow_private": False, "enabled": True, **changes}
    await store.notifications.put_endpoints([*kept, EndpointChange(name=name, **fields)], now=time.time())


@contextlib.asynccontextmanager
async def sending(store: Store, **options: Any) -> AsyncIterator[Sender]:
    options.setdefault("clock", RunningClock())
    async with Sender(store, jitter=lambda: 0.5, **options) as sender:
        running = asyncio.create_task(sender.run())
        try:
            yield sender
        finally:
            running.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await running


async def tell(store: Store, name: str = "chat") -> str:
    return await store.notifications.send(name, trial(name), now=time.time())


async def until(store: Store, test: Callable[[Endpoint], bool], name: str = "chat") -> Endpoint:
    async with asyncio.timeout(30):
        while True:
            for one in await store.notifications.endpoints():
                if one.name == name and test(one):
                    return one
            await asyncio.sleep(0.05)


async def test_what_is_sent_verifies_with_the_reference_library(store: Store, receiver: Receiver) -> None:
    await listen(store, receiver.url)
    webhook_id = await tell(store)
    async with sending(store):
        [request] = await receiver.wait_for(1)
        await until(store, lambda one: one.pending == 0 and one.delivered_at is not None)
    body = Webhook(SECRET).verify(request.body, request.headers)
    assert request.webhook_id == webhook_id
    assert body.keys() == {"type", "timestamp", "text", "data"}
    assert body["type"] == "test" and "tunerd" in body["text"]
    assert request.headers["content-type"] == "application/json"


async def test_it_is_sent_again_under_the_same_id_until_it_is_taken(store: Store, receiver: Receiver) -> None:
    receiver.answers = [500, 302, 429, 200]
    clock = RunningClock()
    await listen(store, receiver.url)
    webhook_id = await tell(store)
    async with sending(store, clock=clock):
        for count in range(1, 5):
            await receiver.wait_for(count)
            if count < 4:
                failing = await until(store, lambda one: one.last_error is not None)
                assert failing.failing_since is not None and failing.pending == 1
                clock.ahead += 60  # beyond the pause
                store.journal.notify()
        await until(store, lambda one: one.pending == 0)
    requests = receiver.received
    assert len(requests) == 4  # and the redirect was not followed
    Webhook(SECRET).verify(requests[0].body, requests[0].headers)  # the others' clock is ahead of the library's
    assert {request.webhook_id for request in requests} == {webhook_id}
    assert len({request.headers["webhook-timestamp"] for request in requests}) == 4
    assert len({request.body for request in requests}) == 1
    [endpoint] = await store.notifications.endpoints()
    assert (endpoint.failing_since, endpoint.last_error) == (None, None)


async def test_410_ends_it(store: Store, receiver: Receiver) -> None:
    receiver.answers = [410]
    await listen(store, receiver.url)
    await tell(store)
    async with sending(store):
        endpoint = await until(store, lambda one: not one.enabled)
        assert "410" in str(endpoint.disabled_reason)
        await asyncio.sleep(0.5)
    assert len(receiver.received) == 1


async def test_an_endpoint_that_is_dead_for_days_is_disabled_and_can_come_back(
    store: Store, receiver: Receiver
) -> None:
    receiver.answers = [500]
    clock = RunningClock()
    await listen(store, receiver.url)
    await tell(store)
    async with sending(store, clock=clock):
        await until(store, lambda one: one.failing_since is not None)
        clock.ahead += DISABLE_AFTER + 60
        store.journal.notify()
        endpoint = await until(store, lambda one: not one.enabled)
        assert "5 days" in str(endpoint.disabled_reason) and endpoint.pending == 1
        receiver.answers = [200]
        clock.ahead = 0
        await listen(store, receiver.url)
        await until(store, lambda one: one.enabled and one.pending == 0 and one.delivered_at is not None)


async def test_one_that_hangs_holds_up_no_other(
    store: Store, receiver: Receiver, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(calling, "SEND_SECONDS", 2.0)
    receiver.hang_seconds = 30
    async with running_receiver() as quick:
        await listen(store, receiver.url, "slow")
        await listen(store, quick.url, "quick")
        for _ in range(6):
            await tell(store, "slow")
        await tell(store, "quick")
        async with sending(store):
            await quick.wait_for(1)
            await until(store, lambda one: one.pending == 0, "quick")
            slow = await until(store, lambda one: one.last_error is not None, "slow")
        assert "no answer within 2 s" in str(slow.last_error)


class Inside(AbstractResolver):
    """Somebody's DNS that answers with an address inside."""

    async def resolve(
        self,
        host: str,
        port: int = 0,
        family: socket.AddressFamily = socket.AF_INET,  # noqa: ARG002 - its interface
    ) -> list[ResolveResult]:
        return [ResolveResult(hostname=host, host="127.0.0.1", port=port, family=socket.AF_INET, proto=0, flags=0)]

    async def close(self) -> None:
        pass


@pytest.mark.parametrize("host", ["chat.example", "10.0.0.7", "169.254.169.254", "2130706433", "[fd00::1]"])
async def test_a_private_address_is_refused(store: Store, receiver: Receiver, host: str) -> None:
    await listen(store, receiver.url.replace("127.0.0.1", host))
    await tell(store)
    clock = RunningClock()
    async with sending(store, clock=clock, caller=Caller(clock, Inside())):
        endpoint = await until(store, lambda one: one.last_error is not None)
    assert "not a public address; set allow_private" in str(endpoint.last_error)
    assert receiver.received == []


async def test_a_private_address_may_be_allowed(store: Store, receiver: Receiver) -> None:
    await listen(store, receiver.url.replace("127.0.0.1", "chat.example"), allow_private=True)
    await tell(store)
    clock = RunningClock()
    async with sending(store, clock=clock, caller=Caller(clock, Inside())):
        [request] = await receiver.wait_for(1)
    assert json.loads(request.body)["data"] == {"endpoint": "chat"}


async def test_nothing_is_lost_when_the_sender_is_stopped_in_between(store: Store, receiver: Receiver) -> None:
    receiver.hang_seconds = 30
    await listen(store, receiver.url)
    webhook_id = await tell(store)
    async with sending(store):
        await receiver.wait_for(1)
    receiver.hang_seconds = 0
    async with sending(store):  # the claim was given back
        await receiver.wait_for(2)
        await until(store, lambda one: one.pending == 0)
    assert [request.webhook_id for request in receiver.received] == [webhook_id] * 2
