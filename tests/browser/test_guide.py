"""From an empty daemon to the first job, as the guide leads a person who sees the page for the first time."""

from __future__ import annotations

from pathlib import Path

from playwright.async_api import expect

from daemon.sandbox.server import Sandbox
from tests.support.browser import PHONE
from tests.support.daemon import running_daemon

from .conftest import Open


async def test_from_nothing_to_the_first_job(tmp_path: Path, sandbox: Sandbox, open_page: Open) -> None:
    async with (
        running_daemon(tmp_path, REPLICATE_BASE_URL=sandbox.url) as daemon,
        open_page(daemon.url) as watched,
    ):
        page = watched.page
        await watched.goto("/")
        steps = page.get_by_role("region", name="From here to the first job").get_by_role("listitem")
        await expect(steps).to_have_count(4)
        await expect(steps.nth(0)).to_have_attribute("aria-current", "step")
        await watched.check_accessible()
        await watched.shot("guide")

        await steps.nth(0).get_by_role("link", name="Enter it").click()
        card = page.get_by_role("region", name="Replicate API token")
        await card.get_by_label("Token").fill(sandbox.api_token)
        await card.get_by_role("button", name="Save").click()
        await expect(card).to_contain_text("Replicate takes it")
        await page.get_by_role("link", name="Jobs").click()
        await expect(steps.nth(0)).to_contain_text("A token is there")

        await expect(steps.nth(1)).to_have_attribute("aria-current", "step")
        await steps.nth(1).get_by_role("link", name="Enter the URL").click()
        await page.get_by_label("Public URL").fill(daemon.url)
        await page.get_by_role("region", name="Webhook").get_by_role("button", name="Save").click()
        await expect(page.get_by_role("region", name="Webhook")).to_contain_text("Replicate sends to")
        await page.get_by_role("link", name="Jobs").click()
        await expect(steps.nth(1)).to_contain_text(daemon.url)
        await expect(steps.nth(2)).to_contain_text("They go to local")
        await page.set_viewport_size(PHONE)  # type: ignore[arg-type]
        assert await page.evaluate("document.documentElement.scrollWidth") <= PHONE["width"]
        await watched.shot("guide-phone")

        await steps.nth(3).get_by_role("link", name="Submit").click()
        await page.get_by_label("Any Replicate model").check()
        await page.get_by_label("Owner and name").fill("acme/shapes")
        await page.get_by_label("Input").fill('{"num_outputs": 1}')
        await page.get_by_role("button", name="Submit").click()
        await page.wait_for_url("**/jobs/*")
        await page.get_by_role("link", name="Jobs").click()
        await expect(page.locator("#rows tr")).to_have_count(1)
        await expect(page.locator("#guide")).to_be_hidden()


async def test_it_goes_by_itself_when_a_job_comes(tmp_path: Path, sandbox: Sandbox, open_page: Open) -> None:
    variables = {"REPLICATE_BASE_URL": sandbox.url, "REPLICATE_API_TOKEN": sandbox.api_token}
    async with running_daemon(tmp_path, **variables) as daemon, open_page(daemon.url) as watched:
        await watched.goto("/")
        await expect(watched.page.locator("#guide li").first).to_contain_text("done")
        await daemon.post("/api/cloud/jobs/submit", {"model": "acme/shapes", "input": {}}, status=201)
        await expect(watched.page.locator("#guide")).to_be_hidden()
