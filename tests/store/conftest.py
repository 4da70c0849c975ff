"""One suite over both stores: every test that asks for ``store`` runs on SQLite and on PostgreSQL."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import AbstractAsyncContextManager
from pathlib import Path

import pytest

from daemon.store.store import Store


class Place:
    """Where a test's store is; may be opened again and again."""

    def __init__(self, url: str | None, data_dir: Path) -> None:
        self.url = url
        self.data_dir = data_dir

    @property
    def embedded(self) -> bool:
        return self.url is None

    def open(self) -> AbstractAsyncContextManager[Store]:
        return Store.open(self.url, self.data_dir)


@pytest.fixture(params=["sqlite", "postgresql"])
def place(request: pytest.FixtureRequest, tmp_path: Path) -> Place:
    url = None if request.param == "sqlite" else request.getfixturevalue("postgres_url")
    return Place(url, tmp_path / "data")


@pytest.fixture
async def store(place: Place) -> AsyncIterator[Store]:
    async with place.open() as opened:
        yield opened
