"""Submitting from the page: from what is typed and dropped to the delivered file, without a reload."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from playwright.async_api import FilePayload, Route, expect

from daemon.cli.demo_data import write_dataset
from daemon.sandbox.server import Sandbox
from tests.support.browser import PHONE
from tests.support.daemon import Daemon
from tests.support.waiting import until

from .conftest import Open

CONFIG = {"model_type": "lora", "model_family": "flux", "max_train_steps": 1000, "pretrained_model_name_or_path": "f/x"}


def pictures(folder: Path) -> list[FilePayload]:
    write_dataset(folder)
    kinds = {".png": "image/png", ".txt": "text/plain"}
    return [
        FilePayload(name=file.name, mimeType=kinds[file.suffix], buffer=file.read_bytes())
        for file in sorted(folder.iterdir())
    ]


async def jobs(daemon: Daemon) -> list[dict[str, Any]]:
    async with daemon.session.get(daemon.url + "/api/cloud/jobs") as answer:
        found: list[dict[str, Any]] = (await answer.json())["jobs"]
        return found


async def test_from_the_form_to_the_delivered_file(daemon: Daemon, open_page: Open) -> None:
    async with open_page(daemon.url) as watched:
        page = watched.page
        await watched.goto("/submit")
        await page.get_by_label("Any Replicate model").check()
        await page.get_by_label("Owner and name").fill("acme/shapes")
        await page.get_by_label("Input").fill('{"steps": 40')
        await page.get_by_role("button", name="Submit").click()
        await expect(page.get_by_text("This is not JSON")).to_be_visible()
        await page.get_by_label("Input").fill('{"num_outputs": 1}')
        await page.get_by_role("button", name="Show what will be sent").click()
        dialog = page.get_by_role("dialog")
        await expect(dialog).to_contain_text('"webhook_events_filter"')
        await expect(dialog.locator("[data-checks]")).to_contain_text("Delivered to local")
        await expect(dialog.locator("[data-checks]")).to_contain_text("came back")
        await watched.shot("submit-dry-run", whole=False)
        await watched.check_accessible()
        await dialog.get_by_role("button", name="Close").click()
        assert await jobs(daemon) == []

        await page.get_by_role("button", name="Submit").click()
        await page.wait_for_url("**/jobs/*")
        await page.evaluate("window.loadedOnce = true")
        state = page.locator("#job-head")
        await expect(state).to_contain_text("completed", timeout=30_000)
        await expect(page.locator("#job-deliveries")).to_contain_text("delivered", timeout=30_000)
        assert await page.evaluate("window.loadedOnce")
    [job] = await jobs(daemon)
    assert (daemon.output_dir / job["job_id"] / "manifest.json").exists()


async def test_a_training_with_pictures_from_the_browser(daemon: Daemon, open_page: Open, tmp_path: Path) -> None:
    async with open_page(daemon.url) as watched:
        page = watched.page
        await watched.goto("/submit")
        await page.locator("[data-open-config]").set_input_files(
            FilePayload(name="flux-discs.json", mimeType="application/json", buffer=json.dumps(CONFIG).encode())
        )
        await expect(page.locator("#config")).to_have_value(json.dumps(CONFIG))
        await expect(page.locator("[data-estimate]")).to_contain_text("$", timeout=10_000)
        await page.locator("[data-pick-files]").set_input_files(pictures(tmp_path / "discs"))
        await expect(page.locator("[data-folders]")).to_contain_text("12 files")
        await watched.check_accessible()
        await watched.shot("submit")
        await page.get_by_role("button", name="Submit").click()
        await page.wait_for_url("**/jobs/*", timeout=30_000)
        await expect(page.locator("#job-head")).to_contain_text("flux-discs")
        await expect(page.locator("#job-deliveries")).to_contain_text("delivered", timeout=60_000)
        # A curve has come by itself.
        await watched.until("document.querySelectorAll('.plot canvas').length > 0")
    [job] = await jobs(daemon)
    assert job["config_name"] == "flux-discs"

    async def gone() -> bool:
        return not list((daemon.home / "data" / "uploads").iterdir())

    await until(gone)  # what was sent to the daemon is not kept there


async def test_an_earlier_job_fills_the_form_and_a_refusal_is_shown(daemon: Daemon, open_page: Open) -> None:
    order = {"model": "acme/image", "input": {"prompt": "a disc"}, "config_name": "discs"}
    async with daemon.session.post(daemon.url + "/api/cloud/jobs/submit", json=order) as answer:
        job_id = (await answer.json())["job_id"]
    async with open_page(daemon.url, viewport=PHONE) as watched:
        page = watched.page
        await watched.goto("/submit")
        await page.locator("[data-earlier]").select_option(job_id)
        await page.wait_for_url(f"**/submit?job={job_id}")
        await expect(page.get_by_label("Owner and name")).to_have_value("acme/image")
        assert json.loads(await page.get_by_label("Input").input_value()) == {"prompt": "a disc"}
        await page.get_by_label("Input").fill('{"prompt": "a disc", "num_outputs": 9}')
        watched.expected_errors = ("400", "422")
        await page.get_by_role("button", name="Submit").click()
        await expect(page.locator("#toasts")).to_contain_text("num_outputs")
        assert await page.evaluate("document.documentElement.scrollWidth") <= PHONE["width"]
        await watched.check_accessible()
        await watched.shot("submit-phone")
    assert len(await jobs(daemon)) == 1


async def test_a_lost_answer_and_a_second_click_make_one_job(
    daemon: Daemon, sandbox: Sandbox, open_page: Open, tmp_path: Path
) -> None:
    """The connection breaks after the order went out; then a tunnel answers in tunerd's place; then tunerd does."""
    lost: list[str] = []

    async def lose(route: Route) -> None:
        lost.append(route.request.post_data or "")
        number = len(lost)
        if number < 3:
            answer = await route.fetch()
            assert answer.status in {200, 201}, await answer.text()  # tunerd has done it
        if number == 1:
            await route.abort("connectionreset")
        elif number == 2:
            await route.fulfill(status=502, content_type="text/html", body="<h1>Bad Gateway</h1>")
        else:
            await route.continue_()

    async with open_page(daemon.url) as watched:
        page = watched.page
        watched.expected_errors = ("ERR_CONNECTION_RESET", "502")
        await page.route("**/api/cloud/jobs/submit", lose)
        await watched.goto("/submit")
        await page.get_by_label("config.json").fill(json.dumps(CONFIG))
        await page.locator("[data-pick-files]").set_input_files(pictures(tmp_path / "discs"))
        for times in (1, 2):
            await page.get_by_role("button", name="Submit").click()
            await expect(page.locator("#toasts")).to_contain_text("pressing Submit again here is safe")
            await expect(page.locator("#submit")).not_to_have_attribute("aria-busy", "true")
            assert len(lost) == times
            await page.locator("#toasts button").click()
        await page.get_by_role("button", name="Submit").click()
        await page.wait_for_url("**/jobs/*", timeout=30_000)
    assert len(set(lost)) == 1  # the same key, the same folder
    assert len(await jobs(daemon)) == 1
    created = [call for call in sandbox.requests if call.method == "POST" and call.path == "/v1/predictions"]
    assert len(created) == 1


async def test_what_the_submit_had_to_say_stands_on_the_page_of_the_job(
    daemon: Daemon, open_page: Open, tmp_path: Path
) -> None:
    """A limit that warns, and a file that stays here: the form's page is left before anybody could read its answer."""
    limit = {"cost_limit_enabled": True, "cost_limit_amount": 0.01, "cost_limit_action": "warn"}
    async with daemon.session.put(daemon.url + "/api/cloud/providers/replicate", json=limit) as answer:
        assert answer.status == 200, await answer.text()
    folder = tmp_path / "discs"
    write_dataset(folder)
    (folder / ".env").write_text("HF_TOKEN=hf_not_for_others")
    async with open_page(daemon.url) as watched:
        page = watched.page
        await watched.goto("/submit")
        await page.get_by_label("config.json").fill(json.dumps(CONFIG))
        await page.get_by_label("Folders on the daemon's machine").fill(str(folder))
        await page.get_by_role("button", name="Submit").click()
        await page.wait_for_url("**/jobs/*", timeout=30_000)
        told = page.get_by_role("region", name="Said when it was submitted")
        await expect(told).to_contain_text("The monthly cost limit is $0.01")
        await expect(told).to_contain_text("discs/.env was not sent")
        await page.reload()
        await expect(told).to_contain_text("discs/.env was not sent")
        await watched.check_accessible()
        await watched.shot("job-told")


async def test_a_configuration_is_saved_and_chosen_again(daemon: Daemon, open_page: Open) -> None:
    async with open_page(daemon.url) as watched:
        page = watched.page
        await watched.goto("/submit")
        await page.get_by_label("config.json").fill(json.dumps(CONFIG))
        await page.get_by_role("button", name="Save", exact=True).click()
        await expect(page.locator("#toasts")).to_contain_text("It needs a name")
        await page.get_by_label("Name", exact=True).fill("flux discs")
        await page.get_by_role("button", name="Save", exact=True).click()
        await expect(page.locator("#toasts")).to_contain_text("Saved as flux discs")
        await watched.goto("/submit")
        await page.get_by_label("Begin with a saved configuration").select_option("flux discs")
        await page.wait_for_url("**/submit?config=flux+discs")
        assert json.loads(await page.get_by_label("config.json").input_value()) == CONFIG
        await watched.check_accessible()
        await watched.shot("submit-saved")


async def test_saving_a_configuration_again_leaves_its_data_as_they_are(daemon: Daemon, open_page: Open) -> None:
    path = "/api/cloud/configs/flux"
    data = [{"id": "discs", "instance_data_dir": "/data/discs", "caption_strategy": "filename", "resolution": 512}]
    kept = {"config": CONFIG, "dataloader_config": data}
    async with daemon.session.put(daemon.url + path, json=kept) as answer:
        assert answer.status in {200, 201}, await answer.text()
    async with open_page(daemon.url) as watched:
        page = watched.page
        await watched.goto("/submit?config=flux")
        await page.get_by_label("config.json").fill(json.dumps({**CONFIG, "seed": 7}))
        await page.get_by_role("button", name="Save", exact=True).click()
        await expect(page.locator("#toasts")).to_contain_text("Saved as flux")
    saved = await daemon.get(path)
    assert (saved["config"]["seed"], saved["dataloader_config"]) == (7, data)
