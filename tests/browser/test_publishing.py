"""Destinations on the page: added, tried, changed, removed; what is secret is never shown again."""

from __future__ import annotations

import aiohttp
from playwright.async_api import expect

from tests.e2e.test_loop import submit
from tests.support.daemon import Daemon

from .conftest import Open


async def destinations(daemon: Daemon) -> list[dict[str, object]]:
    async with daemon.session.get(daemon.url + "/api/cloud/publishing") as answer:
        found: list[dict[str, object]] = (await answer.json())["destinations"]
        return found


async def test_a_folder_is_added_tried_changed_and_removed(daemon: Daemon, open_page: Open) -> None:
    folder = daemon.home / "models"
    async with open_page(daemon.url) as watched:
        page = watched.page
        await watched.goto("/publishing")
        await expect(page.get_by_role("heading", name="local")).to_be_visible()
        await page.get_by_role("link", name="Local folder").click()
        await page.get_by_label("Name").fill("models")
        path = page.locator("[name='options.path']")
        await path.fill("not/absolute")
        watched.expected_errors = ("400",)
        await page.get_by_role("button", name="Save").click()
        await expect(page.get_by_role("alert")).to_be_visible()
        await watched.check_accessible()
        await path.fill(str(folder))
        await page.get_by_role("button", name="Save").click()

        card = page.locator("[data-destination=models]")
        await expect(card).to_contain_text(str(folder))
        await card.get_by_role("button", name="Test").click()
        await expect(card.get_by_role("status")).to_contain_text("works")
        await watched.check_accessible()
        await watched.shot("publishing")

        await card.get_by_role("link", name="Edit models").click()
        await expect(path).to_have_value(str(folder))
        await page.get_by_role("link", name="Back").click()
        await card.get_by_role("button", name="Remove models").click()
        await page.get_by_role("dialog").get_by_role("button", name="Remove").click()
        await expect(card).to_have_count(0)
    assert [one["name"] for one in await destinations(daemon)] == ["local"]


async def test_a_secret_is_kept_when_left_out_and_removed_when_asked(daemon: Daemon, open_page: Open) -> None:
    async with open_page(daemon.url) as watched:
        page = watched.page
        await watched.goto("/publishing/new/s3")
        await page.locator("[name='options.bucket']").fill("models")
        await page.locator("[name='options.access_key_id']").fill("AKIA")
        await page.locator("[name='options.secret_access_key']").fill("hidden-secret")
        await page.get_by_role("button", name="Save").click()
        card = page.locator("[data-destination=s3]")
        await expect(card).to_contain_text("stored, not shown")
        await card.get_by_role("link", name="Edit").click()
        assert "hidden-secret" not in await page.content()
        await page.locator("[name='options.region']").fill("eu-central-1")
        await page.get_by_role("button", name="Save").click()
        await expect(card).to_contain_text("eu-central-1")
        await expect(card).to_contain_text("stored, not shown")
        await watched.shot("publishing-s3")
        await card.get_by_role("link", name="Edit").click()
        await page.get_by_label("Remove the stored one").check()
        await page.get_by_role("button", name="Save").click()
        await expect(card).to_contain_text("eu-central-1")
        await expect(card).not_to_contain_text("stored, not shown")


async def test_unknown_ones_are_not_found(daemon: Daemon) -> None:
    for path in ("/publishing/nothing", "/publishing/new/nothing"):
        async with aiohttp.ClientSession() as session, session.get(daemon.url + path) as answer:
            assert answer.status == 404


async def test_a_destination_is_paused_and_resumed(daemon: Daemon, open_page: Open) -> None:
    async with open_page(daemon.url) as watched:
        page = watched.page
        await watched.goto("/publishing")
        card = page.locator("[data-destination=local]")
        await card.get_by_role("button", name="Pause local").click()
        await expect(card).to_contain_text("paused")
        job_id = await submit(daemon, file_bytes=5000, run_seconds=1)
        job = await daemon.finished(job_id, delivered=False)
        assert [one["paused"] for one in await destinations(daemon)] == [True]
        assert [one["status"] for one in job["deliveries"]] == ["pending"]
        await card.get_by_role("button", name="Resume local").click()
        await expect(card.locator(".badge", has_text="paused")).to_have_count(0)
        await daemon.finished(job_id)
    assert (daemon.output_dir / job_id / "manifest.json").exists()
