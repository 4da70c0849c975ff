"""The list of destinations and its secrets change together, or not at all."""

from __future__ import annotations

import pytest

from daemon.store.records import DestinationConfig
from daemon.store.secrets import destination_secret
from daemon.store.store import Store
from tests.support.events import NOW

TOKEN = destination_secret("hub", "token")


async def test_a_replacement_that_fails_leaves_the_secrets(store: Store) -> None:
    await store.secrets.put(TOKEN, "old", now=NOW)
    new = store.secrets.seal(TOKEN, "new", now=NOW)
    broken = DestinationConfig("hub", "huggingface", {"repo_id": object()})
    with pytest.raises(TypeError):
        await store.settings.replace_destinations(lambda _: ([broken], {TOKEN}), [new], now=NOW)
    assert await store.secrets.get(TOKEN) == "old"
    assert [one.name for one in await store.settings.destinations()] == ["local"]


async def test_a_replacement_works_on_the_list_as_it_is_then(store: Store) -> None:
    await store.settings.change_destination("local", now=NOW, paused=True)
    new = store.secrets.seal(TOKEN, "new", now=NOW)
    hub = DestinationConfig("hub", "huggingface", {})
    await store.settings.replace_destinations(lambda before: ([*before, hub], ()), [new], now=NOW)
    assert [(one.name, one.paused) for one in await store.settings.destinations()] == [("local", True), ("hub", False)]
    assert await store.secrets.get(TOKEN) == "new"
    await store.settings.replace_destinations(lambda before: (before[:1], {TOKEN}), [], now=NOW)
    assert await store.secrets.get(TOKEN) is None
