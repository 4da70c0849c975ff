"""The first page, used as a person would."""

from __future__ import annotations

from playwright.async_api import expect

from tests.e2e.test_loop import submit
from tests.support.browser import PHONE
from tests.support.daemon import Daemon

from .conftest import Open

TRAINING = {"steps": 40, "seconds": 4}


async def test_a_job_comes_moves_and_is_delivered_without_a_reload(daemon: Daemon, open_page: Open) -> None:
    async with open_page(daemon.url) as watched:
        page = watched.page
        await watched.goto("/")
        await expect(page.get_by_text("No jobs yet")).to_be_visible()
        await page.evaluate("window.loadedOnce = true")
        job_id = await submit(daemon, model="acme/shapes", num_outputs=1)
        row = page.get_by_role("row").filter(has_text=job_id)
        await expect(row).to_be_visible()
        await expect(row).to_contain_text("completed", timeout=30_000)
        await expect(row).to_contain_text("local: delivered", timeout=30_000)
        assert await page.evaluate("window.loadedOnce")
        await watched.check_accessible()
        await watched.shot("jobs-one")


async def test_on_a_phone(daemon: Daemon, open_page: Open) -> None:
    async with open_page(daemon.url, viewport=PHONE, color_scheme="dark") as watched:
        await submit(daemon)
        await watched.goto("/")
        await expect(watched.page.get_by_role("link", name="acme/shapes")).to_be_visible()
        width = await watched.page.evaluate("document.documentElement.scrollWidth")
        assert width <= PHONE["width"]
        await watched.shot("jobs-phone-dark")
