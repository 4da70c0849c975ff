"""The counterparts: servers start once for the session, each test gets a place of its own there."""

from __future__ import annotations

import secrets
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pytest

from tests.delivery.destinations.counterparts import Bucket, Counterpart, Disk, Repos
from tests.support.hub import Hub, running_hub
from tests.support.moto import running_moto
from tests.support.swift import ACCESS_KEY, SECRET_KEY


@pytest.fixture(scope="session")
def moto_url() -> Iterator[str]:
    with running_moto() as url:
        yield url


@pytest.fixture
def swift(swift_url: str) -> Bucket:
    return Bucket(swift_url, f"b{secrets.token_hex(6)}", ACCESS_KEY, SECRET_KEY, "the bucket does not exist")


@pytest.fixture
def moto(moto_url: str) -> Bucket:
    return Bucket(moto_url, f"b{secrets.token_hex(6)}", "any", "thing", "the bucket does not exist")


@pytest.fixture
def disk(tmp_path: Path) -> Disk:
    return Disk(tmp_path / "models")


@pytest.fixture
async def hub() -> AsyncIterator[Hub]:
    async with running_hub() as hub:
        yield hub


@pytest.fixture
def repos(hub: Hub) -> Repos:
    return Repos(hub)


@pytest.fixture(params=["disk", "swift", "moto", "repos"])
def counterpart(request: pytest.FixtureRequest, hub: Hub) -> Counterpart:
    found: Counterpart = request.getfixturevalue(request.param)
    return found
