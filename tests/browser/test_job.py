"""The page of one job, used as a person would."""

from __future__ import annotations

from playwright.async_api import expect

from tests.e2e.test_loop import submit
from tests.support.browser import PHONE
from tests.support.daemon import Daemon

from .conftest import Open

PICTURES = {"shape": "list", "files": 2, "file_name": "out.png", "file_bytes": 20_000}


async def test_a_training_is_watched_to_its_end(daemon: Daemon, open_page: Open) -> None:
    job_id = await submit(daemon, steps=300, run_seconds=10, **PICTURES)
    async with open_page(daemon.url) as watched:
        page = watched.page
        await watched.goto(f"/jobs/{job_id}")
        await page.evaluate("window.loadedOnce = true")
        percent = page.locator(".percent")
        await expect(percent).to_be_visible(timeout=30_000)
        seen = await percent.inner_text()
        await expect(percent).not_to_have_text(seen)
        curves = page.locator("[data-curves]")
        await expect(curves.locator(".plot")).to_have_count(3, timeout=30_000)
        await watched.shot("job-running")
        points = int(await curves.get_attribute("data-points") or 0)
        await watched.until(f"Number(document.querySelector('[data-curves]').dataset.points) > {points}")
        await expect(page.locator("#job-head")).to_contain_text("completed", timeout=60_000)
        await expect(page.locator("#job-deliveries")).to_contain_text("delivered", timeout=30_000)
        await expect(page.locator("#job-pictures img")).to_have_count(2)
        assert await page.locator("#job-pictures img").first.evaluate("image => image.decode().then(() => true)")
        await expect(page.get_by_role("region", name="Log lines")).to_contain_text("Training complete")
        assert await page.evaluate("window.loadedOnce")
        await watched.check_accessible()
        await watched.shot("job-done")
        await page.emulate_media(color_scheme="dark")
        await page.wait_for_timeout(300)
        await watched.shot("job-done-dark")
        await page.set_viewport_size(PHONE)
        await page.wait_for_timeout(300)
        assert await page.evaluate("document.documentElement.scrollWidth") <= PHONE["width"]
        await watched.shot("job-phone-dark")


async def test_an_event_is_looked_at_and_verified_again(daemon: Daemon, open_page: Open) -> None:
    job_id = await submit(daemon, run_seconds=1)
    await daemon.finished(job_id)
    async with open_page(daemon.url) as watched:
        page = watched.page
        await watched.goto(f"/jobs/{job_id}")
        await page.get_by_role("button", name="completed").click()
        dialog = page.get_by_role("dialog")
        await expect(dialog).to_contain_text("webhook-signature")
        await expect(dialog.locator(".body")).to_contain_text('"status": "succeeded"')
        await dialog.get_by_role("button", name="Verify again").click()
        await expect(dialog.get_by_role("status")).to_contain_text("valid The signature matches the body")
        await watched.check_accessible()
        await watched.shot("event", whole=False)
        async with page.expect_download() as download:
            await dialog.get_by_role("link", name="Download").click()
        assert b'"succeeded"' in (await (await download.value).path()).read_bytes()
        await page.keyboard.press("Escape")
        await expect(dialog).to_be_hidden()


async def test_a_job_is_cancelled_after_a_question(daemon: Daemon, open_page: Open) -> None:
    job_id = await submit(daemon, run_seconds=120)
    async with open_page(daemon.url) as watched:
        page = watched.page
        await watched.goto(f"/jobs/{job_id}")
        await page.get_by_role("button", name="Cancel", exact=True).click()
        dialog = page.get_by_role("dialog", name="Cancel this job?")
        await expect(dialog).to_be_visible()
        await watched.shot("cancel", whole=False)
        await page.keyboard.press("Enter")  # the safe answer has the focus
        await expect(dialog).to_be_hidden()
        assert (await daemon.job(job_id))["cancel_requested"] is False
        await page.get_by_role("button", name="Cancel", exact=True).click()
        await page.get_by_role("button", name="Cancel the job").click()
        await expect(page.locator("#job-head")).to_contain_text("cancelled", timeout=60_000)
        await expect(page.locator("#toasts")).to_contain_text("Replicate is being told to stop")
        await expect(page.get_by_role("button", name="Cancel", exact=True)).to_have_count(0)


async def test_what_went_wrong_and_what_helps(daemon: Daemon, open_page: Open) -> None:
    job_id = await submit(daemon, fail="oom", steps=20, run_seconds=1)
    async with open_page(daemon.url) as watched:
        trouble = watched.page.locator("#job-trouble")
        await watched.goto(f"/jobs/{job_id}")
        await expect(trouble).to_contain_text("CUDA out of memory", timeout=60_000)
        for remedy in ("batch smaller", "gradient checkpointing", "Train a LoRA"):
            await expect(trouble).to_contain_text(remedy)
        await watched.check_accessible()
        await watched.shot("job-failed")


async def test_a_file_is_downloaded_and_delivered_again(daemon: Daemon, open_page: Open) -> None:
    job_id = await submit(daemon, file_bytes=5000, run_seconds=1)
    await daemon.finished(job_id)
    async with open_page(daemon.url) as watched:
        page = watched.page
        await watched.goto(f"/jobs/{job_id}")
        async with page.expect_download() as download:
            await page.get_by_role("link", name="pytorch_lora_weights.safetensors").click()
        content = (await (await download.value).path()).read_bytes()
        assert content == (daemon.output_dir / job_id / "pytorch_lora_weights.safetensors").read_bytes()
        (daemon.output_dir / job_id / "pytorch_lora_weights.safetensors").unlink()
        await page.get_by_role("button", name="Again the delivery to local").click()
        await expect(page.locator("#toasts")).to_contain_text("begins again")
        await expect(page.locator("#job-deliveries")).to_contain_text("delivered", timeout=60_000)
        await daemon.finished(job_id)
        assert (daemon.output_dir / job_id / "pytorch_lora_weights.safetensors").read_bytes() == content


async def test_pictures_are_shown_before_they_are_delivered(daemon: Daemon, open_page: Open) -> None:
    await daemon.post("/api/cloud/publishing/local/pause", {}, status=200)
    job_id = await submit(daemon, run_seconds=1, **PICTURES)
    async with open_page(daemon.url) as watched:
        page = watched.page
        await watched.goto(f"/jobs/{job_id}")
        pictures = page.locator("#job-pictures img")
        await expect(pictures).to_have_count(2, timeout=60_000)
        await expect(page.locator("#job-deliveries")).to_contain_text("pending")
        for place in range(2):
            assert await pictures.nth(place).evaluate("image => image.decode().then(() => image.naturalWidth)") > 0
        await watched.shot("job-pictures")
        await page.get_by_role("button", name="Cancel the delivery to local").click()
        await page.get_by_role("button", name="Cancel the delivery", exact=True).click()
        await expect(page.locator("#job-deliveries")).to_contain_text("cancelled by you")
