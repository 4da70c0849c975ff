"""Of several workers on one database one delivers; nobody waits for one that is gone for good."""

from __future__ import annotations

import socket
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack
from pathlib import Path

import pytest

from daemon.store.sole import KEY, LEASE_SECONDS, Holder
from daemon.store.store import Store
from tests.support.events import NOW


@pytest.fixture
async def stack() -> AsyncIterator[AsyncExitStack]:
    async with AsyncExitStack() as opened:
        yield opened


async def test_an_embedded_store_has_one_daemon(tmp_path: Path) -> None:
    async with Store.open(None, tmp_path) as store:
        assert await store.sole.held(NOW)
        await store.sole.give_back()
        assert await store.settings.get(KEY) is None


async def test_an_embedded_store_says_whether_its_daemon_delivers(tmp_path: Path) -> None:
    async with Store.open(None, tmp_path) as store:
        assert await store.sole.holder(NOW) is None  # it only receives
        await store.sole.held(NOW)
        assert await store.sole.holder(NOW) == Holder(socket.gethostname(), ours=True)


async def test_everybody_sees_who_holds_it(postgres_url: str, tmp_path: Path, stack: AsyncExitStack) -> None:
    one, other = [await stack.enter_async_context(Store.open(postgres_url, tmp_path / name)) for name in "ab"]
    assert await one.sole.holder(NOW) is None
    assert await one.sole.held(NOW)
    assert await one.sole.holder(NOW) == Holder(socket.gethostname(), ours=True)
    assert await other.sole.holder(NOW) == Holder(socket.gethostname(), ours=False)  # it has never asked for it
    assert not await other.sole.held(NOW)
    assert await other.sole.holder(NOW) == Holder(socket.gethostname(), ours=False)
    assert await other.sole.holder(NOW + LEASE_SECONDS) is None


async def test_one_holds_it_as_long_as_it_looks_again(postgres_url: str, tmp_path: Path, stack: AsyncExitStack) -> None:
    one, other = [await stack.enter_async_context(Store.open(postgres_url, tmp_path / name)) for name in "ab"]
    assert await one.sole.held(NOW)
    for seconds in range(0, 300, 10):
        assert await one.sole.held(NOW + seconds)
        assert not await other.sole.held(NOW + seconds + 5)
    await one.sole.give_back()
    assert await other.sole.held(NOW + 300)
    assert not await one.sole.held(NOW + 301)
    await one.sole.give_back()  # it is not its own
    assert not await one.sole.held(NOW + 301)


async def test_one_that_is_gone_is_waited_for_no_longer_than_its_lease(
    postgres_url: str, tmp_path: Path, stack: AsyncExitStack
) -> None:
    one, other = [await stack.enter_async_context(Store.open(postgres_url, tmp_path / name)) for name in "ab"]
    assert await one.sole.held(NOW)
    assert not await other.sole.held(NOW + LEASE_SECONDS - 1)
    assert await other.sole.held(NOW + LEASE_SECONDS)
    assert not await one.sole.held(NOW + LEASE_SECONDS)  # it comes back, and hears of it
    assert await one.sole.held(NOW - 7200)  # a clock that was set back: nobody has a lease so long


async def test_clocks_may_differ_by_some_seconds(postgres_url: str, tmp_path: Path, stack: AsyncExitStack) -> None:
    """Its lease reaches further than one of ours could; so it does for who has waited for the database meanwhile."""
    one, other = [await stack.enter_async_context(Store.open(postgres_url, tmp_path / name)) for name in "ab"]
    ahead = 15.0
    for seconds in range(0, 120, 10):
        assert await one.sole.held(NOW + seconds + ahead)
        assert not await other.sole.held(NOW + seconds)
        assert await other.sole.holder(NOW + seconds) == Holder(socket.gethostname(), ours=False)


async def test_who_was_killed_goes_on_at_once_with_its_data_directory(postgres_url: str, tmp_path: Path) -> None:
    for _ in range(2):  # nothing is given back between them
        async with Store.open(postgres_url, tmp_path / "a") as store:
            assert await store.sole.held(NOW)
    async with Store.open(postgres_url, tmp_path / "b") as other:
        assert not await other.sole.held(NOW)


async def test_a_copied_data_directory_is_another_one_on_another_machine(
    postgres_url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with Store.open(postgres_url, tmp_path / "a") as store:
        assert await store.sole.held(NOW)
    monkeypatch.setattr(socket, "gethostname", lambda: "another")
    async with Store.open(postgres_url, tmp_path / "a") as store:
        assert not await store.sole.held(NOW)


async def test_two_with_one_data_directory_are_two(postgres_url: str, tmp_path: Path, stack: AsyncExitStack) -> None:
    one, other = [await stack.enter_async_context(Store.open(postgres_url, tmp_path / "a")) for _ in range(2)]
    assert await one.sole.held(NOW)
    assert not await other.sole.held(NOW)


async def test_what_nobody_can_read_is_nobody_s(postgres_url: str, tmp_path: Path) -> None:
    async with Store.open(postgres_url, tmp_path / "a") as store:
        await store.settings.put({KEY: "what"}, now=NOW)
        assert await store.sole.held(NOW)
