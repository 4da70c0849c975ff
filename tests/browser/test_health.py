"""The page of checks: what is wrong is said first, with its fix."""

from __future__ import annotations

from playwright.async_api import expect

from daemon.sandbox.server import Sandbox
from tests.support.daemon import Daemon, running_daemon

from .conftest import Open


async def test_everything_checked_and_checked_again(daemon: Daemon, open_page: Open) -> None:
    async with open_page(daemon.url) as watched:
        page = watched.page
        await watched.goto("/health")
        token = page.get_by_role("listitem").filter(has_text="token").first
        await expect(token).to_contain_text("ok", timeout=40_000)
        await page.get_by_role("button", name="Check again").click()
        await expect(token).to_contain_text("ok", timeout=40_000)
        await watched.check_accessible()
        await watched.shot("health")


async def test_what_is_wrong_comes_first_with_its_fix(tmp_path, sandbox: Sandbox, open_page: Open) -> None:
    async with (
        running_daemon(tmp_path, REPLICATE_BASE_URL=sandbox.url) as daemon,
        open_page(daemon.url) as watched,
    ):
        await watched.goto("/health")
        first = watched.page.locator(".checks li").first
        await expect(first).to_contain_text("wrong", timeout=40_000)
        await expect(first.locator(".fix")).to_contain_text("tunerd token set")
        await watched.shot("health-wrong")


async def test_the_webhook_url_is_tried_end_to_end(daemon: Daemon, open_page: Open) -> None:
    async with open_page(daemon.url) as watched:
        page = watched.page
        await watched.goto("/settings")
        card = page.get_by_role("region", name="Webhook")
        await card.get_by_role("button", name="Test end to end").click()
        await expect(card.get_by_role("status")).to_contain_text("reached")
        await card.get_by_label("Public URL").fill("http://127.0.0.1:9")
        await card.get_by_role("button", name="Save").click()
        await expect(card.get_by_text("http://127.0.0.1:9/api/webhooks/replicate")).to_be_visible()  # it is shown anew
        await expect(card.get_by_text("Replicate itself cannot reach it")).to_be_visible()
        await card.get_by_role("button", name="Test end to end").click()
        await expect(card.get_by_role("status")).to_contain_text("nothing listens there")
