"""The webhook secret: pinned, cached, fetched once for all who wait, and what a rotation does."""

from __future__ import annotations

import asyncio

import pytest

from daemon.errors import NotReady
from daemon.parsing import decode_webhook_secret
from daemon.replicate.webhook_secret import WebhookSecrets
from tests.replicate.conftest import Make, World

PINNED = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"
OTHER_TOKEN = "r8_" + "o" * 37


def make(world: World, pinned: tuple[str, ...] = ()) -> WebhookSecrets:
    return WebhookSecrets(pinned, world.client, world.tokens, world.store.secrets, now=world.clock)


def fetches(world: World) -> int:
    return len(world.calls("GET", "/webhooks/default/secret"))


async def test_pinned_is_never_fetched(world: World) -> None:
    secrets = make(world, (PINNED, world.sandbox.webhook_secret))
    assert await secrets.get() == (decode_webhook_secret(PINNED), decode_webhook_secret(world.sandbox.webhook_secret))
    assert await secrets.refetch() is None
    assert fetches(world) == 0


async def test_fetched_once_for_all_and_kept_over_a_restart(world: World) -> None:
    secrets = make(world)
    key = decode_webhook_secret(world.sandbox.webhook_secret)
    assert set(await asyncio.gather(*(secrets.get() for _ in range(20)))) == {(key,)}
    assert await make(world).get() == (key,)
    assert fetches(world) == 1
    stored = await world.store.secrets.get("webhook_secrets")
    assert stored is not None
    assert world.sandbox.api_token not in stored


async def test_refetch_at_most_once_a_minute(world: World) -> None:
    secrets = make(world)
    await secrets.get()
    world.clock.now += 59
    assert await secrets.refetch() is None
    world.clock.now += 2
    assert await secrets.refetch() == await secrets.get()
    assert await secrets.refetch() is None
    assert fetches(world) == 2


async def test_rotation_keeps_the_old_secret_for_a_day(world: World) -> None:
    secrets = make(world)
    (old,) = await secrets.get()
    world.clock.now += 61
    new = decode_webhook_secret(world.sandbox.rotate_secret())
    assert await asyncio.gather(*(secrets.refetch() for _ in range(20))) == [(new, old)] * 20
    assert fetches(world) == 2
    world.clock.now += 86_000
    assert await secrets.get() == (new, old)
    world.clock.now += 500
    assert await secrets.get() == (new,)


async def test_two_rotations_within_a_day(world: World) -> None:
    secrets = make(world)
    (first,) = await secrets.get()
    world.clock.now += 61
    second = decode_webhook_secret(world.sandbox.rotate_secret())
    await secrets.refetch()
    world.clock.now += 61
    third = decode_webhook_secret(world.sandbox.rotate_secret())
    assert await secrets.refetch() == (third, second, first)


async def test_an_event_that_tried_the_old_keys_gets_the_new_ones(world: World) -> None:
    secrets = make(world)
    tried = await secrets.get()
    world.clock.now += 61
    world.sandbox.rotate_secret()
    keys = await secrets.refetch(tried)
    assert await secrets.refetch(tried) == keys  # a slower one: no fetch is due, yet there is something new for it
    assert await secrets.refetch(keys) is None
    assert fetches(world) == 2


async def test_a_failed_fetch_is_not_ready(world: World) -> None:
    secrets = make(world)
    world.sandbox.faults.secret_error_next = -1
    with pytest.raises(NotReady, match="could not be fetched") as caught:
        await secrets.get()
    assert caught.value.retry_after == 5
    before = fetches(world)
    world.clock.now += 1
    with pytest.raises(NotReady) as caught:  # not asked again at once
        await secrets.get()
    assert (fetches(world), caught.value.retry_after) == (before, 4)
    world.sandbox.faults.secret_error_next = 0
    world.clock.now += 4
    assert await secrets.get() == (decode_webhook_secret(world.sandbox.webhook_secret),)


async def test_a_failed_refetch_is_not_ready_and_the_old_key_stays(world: World) -> None:
    secrets = make(world)
    key = await secrets.get()
    world.clock.now += 61
    world.sandbox.faults.secret_error_next = -1
    with pytest.raises(NotReady):
        await secrets.refetch()
    assert await secrets.get() == key


async def test_a_waiter_that_hangs_up_ends_nothing_for_the_others(world: World) -> None:
    world.sandbox.faults.latency = 0.2
    secrets = make(world)
    gone = asyncio.create_task(secrets.get())
    stays = asyncio.create_task(secrets.get())
    await asyncio.sleep(0.05)
    gone.cancel()
    assert await stays == (decode_webhook_secret(world.sandbox.webhook_secret),)


async def test_another_account_has_another_secret(make_world: Make) -> None:
    world = await make_world()
    await make(world).get()
    other = await make_world(REPLICATE_API_TOKEN=OTHER_TOKEN)
    with pytest.raises(NotReady):  # the sandbox refuses that token; the first account's key must not serve
        await make(other).get()


async def test_without_a_token(make_world: Make) -> None:
    world = await make_world(REPLICATE_API_TOKEN="")
    with pytest.raises(NotReady, match="neither a Replicate API token nor TUNERD_WEBHOOK_SECRET"):
        await make(world).get()


async def test_an_unreadable_secret_is_not_ready(world: World) -> None:
    world.sandbox.rotate_secret("whsec_***")
    with pytest.raises(NotReady):
        await make(world).get()
