"""The first page, used as a person would."""

from __future__ import annotations

from playwright.async_api import expect

from tests.e2e.test_loop import submit
from tests.support.browser import PHONE
from tests.support.daemon import Daemon

from .conftest import Open


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


async def test_searched_filtered_and_sorted(daemon: Daemon, open_page: Open) -> None:
    jobs = [await submit(daemon, run_seconds=1, **more) for more in ({"fail": "oom"}, {})]
    for job_id in jobs:
        await daemon.finished(job_id)
    async with open_page(daemon.url) as watched:
        page = watched.page
        await watched.goto("/")
        rows = page.locator("#rows tr")
        await expect(rows).to_have_count(2)
        search = page.get_by_role("searchbox", name="Search the jobs")
        await search.press_sequentially(jobs[0], delay=5)
        await expect(rows).to_have_count(1)
        await expect(rows).to_contain_text(jobs[0])
        await expect(search).to_be_focused()
        assert f"q={jobs[0]}" in page.url  # to come back to, or to send on
        await search.fill("nothing like this")
        await expect(page.get_by_text("No job is like this.")).to_be_visible()
        await page.get_by_role("link", name="Show all").click()
        await page.get_by_role("link", name="Failed 1").click()
        await expect(rows).to_have_count(1)
        await expect(rows).to_contain_text(jobs[0])
        await page.get_by_role("link", name="All 2").click()
        await page.get_by_role("link", name="Status").click()
        await page.get_by_role("link", name="Status").click()
        await expect(page.get_by_role("columnheader", name="Status")).to_have_attribute("aria-sort", "ascending")
        await expect(rows.first).to_contain_text("failed")
        await page.get_by_label("Delivery").select_option("delivered")
        await expect(rows).to_have_count(1)
        await expect(rows).to_contain_text(jobs[1])


async def test_what_needs_attention(daemon: Daemon, open_page: Open) -> None:
    allowed = {"webhook_allowed_ips": ["192.0.2.0/24"], "cost_limit_enabled": True, "cost_limit_amount": 0.0}
    async with daemon.session.put(daemon.url + "/api/cloud/providers/replicate", json=allowed) as answer:
        assert answer.status == 200, await answer.text()
    async with open_page(daemon.url) as watched:
        page = watched.page
        await watched.goto("/")
        notices = page.get_by_role("list", name="Needs attention")
        await expect(notices).to_contain_text("The spending limit is reached")
        for _ in range(3):
            async with daemon.session.post(daemon.url + "/api/webhooks/replicate", data=b"{}") as answer:
                assert answer.status == 403
        await expect(notices).to_contain_text("The allowlist rejected 3 requests from 127.0.0.1")
        await watched.check_accessible()
        await watched.shot("attention")


async def test_by_keyboard(daemon: Daemon, open_page: Open) -> None:
    job_id = await submit(daemon, run_seconds=1)
    await daemon.finished(job_id)
    async with open_page(daemon.url) as watched:
        page = watched.page
        await watched.goto("/")
        await page.keyboard.press("Tab")
        await expect(page.get_by_role("link", name="Skip to the content")).to_be_focused()
        await page.keyboard.press("Enter")
        for _ in range(20):
            await page.keyboard.press("Tab")
            if await page.get_by_role("link", name="acme/shapes").evaluate("link => link === document.activeElement"):
                break
        await page.keyboard.press("Enter")
        await expect(page).to_have_url(f"{daemon.url}/jobs/{job_id}")


async def test_the_colours_are_remembered(daemon: Daemon, open_page: Open) -> None:
    async with open_page(daemon.url, color_scheme="dark") as watched:
        page = watched.page
        await watched.goto("/")
        background = "getComputedStyle(document.documentElement).backgroundColor"
        dark = await page.evaluate(background)
        await page.get_by_role("button", name="Colours: as the system has them").click()
        light = await page.evaluate(background)
        assert light != dark
        await page.reload()
        assert await page.evaluate(background) == light
        await page.get_by_role("button", name="Colours: light").click()
        assert await page.evaluate(background) == dark
        await page.get_by_role("button", name="Colours: dark").click()
        await page.reload()
        assert await page.evaluate("document.documentElement.dataset.theme") is None
