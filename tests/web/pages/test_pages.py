"""The plain pages: complete without scripts, and text from outside stays text."""

from __future__ import annotations

import re
from collections.abc import AsyncIterator
from html.parser import HTMLParser
from pathlib import Path

import aiohttp
import pytest

from daemon.web.pages.static import ASSETS
from tests.support.webapp import Served, running_app

EVIL = "<script>alert(1)</script><img src=x onerror=alert(1)>\"'&{{7*7}}"


class Page(HTMLParser):
    """Tags and attributes of a page."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))


@pytest.fixture
async def served(tmp_path: Path) -> AsyncIterator[Served]:
    async with running_app(tmp_path) as served:
        yield served


async def page(served: Served, path: str) -> str:
    async with served.session.get(served.url + path) as answer:
        assert answer.status == 200
        assert answer.content_type == "text/html"
        policy = answer.headers["Content-Security-Policy"]
        assert "default-src 'none'" in policy
        assert "unsafe" not in policy
        return await answer.text()


async def test_no_jobs(served: Served) -> None:
    assert "No jobs yet" in await page(served, "/")


async def test_the_list_leads_to_every_job(served: Served) -> None:
    for number in range(52):
        await served.event(f"p{number}")
    first = await page(served, "/")
    links = re.findall(r'href="(/jobs/[^"]+)"', first)
    following = re.search(r'href="(/\?page=2)" rel="next"', first)
    assert following is not None
    links += re.findall(r'href="(/jobs/[^"]+)"', await page(served, following[1]))
    assert len(set(links)) == 52
    assert "job_p51" in await page(served, links[0])


async def test_a_job_with_everything(served: Served) -> None:
    log = "x" * 30_000 + "\nSteps:  10%|# | 1/10 [00:01<00:09, 1it/s, step_loss=0.5]"
    await served.event("p1", status="succeeded", logs=log, output="https://replicate.delivery/a.png")
    text = await page(served, "/jobs/p1")
    output, log_path = "https://replicate.delivery/a.png", "/api/cloud/jobs/job_p1/logs"
    for part in ("completed", "1 / 10", "local", "pending", output, log_path):
        assert part in text
    assert "x" * 1000 not in text  # the log comes by its own stream


async def test_text_from_outside_stays_text(served: Served) -> None:
    await served.event("p1", status="failed", model=EVIL, version=EVIL, logs=EVIL, error=EVIL, output={EVIL: EVIL})
    for path in ("/", "/jobs/p1"):
        text = await page(served, path)
        assert "alert(1)</script>" not in text
        assert "&lt;script&gt;" in text
        assert "{{7*7}}" in text
        found = Page(text)
        scripts = [attrs.get("src") or "inline" for tag, attrs in found.tags if tag == "script"]
        assert scripts and all(source.startswith("/static/") for source in scripts)
        assert not [attrs for tag, attrs in found.tags if tag == "img"]
        assert not [name for _, attrs in found.tags for name in attrs if name.startswith("on") or name == "style"]


async def test_static_files_are_kept_by_browsers(served: Served) -> None:
    links = re.findall(r'(?:href|src)="(/static/[^"#]+)', await page(served, "/"))
    assert len({link for link in links if "/vendor/" in link}) == 2
    for link in links:
        async with served.session.get(served.url + link) as answer:
            assert answer.status == 200
            assert "immutable" in answer.headers["Cache-Control"]
            assert answer.headers["Content-Encoding"] == "gzip"
            assert answer.content_type in {"text/css", "text/javascript", "image/svg+xml"}
            body, etag = await answer.read(), answer.headers["ETag"]
        async with served.session.get(served.url + link, headers={"Accept-Encoding": "identity"}) as answer:
            assert "Content-Encoding" not in answer.headers
            assert await answer.read() == body
        async with served.session.get(served.url + link, headers={"If-None-Match": etag}) as answer:
            assert (answer.status, await answer.read()) == (304, b"")
        other_digest = re.sub("/static/[0-9a-f]+/", "/static/0123/", link)
        async with served.session.get(served.url + other_digest) as answer:
            assert (answer.status, answer.headers["Cache-Control"]) == (200, "no-cache")


async def test_the_first_page_is_light(served: Served) -> None:
    for number in range(50):
        await served.event(f"p{number}", logs="Steps:  10%|# | 1/10 [00:01<00:09, 1it/s, step_loss=0.5]")
    html = await page(served, "/")
    transferred = 0
    async with aiohttp.ClientSession(auto_decompress=False) as session:
        for link in {"/", *re.findall(r'(?:href|src)="(/static/[^"#]+)', html)}:
            async with session.get(served.url + link) as answer:
                assert answer.headers["Content-Encoding"] in {"gzip", "deflate"}
                transferred += len(await answer.read())
    modules = [asset for name, asset in served.app[ASSETS].files.items() if name.startswith("js/")]
    transferred += sum(len(asset.compressed) for asset in modules)  # app.js imports them
    assert transferred < 150_000


async def test_nothing_else_is_served(served: Served) -> None:
    for path in (
        "/static/x/js/nothing.js",
        "/static/x/..%2F/answers.py",
        "/static/x/../answers.py",
        "/static/x/vendor/manifest.json",
    ):
        await served.problem("GET", path, status=404, code="not_found")
    await served.problem("GET", "/jobs/nobody", status=404, code="job_not_found")
