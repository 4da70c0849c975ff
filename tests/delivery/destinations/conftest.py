"""The counterparts: servers start once for the session, each test gets a place of its own there."""

from __future__ import annotations

import secrets
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.conftest import skip_or_fail
from tests.delivery.destinations.counterparts import Bucket, Counterpart, Disk
from tests.support.moto import running_moto
from tests.support.swift import ACCESS_KEY, SECRET_KEY, SwiftMissing, running_swift


@pytest.fixture(scope="session")
def swift_url() -> Iterator[str]:
    try:
        with running_swift() as url:
            yield url
    except SwiftMissing as missing:
        skip_or_fail(str(missing))


@pytest.fixture(scope="session")
def moto_url() -> Iterator[str]:
    with running_moto() as url:
        yield url


@pytest.fixture
def bucket(swift_url: str) -> Bucket:
    return Bucket(swift_url, f"b{secrets.token_hex(6)}", ACCESS_KEY, SECRET_KEY, "the bucket does not exist")


@pytest.fixture(params=["local", "swift", "moto"])
def counterpart(request: pytest.FixtureRequest, tmp_path: Path) -> Counterpart:
    if request.param == "local":
        return Disk(tmp_path / "models")
    if request.param == "moto":
        url = request.getfixturevalue("moto_url")
        return Bucket(url, f"b{secrets.token_hex(6)}", "any", "thing", "the bucket does not exist")
    found: Counterpart = request.getfixturevalue("bucket")
    return found
