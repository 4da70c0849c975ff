"""The login, as somebody meets it who comes from elsewhere."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path

import pytest_asyncio
from playwright.async_api import expect

from daemon.sandbox.server import Sandbox
from tests.e2e.conftest import wired_daemon
from tests.e2e.test_loop import submit
from tests.support.daemon import Daemon

from .conftest import Open

TOKEN = "correct-horse-battery"


@pytest_asyncio.fixture(loop_scope="session")
async def daemon(tmp_path: Path, sandbox: Sandbox) -> AsyncIterator[Daemon]:
    async with wired_daemon(tmp_path, sandbox, TUNERD_ADMIN_TOKEN=TOKEN) as running:
        yield running


async def test_in_and_out(daemon: Daemon, open_page: Open) -> None:
    job_id = await submit(daemon, run_seconds=1)
    # A name that is not this machine's own, led there by the browser: to the daemon it is somebody from elsewhere.
    port = daemon.url.rpartition(":")[2]
    async with open_page(f"http://tuner.test:{port}") as watched:
        watched.expected_errors = ("status of 401", "Cross-Origin-Opener-Policy")
        page = watched.page
        await watched.goto(f"/jobs/{job_id}")
        await expect(page).to_have_url(f"http://tuner.test:{port}/login?next=%2Fjobs%2F{job_id}")
        await watched.check_accessible()
        await watched.shot("login")
        await page.get_by_label("Admin token").fill("a guess")
        await page.keyboard.press("Enter")
        await expect(page.get_by_role("alert")).to_contain_text("This is not the admin token")
        await page.get_by_label("Admin token").fill(TOKEN)
        await page.keyboard.press("Enter")
        await expect(page).to_have_url(f"http://tuner.test:{port}/jobs/{job_id}")
        await expect(page.locator("#job-head")).to_contain_text("completed", timeout=30_000)
        cookie = next(iter(await page.context.cookies()))
        assert (cookie["httpOnly"], cookie["sameSite"]) == (True, "Strict")
        assert await page.evaluate("document.cookie") == ""

        await watched.goto("/settings/sessions")
        await expect(page.get_by_role("row").filter(has_text="this one")).to_be_visible()
        await watched.check_accessible()
        await watched.shot("logins")
        await page.get_by_role("button", name="Log out").click()
        await expect(page).to_have_url(f"http://tuner.test:{port}/login")
        await watched.goto("/")
        await expect(page).to_have_url(f"http://tuner.test:{port}/login")


async def test_a_login_that_is_ended_elsewhere(daemon: Daemon, open_page: Open) -> None:
    port = daemon.url.rpartition(":")[2]
    async with open_page(f"http://tuner.test:{port}") as watched:
        watched.expected_errors = ("status of 401", "Cross-Origin-Opener-Policy", "ERR_")
        page = watched.page
        await watched.goto("/")
        await page.get_by_label("Admin token").fill(TOKEN)
        await page.keyboard.press("Enter")
        await expect(page.get_by_role("link", name="Jobs")).to_be_visible()
        await watched.goto("/settings/sessions")
        async with daemon.session.delete(daemon.url + "/api/cloud/sessions") as answer:
            assert (await answer.json())["ended"] == 1
        await page.get_by_role("button", name="End the login").click()  # an order: refused, so the page asks to log in
        await expect(page).to_have_url(f"http://tuner.test:{port}/login?next=%2Fsettings%2Fsessions")
