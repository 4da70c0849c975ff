"""Curves: of several jobs on one plot, zoomed, smoothed, on a log scale."""

from __future__ import annotations

from playwright.async_api import expect

from tests.e2e.test_loop import submit
from tests.support.daemon import Daemon

from .conftest import Open

# The heights of a plot's drawn line are not in the page; what is drawn is a picture. It has to change.
_PICTURE = "canvas => canvas.toDataURL()"


async def test_two_jobs_on_one_plot(daemon: Daemon, open_page: Open) -> None:
    jobs = [await submit(daemon, steps=120, run_seconds=2, seed=seed) for seed in (1, 2)]
    for job_id in jobs:
        await daemon.finished(job_id)
    async with open_page(daemon.url) as watched:
        page = watched.page
        await watched.goto(f"/jobs/{jobs[0]}")
        await page.get_by_role("link", name="Compare").click()
        await page.get_by_label("Another job").select_option(jobs[1])
        await page.get_by_role("button", name="Add").click()
        await expect(page).to_have_url(f"{daemon.url}/compare?job={jobs[0]}&job={jobs[1]}")
        loss = page.get_by_role("img", name="Loss over 120 steps")
        for job_id in jobs:
            await expect(loss.locator(".u-legend")).to_contain_text(job_id[-6:])
            assert job_id[-6:] in (await loss.get_attribute("aria-label") or "")
        await watched.check_accessible()
        await watched.shot("compare")

        canvas = loss.locator("canvas")
        before = await canvas.evaluate(_PICTURE)
        await page.get_by_role("button", name="Log scale").click()
        await expect(page.get_by_role("button", name="Log scale")).to_have_attribute("aria-pressed", "true")
        logarithmic = await canvas.evaluate(_PICTURE)
        assert logarithmic != before
        await page.get_by_label("Smoothing").fill("0.9")
        assert await canvas.evaluate(_PICTURE) != logarithmic

        whole = page.get_by_role("button", name="Whole range")
        await expect(whole).to_be_disabled()
        over = loss.locator(".u-over")
        box = await over.bounding_box()
        assert box is not None
        unzoomed = await canvas.evaluate(_PICTURE)
        await page.mouse.move(box["x"] + box["width"] * 0.25, box["y"] + 40)
        await page.mouse.down()
        await page.mouse.move(box["x"] + box["width"] * 0.5, box["y"] + 40, steps=5)
        await page.mouse.up()
        await expect(whole).to_be_enabled()
        assert await canvas.evaluate(_PICTURE) != unzoomed
        await whole.click()
        await expect(whole).to_be_disabled()

        await page.get_by_role("link", name=f"Remove {jobs[1]}").click()
        await expect(page.get_by_role("link", name="Remove")).to_have_count(1)
