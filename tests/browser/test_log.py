"""The live log: every line once, whatever happens to the daemon, and a hundred thousand of them."""

from __future__ import annotations

import asyncio
import io
import itertools
import statistics
from typing import Any

from playwright.async_api import Page, expect

from daemon.sandbox.server import Sandbox
from tests.support.daemon import Daemon
from tests.support.signed import PATH, prediction, signed

from .conftest import Open

MANY = 100_000
DRAWN_LINES = 200  # elements, however long the log is
_IDS = itertools.count(1)

# Every line's number and text, collected while the log is scrolled through: only what is in sight is in the page.
_ALL_LINES = """async () => {
  const view = document.querySelector('[data-log-view]');
  const found = new Map();
  for (let top = 0; ; top += view.clientHeight) {
    view.scrollTop = top;
    await new Promise((done) => requestAnimationFrame(() => requestAnimationFrame(done)));
    for (const row of document.querySelectorAll('.log-line')) found.set(Number(row.dataset.line), row.textContent);
    if (top + view.clientHeight >= view.scrollHeight) return [...found.entries()].sort((a, b) => a[0] - b[0]);
  }
}"""

_SCROLL = """async (share) => {
  const view = document.querySelector('[data-log-view]');
  view.scrollTop = view.scrollHeight * share;
  await new Promise((done) => requestAnimationFrame(() => requestAnimationFrame(done)));
}"""


async def scrolled(page: Page, steps: int = 40) -> list[float]:
    """Jump down the log; how long the page's thread computed for each frame, in ms. Other processes cost it nothing."""
    debugger = await page.context.new_cdp_session(page)
    await debugger.send("Performance.enable", {"timeDomain": "threadTicks"})

    async def spent() -> float:
        metrics = (await debugger.send("Performance.getMetrics"))["metrics"]
        return float(next(one["value"] for one in metrics if one["name"] == "TaskDuration")) * 1000

    found, before = [], await spent()
    for step in range(1, steps + 1):
        await page.evaluate(_SCROLL, step / (steps + 1))
        now = await spent()
        found.append(now - before)
        before = now
    await debugger.detach()
    return found


async def send(daemon: Daemon, sandbox: Sandbox, **members: Any) -> None:
    """One signed event, as Replicate sends it."""
    body = prediction("plog", **members)
    headers = signed(body, f"msg_{next(_IDS)}", secret=sandbox.webhook_secret)
    async with daemon.session.post(daemon.url + PATH, data=io.BytesIO(body), headers=headers) as answer:
        assert answer.status == 200, await answer.text()


def lines(first: int, count: int) -> str:
    return "".join(f"line {number} of the training\n" for number in range(first, first + count))


async def shown(page: Page) -> list[str]:
    found = await page.evaluate(_ALL_LINES)
    assert [number for number, _ in found] == list(range(1, len(found) + 1))
    return [text for _, text in found]


async def test_every_line_once_across_a_restart(daemon: Daemon, sandbox: Sandbox, open_page: Open) -> None:
    await send(daemon, sandbox, logs=lines(1, 300))
    async with open_page(daemon.url) as watched:
        watched.expected_errors = (
            "ERR_CONNECTION_REFUSED",
            "ERR_INCOMPLETE_CHUNKED",
            "ERR_CONNECTION_RESET",
            "htmx:sse:error",
        )
        page, words = watched.page, watched.page.locator("[data-log-count]")
        await watched.goto("/jobs/plog")
        await expect(words).to_have_text("300 lines, live")
        await daemon.kill()
        await asyncio.sleep(1)  # so that the page has tried, and failed
        await daemon.start()
        await send(daemon, sandbox, logs=lines(1, 450))
        await expect(words).to_have_text("450 lines, live", timeout=60_000)
        assert await daemon.stop() == 0
        await daemon.start()
        await send(daemon, sandbox, status="succeeded", logs=lines(1, 500), output="done")
        await expect(words).to_have_text("500 lines", timeout=60_000)
        assert await shown(page) == lines(1, 500).splitlines()
        await expect(page.locator("#job-head")).to_contain_text("completed", timeout=30_000)


async def test_a_hundred_thousand_lines(daemon: Daemon, sandbox: Sandbox, open_page: Open) -> None:
    log = lines(1, MANY - 2) + "WARNING: the learning rate is high\nRuntimeError: it broke\n"
    await send(daemon, sandbox, status="failed", error="it broke", logs=log)
    async with open_page(daemon.url) as watched:
        page = watched.page
        await watched.goto("/jobs/plog")
        words, view = page.locator("[data-log-count]"), page.locator("[data-log-view]")
        await expect(words).to_have_text("100,000 lines", timeout=60_000)
        await expect(view).to_contain_text("RuntimeError: it broke")  # it follows to the end
        assert await page.locator(".log-line").count() < DRAWN_LINES

        await page.evaluate("document.querySelector('[data-log-view]').scrollTop = 0")
        await expect(view).to_contain_text("line 1 of the training")
        await expect(page.get_by_role("button", name="Follow")).to_have_attribute("aria-pressed", "false")
        frames = await scrolled(page)
        assert statistics.median(frames) <= 50, frames  # ms; about 7
        assert max(frames) <= 500, frames

        await page.get_by_role("searchbox", name="Search the log").fill("LINE 77777 ")
        await expect(words).to_have_text("1 of 100,000 lines")
        await expect(view.locator("mark")).to_have_text("line 77777 ")
        await page.get_by_role("searchbox", name="Search the log").fill("")
        await page.get_by_label("Level").select_option("error")
        await expect(words).to_have_text("1 of 100,000 lines")
        await page.get_by_label("Level").select_option("warning")
        await expect(words).to_have_text("2 of 100,000 lines")
        await page.get_by_label("Level").select_option("all")
        await page.get_by_role("button", name="Follow").click()
        await expect(view).to_contain_text("RuntimeError: it broke")

        async with page.expect_download() as download:
            await page.get_by_role("link", name="Download").click()
        assert await (await download.value).path()
        assert (await (await download.value).path()).read_text() == log  # type: ignore[union-attr]
        await watched.shot("log-long", whole=False)


async def test_a_progress_bar_is_one_line(daemon: Daemon, sandbox: Sandbox, open_page: Open) -> None:
    bars = "".join(f"\rSteps: {number}/100" for number in range(1, 51))
    await send(daemon, sandbox, logs=f"begin\n{bars}")
    async with open_page(daemon.url) as watched:
        await watched.goto("/jobs/plog")
        await expect(watched.page.locator("[data-log-count]")).to_have_text("2 lines, live")
        assert await shown(watched.page) == ["begin", "Steps: 50/100"]
        await send(daemon, sandbox, logs=f"begin\n{bars}\rSteps: 51/100\n\x1b[31mred\x1b[0m <b>end</b>\n")
        await expect(watched.page.locator("[data-log-count]")).to_have_text("3 lines, live")
        assert await shown(watched.page) == ["begin", "Steps: 51/100", "red <b>end</b>"]
