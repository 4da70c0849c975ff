"""The page of one job while something moves or fails: pictures as they come, bytes on their way, Retry, Copy."""

from __future__ import annotations

from playwright.async_api import expect

from daemon.sandbox.server import Sandbox
from tests.e2e.test_loop import submit
from tests.support.daemon import Daemon

from .conftest import Open
from .test_log import send

FILE = "pytorch_lora_weights.safetensors"


async def test_pictures_come_while_it_runs(daemon: Daemon, sandbox: Sandbox, open_page: Open) -> None:
    """An iterator's output so far, as ``output`` events bring it: first the sandbox's own, then held back between."""
    many = {"shape": "list", "files": 3, "file_name": "out.png", "file_bytes": 20_000, "run_seconds": 6}
    job = await daemon.finished(await submit(daemon, **many))
    events = (await daemon.get(f"/api/cloud/jobs/{job['job_id']}/events"))["events"]
    assert "output" in {event["event"] for event in events}
    await send(daemon, sandbox, status="processing", output=job["output"][:1])
    async with open_page(daemon.url) as watched:
        page = watched.page
        await watched.goto("/jobs/plog")
        await page.evaluate("window.loadedOnce = true")
        pictures = page.locator("#job-pictures img")
        await expect(pictures).to_have_count(1)
        assert await pictures.first.evaluate("image => image.decode().then(() => image.naturalWidth)") > 0
        await send(daemon, sandbox, status="processing", output=job["output"])
        await expect(pictures).to_have_count(3)
        await expect(page.locator("#job-head")).to_contain_text("running")
        assert await page.evaluate("window.loadedOnce")
        await watched.shot("job-pictures-arriving")


async def test_the_bytes_of_a_delivery_move(daemon: Daemon, sandbox: Sandbox, open_page: Open) -> None:
    sandbox.faults.output_bytes_per_second = 400_000
    job_id = await submit(daemon, file_bytes=1_500_000, run_seconds=1)
    async with open_page(daemon.url) as watched:
        page = watched.page
        await watched.goto(f"/jobs/{job_id}")
        bar = page.get_by_role("progressbar", name="Delivery to local")
        await expect(bar).to_be_visible(timeout=30_000)
        await watched.until("document.querySelector('#job-deliveries progress')?.value > 0")
        await expect(page.locator("#job-deliveries")).to_contain_text(" of 1.4 MiB")
        await watched.shot("job-delivering")
        await expect(page.locator("#job-deliveries")).to_contain_text("delivered", timeout=60_000)
        await expect(bar).to_have_count(0)


async def test_a_failed_delivery_is_tried_again_and_the_log_is_copied(daemon: Daemon, open_page: Open) -> None:
    job_id = await submit(daemon, run_seconds=2, file_bytes=5000)
    in_the_way = daemon.output_dir / job_id / FILE
    in_the_way.mkdir(parents=True)
    async with open_page(daemon.url, permissions=["clipboard-read", "clipboard-write"]) as watched:
        page = watched.page
        await watched.goto(f"/jobs/{job_id}")
        deliveries = page.locator("#job-deliveries")
        await expect(deliveries).to_contain_text("a folder stands where the file", timeout=60_000)
        await watched.check_accessible()
        in_the_way.rmdir()
        await deliveries.get_by_role("button", name="Retry the delivery to local").click()
        await expect(page.locator("#toasts")).to_contain_text("begins again")
        await expect(deliveries).to_contain_text("delivered", timeout=60_000)
        await expect(deliveries).not_to_contain_text("a folder stands")

        await expect(page.get_by_role("region", name="Log lines")).to_contain_text("Training complete")
        await page.locator("[data-log-copy]").click()
        await expect(page.locator("#toasts")).to_contain_text("Copied the log")
        copied = await page.evaluate("navigator.clipboard.readText()")
        async with daemon.session.get(f"{daemon.url}/api/cloud/jobs/{job_id}/logs") as answer:
            log = await answer.text()
        # As it is shown: of a progress bar that was drawn over and over, the last.
        assert copied.rstrip("\n").split("\n") == [line.rpartition("\r")[2] for line in log.rstrip("\n").split("\n")]
        toasts = await page.locator("#toasts > *").count()
        await page.get_by_role("button", name="Copy the job's id").click()
        await watched.until(f"document.querySelectorAll('#toasts > *').length > {toasts}")
        assert await page.evaluate("navigator.clipboard.readText()") == job_id
    assert in_the_way.stat().st_size == 5000


async def test_by_keyboard_every_control_is_reached_and_seen(daemon: Daemon, open_page: Open) -> None:
    """Tab goes through all of it and out again at the end; what has the focus is marked, the slider too."""
    job_id = await submit(daemon)
    await daemon.finished(job_id)
    async with open_page(daemon.url) as watched:
        page = watched.page
        await watched.goto(f"/jobs/{job_id}")
        await watched.until("document.querySelectorAll('.plot canvas').length > 0")
        seen = set()
        for _ in range(120):
            await page.keyboard.press("Tab")
            name, marked = await page.evaluate(
                """() => {
                  const element = document.activeElement, style = getComputedStyle(element);
                  const outlined = style.outlineStyle !== "none" && parseFloat(style.outlineWidth) > 0;
                  const name = element.getAttribute("aria-label") || element.textContent.trim();
                  return [element === document.body ? null : name, outlined || style.boxShadow !== "none"];
                }"""
            )
            if name is None:
                break
            assert marked, name
            seen.add(name)
        else:
            raise AssertionError("no end of it")
        assert {"Smoothing", "Log scale", "Submit again", "Download", "Log lines"} <= seen
