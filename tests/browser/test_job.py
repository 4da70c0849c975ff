"""The page of one job, used as a person would."""

from __future__ import annotations

from playwright.async_api import expect

from tests.e2e.test_loop import submit
from tests.support.browser import PHONE
from tests.support.daemon import Daemon

from .conftest import Open

PICTURES = {"shape": "list", "files": 2, "file_name": "out.png", "file_bytes": 20_000}


async def test_a_training_is_watched_to_its_end(daemon: Daemon, open_page: Open) -> None:
    job_id = await submit(daemon, steps=300, run_seconds=10, **PICTURES)
    async with open_page(daemon.url) as watched:
        page = watched.page
        await watched.goto(f"/jobs/{job_id}")
        await page.evaluate("window.loadedOnce = true")
        percent = page.locator(".percent")
        await expect(percent).to_be_visible(timeout=30_000)
        seen = await percent.inner_text()
        await expect(percent).not_to_have_text(seen)
        curves = page.locator("[data-curves]")
        await expect(curves.locator(".plot")).to_have_count(3, timeout=30_000)
        await watched.shot("job-running")
        points = int(await curves.get_attribute("data-points") or 0)
        await watched.until(f"Number(document.querySelector('[data-curves]').dataset.points) > {points}")
        await expect(page.locator("#job-head")).to_contain_text("completed", timeout=60_000)
        await expect(page.locator("#job-deliveries")).to_contain_text("delivered", timeout=30_000)
        await expect(page.locator("#job-pictures img")).to_have_count(2)
        assert await page.locator("#job-pictures img").first.evaluate("image => image.decode().then(() => true)")
        await expect(page.get_by_role("region", name="Log lines")).to_contain_text("Training complete")
        assert await page.evaluate("window.loadedOnce")
        await watched.check_accessible()
        await watched.shot("job-done")
        await page.emulate_media(color_scheme="dark")
        await page.wait_for_timeout(300)
        await watched.shot("job-done-dark")
        await page.set_viewport_size(PHONE)
        await page.wait_for_timeout(300)
        assert await page.evaluate("document.documentElement.scrollWidth") <= PHONE["width"]
        await watched.shot("job-phone-dark")
