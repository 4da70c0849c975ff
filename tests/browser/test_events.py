"""The journal's page: events come by themselves, are filtered, and their bodies verify again."""

from __future__ import annotations

from playwright.async_api import expect

from tests.e2e.test_loop import submit
from tests.support.daemon import Daemon

from .conftest import Open


async def test_events_come_are_filtered_and_verified_again(daemon: Daemon, open_page: Open) -> None:
    async with open_page(daemon.url) as watched:
        page = watched.page
        await watched.goto("/events")
        await expect(page.get_by_text("No events yet")).to_be_visible()
        await page.evaluate("window.loadedOnce = true")
        job_id = await submit(daemon, run_seconds=1)
        last = page.get_by_role("row").filter(has_text="completed")
        await expect(last).to_be_visible(timeout=30_000)
        assert await page.evaluate("window.loadedOnce")
        await expect(last).to_contain_text(job_id)

        await last.get_by_role("button").click()
        dialog = page.get_by_role("dialog")
        await expect(dialog).to_contain_text("webhook-signature")
        await dialog.get_by_role("button", name="Verify again").click()
        await expect(dialog.get_by_role("status")).to_contain_text("valid")
        await watched.check_accessible()
        await dialog.get_by_role("button", name="Close").click()

        await page.get_by_label("Kind").select_option("start")
        await page.get_by_role("button", name="Show", exact=True).click()
        await expect(page.get_by_role("row").filter(has_text="start")).to_have_count(1)
        await expect(page.get_by_role("row").filter(has_text="completed")).to_have_count(0)
        await watched.goto("/events?job=nothing")
        await expect(page.get_by_text("No event is like this")).to_be_visible()
        await watched.goto(f"/events?job={job_id}")
        await expect(page.get_by_role("row").filter(has_text=job_id).first).to_be_visible()
        await watched.check_accessible()
        await watched.shot("events")
