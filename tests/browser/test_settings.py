"""Settings on the page, changed as a person would; what the start pins is shown as such."""

from __future__ import annotations

from pathlib import Path

from playwright.async_api import expect

from daemon.sandbox.server import Sandbox
from tests.e2e.conftest import wired_daemon
from tests.support.browser import PHONE
from tests.support.daemon import Daemon, running_daemon

from .conftest import Open

LIST = "[name=webhook_allowed_ips]"


async def test_a_token_is_saved_validated_and_deleted(tmp_path: Path, sandbox: Sandbox, open_page: Open) -> None:
    async with (
        running_daemon(tmp_path, REPLICATE_BASE_URL=sandbox.url) as daemon,
        open_page(daemon.url) as watched,
    ):
        page = watched.page
        await watched.goto("/settings")
        card = page.get_by_role("region", name="Replicate API token")
        await expect(card).to_contain_text("missing")
        await card.get_by_role("button", name="Validate").click()
        await expect(card.get_by_role("status")).to_contain_text("REPLICATE_API_TOKEN not set. Make a token at")
        watched.expected_errors = ("400",)
        await card.get_by_label("Token").fill("hf_wrong")
        await card.get_by_role("button", name="Save").click()
        await expect(card.get_by_role("alert")).to_contain_text("r8_")
        await card.get_by_label("Token").fill(sandbox.api_token)
        await card.get_by_role("button", name="Save").click()
        await expect(card).to_contain_text(f"ends in {sandbox.api_token[-4:]}")
        assert sandbox.api_token not in await page.content()
        await card.get_by_role("button", name="Validate").click()
        await expect(card.get_by_role("status")).to_contain_text("valid")
        await watched.check_accessible()
        await card.get_by_role("button", name="Delete").click()
        await page.get_by_role("dialog").get_by_role("button", name="Delete").click()
        await expect(card).to_contain_text("missing")


async def test_limit_and_allowlist(daemon: Daemon, open_page: Open) -> None:
    async with open_page(daemon.url) as watched:
        page = watched.page
        await watched.goto("/settings")
        limit = page.get_by_role("region", name="Spending limit")
        await limit.get_by_label("Limit what jobs may cost").check()
        await limit.get_by_label("US dollars").fill("25")
        await limit.get_by_label("At the limit").select_option("block")
        await limit.get_by_role("button", name="Save").click()
        await expect(limit).to_contain_text("left of $25.00")

        await page.locator(LIST).fill("203.0.113.0/24\n198.51.100.7")
        async with page.expect_response(lambda answer: answer.request.method == "PUT"):
            await page.get_by_role("region", name="IP allowlist").get_by_role("button", name="Save").click()
        await expect(page.locator(LIST)).to_have_value("203.0.113.0/24\n198.51.100.7")  # as it is in force
        async with daemon.session.post(daemon.url + "/api/webhooks/replicate", data=b"{}") as answer:
            assert answer.status == 403
        await watched.goto("/settings")
        await expect(page.get_by_text("Rejected lately")).to_be_visible()
        await page.get_by_role("button", name="Add 127.0.0.1").click()
        await expect(page.locator(LIST)).to_have_value("203.0.113.0/24\n198.51.100.7\n127.0.0.1")
        async with daemon.session.post(daemon.url + "/api/webhooks/replicate", data=b"{}") as answer:
            assert answer.status == 401
        await watched.shot("settings")


async def test_an_address_is_added_while_nothing_is_listed_and_the_feed_is_compared_with(
    tmp_path: Path, sandbox: Sandbox, open_page: Open
) -> None:
    async with (
        wired_daemon(
            tmp_path, sandbox, TUNERD_IP_RANGES_URL="http://127.0.0.1:9/", TUNERD_WEBHOOK_IP_MODE="log-only"
        ) as daemon,
        open_page(daemon.url) as watched,
    ):
        page = watched.page
        async with daemon.session.post(daemon.url + "/api/webhooks/replicate", data=b"{}") as answer:
            assert answer.status == 401  # let in, and told
        await watched.goto("/settings")
        await expect(page.get_by_text("Would have been rejected lately")).to_be_visible()
        await page.get_by_role("button", name="Add 127.0.0.1").click()
        await expect(page.locator(LIST)).to_have_value("127.0.0.1")
        async with daemon.session.get(daemon.url + "/api/cloud/allowlist/explain?address=127.0.0.1") as answer:
            assert (await answer.json())["rule"] == "webhook_allowed_ips"


async def test_what_the_start_gives_cannot_be_changed_here(tmp_path: Path, sandbox: Sandbox, open_page: Open) -> None:
    async with (
        wired_daemon(
            tmp_path,
            sandbox,
            TUNERD_HARDWARE="gpu-h100",
            TUNERD_WEBHOOK_SECRET="whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw",
        ) as daemon,
        open_page(daemon.url, viewport=PHONE, color_scheme="dark") as watched,
    ):
        page = watched.page
        await watched.goto("/settings")
        await expect(page.get_by_role("region", name="Model and hardware")).to_contain_text("set by the environment")
        await expect(page.get_by_label("Hardware", exact=True)).to_be_disabled()
        await page.get_by_text("settings", exact=False).filter(has_text="All ").last.click()
        row = page.get_by_role("row").filter(has_text="TUNERD_WEBHOOK_SECRET")
        await expect(row).to_contain_text("set, not shown")
        await expect(row).to_contain_text("environment")
        assert await page.evaluate("document.documentElement.scrollWidth") <= PHONE["width"]
        await watched.check_accessible()
        await watched.shot("settings-phone-dark")
