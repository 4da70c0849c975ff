"""What the form of a new job has besides its fields: dropping folders, paths, progress, deliveries, the limit's bar."""

from __future__ import annotations

import asyncio
import contextlib
import io
import json
import zipfile
from collections import Counter
from pathlib import Path

from playwright.async_api import FileChooser, Locator, Page, Route, expect
from playwright.async_api import TimeoutError as PlaywrightTimeout

from daemon.cli.demo_data import IMAGES, write_dataset
from daemon.sandbox.server import Sandbox
from tests.support.daemon import Daemon

from .conftest import Open
from .test_submit import CONFIG

LIMIT = {"cost_limit_enabled": True, "cost_limit_amount": 40, "cost_limit_period": "daily", "cost_limit_action": "warn"}


async def drop(page: Page, *paths: Path) -> None:
    """Drag files and folders of this machine over the drop zone, and let go: the browser's own drag, not a script's."""
    zone = page.locator("[data-drop]")
    await zone.scroll_into_view_if_needed()
    box = await zone.bounding_box()
    assert box is not None
    debugger = await page.context.new_cdp_session(page)
    data = {"items": [], "files": [str(path) for path in paths], "dragOperationsMask": 1}
    for kind in ("dragEnter", "dragOver", "drop"):
        where = {"x": box["x"] + box["width"] / 2, "y": box["y"] + box["height"] / 2}
        await debugger.send("Input.dispatchDragEvent", {"type": kind, **where, "data": data})
        if kind == "dragOver":
            await expect(zone).to_have_class("drop over")
    await debugger.detach()
    await expect(zone).to_have_class("drop")


def packed(sandbox: Sandbox) -> list[set[str]]:
    """The names in each archive that reached Replicate."""
    return [set(zipfile.ZipFile(io.BytesIO(upload.data)).namelist()) for upload in sandbox.uploads.values()]


async def test_a_dropped_folder_and_a_path_to_one_of_two_destinations(
    daemon: Daemon, sandbox: Sandbox, open_page: Open, tmp_path: Path
) -> None:
    write_dataset(tmp_path / "discs")
    (tmp_path / "discs" / "more").mkdir()
    for name in ("disc-0.png", "disc-0.txt"):
        (tmp_path / "discs" / name).rename(tmp_path / "discs" / "more" / name)
    write_dataset(tmp_path / "cats")
    extra = tmp_path / "single.png"
    extra.write_bytes((tmp_path / "cats" / "disc-1.png").read_bytes())
    second = {"name": "models", "type": "local", "options": {"path": str(tmp_path / "models")}}
    body = {"destinations": [{"name": "local", "type": "local"}, second]}
    async with daemon.session.put(daemon.url + "/api/cloud/publishing", json=body) as answer:
        assert answer.status == 200, await answer.text()

    async with open_page(daemon.url) as watched:
        page = watched.page
        await watched.goto("/submit")
        await page.locator("#config").fill(json.dumps(CONFIG))
        folders = page.locator("[data-folders] li")
        await drop(page, tmp_path / "discs")
        await expect(folders).to_have_count(1)
        await expect(folders).to_contain_text(f"{2 * IMAGES} files")
        await expect(folders.locator("strong")).to_have_text("discs")
        await drop(page, extra)
        await expect(folders).to_have_count(2)
        await folders.nth(1).get_by_role("button", name="Take out").click()
        await expect(folders).to_have_count(1)
        await page.get_by_label("Folders on the daemon's machine").fill(f"{tmp_path / 'cats'}\n")
        await page.get_by_role("checkbox", name="local", exact=True).uncheck()
        await watched.shot("submit-dropped")
        await page.get_by_role("button", name="Submit").click()
        await page.wait_for_url("**/jobs/*", timeout=60_000)
        await expect(page.locator("#job-deliveries")).to_contain_text("delivered", timeout=60_000)
        await expect(page.locator("#job-deliveries li")).to_have_count(1)
        await expect(page.locator("#job-deliveries li")).to_contain_text("models")
    [names] = packed(sandbox)
    pictures = Counter(name.split("/")[0].rpartition("-")[2] for name in names if name.endswith(".png"))
    assert pictures == {"discs": IMAGES, "cats": IMAGES}, names


async def test_progress_is_shown_and_the_limit_s_bar(daemon: Daemon, open_page: Open, tmp_path: Path) -> None:
    async with daemon.session.put(daemon.url + "/api/cloud/providers/replicate", json=LIMIT) as answer:
        assert answer.status == 200, await answer.text()
    write_dataset(tmp_path / "discs")
    passed, go_on = 0, asyncio.Event()

    async def hold(route: Route) -> None:
        """The first few files go through, the others when they may."""
        nonlocal passed
        if passed >= IMAGES:
            await go_on.wait()
        passed += 1
        await route.continue_()

    async with open_page(daemon.url) as watched:
        page = watched.page
        await page.route("**/api/cloud/uploads/*/file*", hold)
        await watched.goto("/submit")
        await expect(page.get_by_text("$40.00 left of $40.00")).to_be_visible()
        bar = page.get_by_role("progressbar", name="Share of the spending limit")
        assert await bar.evaluate("bar => [bar.value, bar.max]") == [0, 100]
        await page.locator("#config").fill(json.dumps(CONFIG))
        await drop(page, tmp_path / "discs")
        sending = page.locator("[data-sending]")
        await expect(sending).to_be_hidden()
        await page.get_by_role("button", name="Submit").click()
        await expect(sending).to_contain_text("Sending discs to tunerd: ")
        sent, all_of_it = await sending.get_by_role("progressbar").evaluate("bar => [bar.value, bar.max]")
        assert 0 < sent < all_of_it
        await watched.shot("submit-sending")
        go_on.set()
        await page.wait_for_url("**/jobs/*", timeout=60_000)
    assert passed == 2 * IMAGES


async def test_how_far_the_daemon_is_with_the_order_is_shown(
    daemon: Daemon, sandbox: Sandbox, open_page: Open, tmp_path: Path
) -> None:
    """What `tunerd submit` shows in a terminal, of this order and of no other."""
    write_dataset(tmp_path / "discs")
    async with open_page(daemon.url) as watched:
        page = watched.page
        await watched.goto("/submit")
        key = await page.locator("#submit").get_attribute("data-key")
        await page.locator("#config").fill(json.dumps(CONFIG))
        await page.get_by_label("Folders on the daemon's machine").fill(str(tmp_path / "discs"))
        sandbox.faults.update({"latency": 3})
        await page.get_by_role("button", name="Submit").click()
        sending = page.locator("[data-sending]")
        await expect(sending).to_contain_text("Sending the dataset to Replicate")
        await page.wait_for_url("**/jobs/*", timeout=60_000)
        looks = [request for request in watched.requests if request.url.endswith("/jobs/submit/progress")]
        assert {await look.header_value("Idempotency-Key") for look in looks} == {key}
    [names] = packed(sandbox)
    assert names


async def chooser_opened_by(button: Locator, key: str) -> FileChooser:
    """Pressed again where nothing opens: a busy browser loses a key."""
    async with asyncio.timeout(60):
        while True:
            with contextlib.suppress(PlaywrightTimeout):
                async with button.page.expect_file_chooser(timeout=5_000) as opened:
                    await button.press(key)
                return await opened.value


async def test_the_buttons_that_open_files_are_buttons(daemon: Daemon, open_page: Open, tmp_path: Path) -> None:
    """By keyboard, too: a label in a button's clothes had to be taught that."""
    write_dataset(tmp_path / "discs")
    async with open_page(daemon.url) as watched:
        page = watched.page
        await watched.goto("/submit")
        for key, name in (("Enter", "Choose a folder"), (" ", "Choose files")):
            button = page.get_by_role("button", name=name)
            chooser = await chooser_opened_by(button, key)
            await chooser.set_files(
                tmp_path / "discs" if name.endswith("folder") else tmp_path / "discs" / "disc-0.png"
            )
        await expect(page.locator("[data-folders] li")).to_have_count(2)
