"""Where the token comes from, how it is saved, and the answers about it."""

from __future__ import annotations

import pytest

from daemon.errors import ProviderUnavailable, SettingPinned, TokenInvalidFormat, TokenNotStored
from daemon.replicate.token import TokenSource, validate
from tests.replicate.conftest import Make, World

STORED = "r8_" + "S" * 33 + "wxyz"


async def test_environment_wins_and_is_pinned(world: World) -> None:
    assert await world.tokens.get() == world.sandbox.api_token
    assert await world.tokens.source() == "environment"
    with pytest.raises(SettingPinned, match="comes from the environment"):
        await world.tokens.put(STORED, now=1.0)
    with pytest.raises(TokenNotStored, match="The one in force comes from the environment"):
        await world.tokens.delete()


async def test_saved_stripped_encrypted_and_forgotten(make_world: Make) -> None:
    world = await make_world(REPLICATE_API_TOKEN="")
    assert (await world.tokens.get(), await world.tokens.source(), await world.tokens.hint()) == (None, None, None)
    await world.tokens.put(f" \n{STORED}\t", now=1.0)
    assert (await world.tokens.get(), await world.tokens.source(), await world.tokens.hint()) == (
        STORED,
        "stored",
        "wxyz",
    )
    again = TokenSource(world.settings, world.store.secrets)
    assert await again.get() == STORED
    await again.delete()
    assert await again.get() is None
    with pytest.raises(TokenNotStored):
        await again.delete()


@pytest.mark.parametrize("value", ["", "r8_", "abc", "R8_abc", "r8_a b", "r8_a\nb", "r8_\u00e9", None, 7, ["r8_x"]])
async def test_what_is_no_token(make_world: Make, value: object) -> None:
    world = await make_world(REPLICATE_API_TOKEN="")
    with pytest.raises(TokenInvalidFormat, match="Nothing was saved: a Replicate API token begins with r8_"):
        await world.tokens.put(value, now=1.0)
    assert await world.tokens.get() is None


async def test_validate(make_world: Make) -> None:
    world = await make_world()
    answer = await validate(world.tokens, world.client)
    assert answer["valid"] is True
    assert answer["user_info"]["username"] == "acme"
    assert answer["token_source"] == "environment"


async def test_validate_without_a_token(make_world: Make) -> None:
    world = await make_world(REPLICATE_API_TOKEN="")
    answer = await validate(world.tokens, world.client)
    assert (answer["valid"], answer["error"]) == (False, "REPLICATE_API_TOKEN not set")
    assert "tunerd token set" in answer["fix"]
    assert not world.sandbox.requests


async def test_validate_a_wrong_token(make_world: Make) -> None:
    world = await make_world(REPLICATE_API_TOKEN=STORED)
    answer = await validate(world.tokens, world.client)
    assert answer["valid"] is False
    assert answer["error"].startswith("Invalid token: Replicate refused it (Unauthenticated: ")
    assert "new token" in answer["fix"]
    assert STORED not in answer["error"]


async def test_validate_a_token_without_the_prefix_asks_replicate(make_world: Make) -> None:
    """Older tokens have none; what another program answers to may be anything."""
    world = await make_world(REPLICATE_API_TOKEN="test-token")
    assert (await validate(world.tokens, world.client))["error"].startswith("Invalid token: Replicate refused it")
    world.sandbox.platform.api_token = "test-token"
    assert (await validate(world.tokens, world.client))["valid"] is True


async def test_the_hint_is_four_characters_unless_that_is_all(make_world: Make) -> None:
    assert await (await make_world(REPLICATE_API_TOKEN="r8_abcd1234")).tokens.hint() == "1234"
    assert await (await make_world(REPLICATE_API_TOKEN="r8_abcd")).tokens.hint() is None


async def test_validate_a_malformed_token_asks_nobody(make_world: Make) -> None:
    world = await make_world(REPLICATE_API_TOKEN="r8_übel")
    answer = await validate(world.tokens, world.client)
    assert answer["valid"] is False
    assert answer["error"].startswith("Invalid token: a Replicate API token begins with r8_")
    assert "Copy it anew" in answer["fix"]
    assert not world.sandbox.requests


async def test_validate_while_replicate_is_down(world: World) -> None:
    world.sandbox.faults.server_error_next = -1
    with pytest.raises(ProviderUnavailable):
        await validate(world.tokens, world.client)
