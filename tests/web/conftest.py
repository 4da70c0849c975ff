"""The webhook's short way, watched, and a store that answers when it is told to."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any

import pytest

from daemon.errors import NotReady
from daemon.store.journal import Journal
from daemon.store.records import Appended
from daemon.web.express import Express, Taken
from tests.support.signed import OTHER_SECRET, PATH, SECRET
from tests.support.webapp import Served, running_app


class Ways:
    """Which way each webhook went."""

    def __init__(self) -> None:
        self.short = self.long = 0


@pytest.fixture
def ways(monkeypatch: pytest.MonkeyPatch) -> Ways:
    found, take = Ways(), Express.take

    def counted(self: Express, *given: Any) -> Taken | None:
        taken = take(self, *given)
        found.short += taken is not None
        found.long += taken is None
        return taken

    monkeypatch.setattr(Express, "take", counted)
    return found


class SlowStore:
    """The journal's answers wait until ``release`` is set; ``error`` is then what came of it."""

    def __init__(self, submit: Callable[..., asyncio.Future[Appended]]) -> None:
        self.release = asyncio.Event()
        self.error: Exception | None = None
        self._submit = submit
        self._tasks: list[asyncio.Task[None]] = []

    def submit(self, journal: Journal, *given: Any) -> asyncio.Future[Appended]:
        result: asyncio.Future[Appended] = asyncio.get_running_loop().create_future()
        self._tasks.append(asyncio.create_task(self._pass_on(result, journal, *given)))
        return result

    async def _pass_on(self, result: asyncio.Future[Appended], *given: Any) -> None:
        await self.release.wait()
        try:
            if self.error is not None:
                error, self.error = self.error, None
                raise error
            result.set_result(await self._submit(*given))
        except NotReady as refused:
            result.set_exception(refused)


@pytest.fixture
def slow(monkeypatch: pytest.MonkeyPatch) -> SlowStore:
    store = SlowStore(Journal.submit)
    monkeypatch.setattr(Journal, "submit", lambda *given: store.submit(*given))  # noqa: PLW0108 - unbound: it is given the journal
    return store


@pytest.fixture
async def served(tmp_path: Path) -> AsyncIterator[Served]:
    """Two secrets live, bodies up to 1 MiB."""
    environ = {"TUNERD_WEBHOOK_SECRET": f"{OTHER_SECRET} {SECRET}", "TUNERD_MAX_BODY_MIB": "1"}
    async with running_app(tmp_path, environ=environ) as served:
        yield served


async def post(served: Served, body: object, headers: dict[str, str], status: int = 200, path: str = PATH) -> Any:
    """The receiver's answer."""
    return await served.call("POST", path, status=status, data=body, headers=headers)
