"""The API page, as a person sees it."""

from __future__ import annotations

from playwright.async_api import expect

from tests.support.browser import PHONE
from tests.support.daemon import Daemon

from .conftest import Open


async def test_from_the_foot_of_a_page_to_an_operation_and_what_it_leads_to(daemon: Daemon, open_page: Open) -> None:
    async with open_page(daemon.url) as watched:
        page = watched.page
        await watched.goto("/")
        await page.get_by_role("link", name="API", exact=True).click()
        await expect(page.get_by_role("heading", name="API", exact=True)).to_be_visible()
        await watched.check_accessible()
        await watched.shot("docs", whole=False)
        await page.get_by_role("link", name="POST /api/cloud/jobs/submit", exact=True).click()
        operation = page.locator("#submit_job")
        await expect(operation).to_be_in_viewport()
        await operation.get_by_text("A prediction of any Replicate model").click()
        await expect(operation.get_by_text("black-forest-labs/flux-schnell").first).to_be_visible()
        await watched.shot("docs-submit", whole=False)
        await operation.get_by_role("link", name="get_job", exact=True).first.click()
        await expect(page.locator("#get_job")).to_be_in_viewport()


async def test_on_a_phone_in_the_dark(daemon: Daemon, open_page: Open) -> None:
    async with open_page(daemon.url, viewport=PHONE, color_scheme="dark") as watched:
        await watched.goto("/docs")
        await expect(watched.page.get_by_role("heading", name="API", exact=True)).to_be_visible()
        assert await watched.page.evaluate("document.documentElement.scrollWidth") <= PHONE["width"]
        await watched.check_accessible()
        await watched.shot("docs-phone-dark", whole=False)
