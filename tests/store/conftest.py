"""One suite over both stores: every test that asks for ``store`` runs on SQLite and on PostgreSQL."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator
from contextlib import AbstractAsyncContextManager
from pathlib import Path

import pytest

from daemon.store.store import Store
from tests.support.empty import lay_down


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
def place(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Place]:
    if request.param == "sqlite":
        yield Place(None, lay_down(tmp_path / "data"))
        return
    with request.getfixturevalue("postgres_cluster").migrated_database() as url:
        yield Place(url, tmp_path / "data")


@pytest.fixture
async def store(place: Place) -> AsyncIterator[Store]:
    async with place.open() as opened:
        yield opened
