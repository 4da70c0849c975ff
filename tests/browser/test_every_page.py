"""Every page with data on it: nothing serious for axe, nothing too wide, nothing from elsewhere."""

from __future__ import annotations

from pathlib import Path

import pytest
from playwright.async_api import expect

from daemon.sandbox.server import Sandbox
from tests.e2e.conftest import wired_daemon
from tests.e2e.test_loop import submit
from tests.support.browser import DESKTOP, PHONE
from tests.support.daemon import Daemon

from .conftest import Open

LONG = "a-name-that-somebody-made-of-everything-that-was-changed-" * 2
SCREENS = {"desktop": DESKTOP, "phone": PHONE}


async def lived_in(daemon: Daemon) -> dict[str, str]:
    """Jobs that ended well and badly, a destination and a receiver that fail, a limit; ids by kind of job."""
    broken = {"name": "broken", "type": "local", "options": {"path": "/proc/nothing"}}
    listed = (await daemon.get("/api/cloud/publishing"))["destinations"]
    wanted = [{name: one[name] for name in ("name", "type", "options")} for one in listed]
    chat = {"name": "chat", "url": "http://127.0.0.1:9/hook"}
    settings = {
        "cost_limit_enabled": True,
        "cost_limit_amount": 1.0,
        "webhook_allowed_ips": ["127.0.0.1", "2001:db8::/32"],
    }
    for path, body in (
        ("/api/cloud/publishing", {"destinations": [*wanted, broken]}),
        ("/api/cloud/notifications", {"endpoints": [chat]}),
        ("/api/cloud/providers/replicate", settings),
    ):
        async with daemon.session.put(daemon.url + path, json=body) as answer:
            assert answer.status == 200, await answer.text()
    found = {
        "completed": await submit(daemon, num_outputs=2, run_seconds=1),
        "failed": await submit(daemon, fail="oom", run_seconds=1),
    }
    order = {"model": "acme/shapes", "input": {"num_outputs": 1, "run_seconds": 1}, "config_name": LONG}
    found["named"] = str((await daemon.post("/api/cloud/jobs/submit", order, status=201))["job_id"])
    for job_id in found.values():
        await daemon.finished(job_id, delivered=False)  # one destination is tried again and again
    found["newest"] = await submit(daemon)
    return found


def paths(jobs: dict[str, str]) -> list[str]:
    shown = [f"/jobs/{jobs[name]}" for name in ("completed", "failed", "named", "newest")]
    settings = ["/settings", "/settings/notifications", "/settings/sessions"]
    publishing = ["/publishing", "/publishing/new/s3", "/publishing/new/huggingface", "/publishing/local"]
    compared = f"/compare?job={jobs['completed']}&job={jobs['failed']}"
    return ["/", *shown, compared, "/submit", *publishing, "/events", *settings, "/health"]


@pytest.mark.timeout(400)  # fourteen pages, each judged twice
@pytest.mark.parametrize("screen", SCREENS)
async def test_every_page(tmp_path: Path, sandbox: Sandbox, open_page: Open, screen: str) -> None:
    async with wired_daemon(tmp_path, sandbox) as daemon:
        jobs = await lived_in(daemon)
        async with open_page(daemon.url, viewport=SCREENS[screen]) as watched:
            for path in paths(jobs):
                await watched.goto(path)
                await expect(watched.page.locator("h1")).to_have_count(1)
                name = path.split("?")[0].strip("/").replace("/", "-") or "jobs"
                for kind, job_id in jobs.items():
                    name = name.replace(job_id, kind)
                await watched.shot(f"every-{name}-{screen}")
                wide = await watched.page.evaluate("document.documentElement.scrollWidth")
                assert wide <= SCREENS[screen]["width"], path
                # What leads to another address is a link, however it looks; what does something is a button.
                assert await watched.page.locator("[role=button]").count() == 0, path
                await watched.check_accessible()


@pytest.mark.parametrize("width", [320, 390])
async def test_a_phone_s_navigation_is_seen_whole(daemon: Daemon, open_page: Open, width: int) -> None:
    async with open_page(daemon.url, viewport={"width": width, "height": 700}) as watched:
        await watched.goto("/publishing")
        links = watched.page.get_by_role("navigation", name="Main").get_by_role("link")
        assert await links.count() == 6
        right = 0.0
        for link in await links.all():
            box = await link.bounding_box()
            assert box is not None
            assert box["x"] >= right - 1 and box["x"] + box["width"] <= width, await link.inner_text()
            assert box["height"] >= 40  # a finger's breadth
            assert await link.evaluate("link => link.scrollWidth <= link.clientWidth + 8"), await link.inner_text()
            right = box["x"] + box["width"]
        await watched.shot(f"navigation-{width}", whole=False)


async def test_an_address_of_nothing_is_a_page(daemon: Daemon, open_page: Open) -> None:
    async with open_page(daemon.url, viewport=PHONE) as watched:
        watched.expected_errors = ("404",)
        await watched.goto("/jobs/job_gone")
        await expect(watched.page.get_by_role("heading", name="There is no such job")).to_be_visible()
        await watched.check_accessible()
        await watched.page.get_by_role("link", name="All jobs").click()
        await expect(watched.page).to_have_url(daemon.url + "/")
