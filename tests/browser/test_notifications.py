"""Notification endpoints: added, tested, disabled and removed on the page; the secret is seen once."""

from __future__ import annotations

from playwright.async_api import expect

from tests.support.browser import PHONE
from tests.support.daemon import Daemon
from tests.support.receiver import running_receiver

from .conftest import Open


async def test_an_endpoint_from_added_to_removed(daemon: Daemon, open_page: Open) -> None:
    async with running_receiver("/hook") as receiver, open_page(daemon.url) as watched:
        page = watched.page
        await watched.goto("/settings")
        await page.get_by_role("link", name="Notifications").click()
        await expect(page.get_by_text("No notification endpoints yet")).to_be_visible()
        await watched.check_accessible()

        watched.expected_errors = ("400",)
        await page.get_by_label("Name").fill("chat")
        await page.get_by_label("URL").fill("http://203.0.113.9/hook")
        await page.get_by_role("button", name="Add").click()
        await expect(page.get_by_role("alert")).to_contain_text("https is expected")

        await page.get_by_label("URL").fill(receiver.url)
        await page.get_by_label("a job has completed").uncheck()
        await page.get_by_role("button", name="Add").click()
        dialog = page.get_by_role("dialog")
        await expect(dialog).to_contain_text("whsec_")
        await watched.check_accessible()
        await page.keyboard.press("Escape")
        card = page.get_by_role("region", name="chat")
        await expect(card).to_contain_text("delivery.failed")
        await expect(card).not_to_contain_text("job.finished")
        await expect(page.locator("dialog", has_text="whsec_")).to_have_count(0)  # it goes a moment after it closes
        assert "whsec_" not in await page.content()
        await watched.goto("/settings/notifications")
        assert "whsec_" not in await page.content()

        await card.get_by_role("button", name="Test").click()
        await expect(page.locator("#toasts")).to_contain_text("took the message")
        await expect(card).to_contain_text("works")
        assert receiver.received[0].json()["type"] == "test"
        await watched.check_accessible()
        await page.set_viewport_size(PHONE)  # type: ignore[arg-type]
        assert await page.evaluate("document.documentElement.scrollWidth") <= PHONE["width"]
        await watched.shot("notifications-phone")

        await card.get_by_role("button", name="Disable").click()
        await expect(card.get_by_role("button", name="Enable")).to_be_focused()
        await card.get_by_role("button", name="Remove").click()
        await page.get_by_role("dialog").get_by_role("button", name="Remove").click()
        await expect(page.get_by_text("No notification endpoints yet")).to_be_visible()


async def test_what_failed_is_said(daemon: Daemon, open_page: Open) -> None:
    async with running_receiver("/hook") as receiver, open_page(daemon.url) as watched:
        receiver.answers = [410]
        endpoint = {"name": "gone", "url": receiver.url}
        async with daemon.session.put(
            daemon.url + "/api/cloud/notifications", json={"endpoints": [endpoint]}
        ) as answer:
            assert answer.status == 200
        await watched.goto("/settings/notifications")
        card = watched.page.get_by_role("region", name="gone")
        await card.get_by_role("button", name="Test").click()
        await expect(watched.page.locator("#toasts")).to_contain_text("did not take it")
        await expect(card).to_contain_text("disabled")
        await expect(card).to_contain_text("410")
        await watched.goto("/")
        await watched.page.get_by_role("link", name="Notifications").click()
        await expect(card).to_be_visible()
