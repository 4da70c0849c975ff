"""What the page of a job says at a glance."""

from __future__ import annotations

from pathlib import Path

from aiohttp import web
from aiohttp.test_utils import TestServer

from daemon.core.jobs import Signal
from tests.support.clock import Clock
from tests.support.events import append, body, new_job
from tests.support.waiting import until
from tests.support.webapp import Served, running_app

SUMMARY = {"status": {"indicator": "minor", "description": "GPUs are short"}, "incidents": []}


async def look(served: Served, job_id: str) -> str:
    async with served.session.get(f"{served.url}/jobs/{job_id}") as answer:
        assert answer.status == 200
        return await answer.text()


async def test_a_job_in_the_queue_is_explained_with_the_status_page_s_word(tmp_path: Path) -> None:
    async def summary(_request: web.Request) -> web.Response:
        return web.json_response(SUMMARY)

    app = web.Application()
    app.router.add_get("/summary", summary)
    async with TestServer(app) as server:
        environ = {"TUNERD_STATUS_URL": str(server.make_url("/summary"))}
        async with running_app(tmp_path, environ=environ) as served:
            await served.event("q1", status="starting")

            async def told() -> bool:
                return "Its status page: GPUs are short" in await look(served, "q1")

            await until(told)
            await served.event("q1", status="processing")
            assert "Its status page" not in await look(served, "q1")


async def test_a_link_of_a_delivery_is_one_to_click_only_where_it_is_an_address(tmp_path: Path) -> None:
    signed = "https://bucket.example/model.tar?X-Amz-Signature=1&x=<b>"
    async with running_app(tmp_path) as served:
        for url, shown in (
            (signed, '<a href="https://bucket.example/model.tar?X-Amz-Signature=1&amp;x=&lt;b&gt;" rel="noreferrer">'),
            ("http://nas.home:9000/b/m.tar", '<a href="http://nas.home:9000/b/m.tar" rel="noreferrer">'),
            ("s3://bucket/job", "s3://bucket/job"),
            ("javascript:alert(1)", "javascript:alert(1)"),
        ):
            name = url.partition(":")[0]
            job_id = (await served.event(name, status="succeeded", output="x")).job_id or ""
            await served.store.deliveries.update(job_id, "local", generation=0, now=1, status="delivered", url=url)
            text = await look(served, name)
            assert shown in text
            assert (f'href="{url.split(":")[0]}:' in text) == url.startswith("http")
            assert "Anyone can open" not in text  # nothing says until when


async def test_a_signed_link_says_until_when_and_is_none_to_click_afterwards(tmp_path: Path) -> None:
    clock = Clock(1_767_607_200.0)  # 2026-01-05T10:00:00Z
    signed = "http://nas.home:9000/b/m.tar?X-Amz-Date=20260105T100000Z&X-Amz-Expires=600&X-Amz-Signature=1"
    async with running_app(tmp_path, clock=clock) as served:
        job_id = (await served.event("p1", status="succeeded", output="x")).job_id or ""
        await served.store.deliveries.update(job_id, "local", generation=0, now=1, status="delivered", url=signed)
        text = await look(served, "p1")
        assert '<a href="http://nas.home:9000/b/m.tar?' in text
        assert "Anyone can open this link; it ends" in text and 'datetime="2026-01-05T10:10:00.000Z"' in text
        clock.now += 600
        text = await look(served, "p1")
        assert '<a href="http://nas' not in text and "http://nas.home:9000/b/m.tar?" in text
        assert "This link ended" in text and "/redeliver" in text


async def test_what_succeeded_after_we_had_called_it_failed_can_be_delivered_again(tmp_path: Path) -> None:
    async with running_app(tmp_path) as served:
        store = served.store
        await store.jobs.insert_intent(new_job())
        await store.jobs.signal("job_ours", Signal.FAILED, now=1, error="Replicate did not answer.")
        for word, output in (("starting", None), ("succeeded", "x")):
            assert "/redeliver" not in await look(served, "job_ours")
            await append(store, f"msg_{word}", body(word, output=output), job_hint="job_ours")
        await store.deliveries.update("job_ours", "local", generation=1, now=1, status="failed", error="full")
        assert "/redeliver" in await look(served, "job_ours")


async def test_a_delivery_that_failed_and_is_tried_again_is_not_called_running(tmp_path: Path) -> None:
    """With all of it at hand and nowhere to put it "running, 100 %" would read as if it went well."""
    async with running_app(tmp_path) as served:
        job_id = (await served.event("p1", status="succeeded", output="x")).job_id or ""
        sizes = {"bytes_done": 5, "bytes_total": 10}
        await served.store.deliveries.update(job_id, "local", generation=0, now=1, status="running", **sizes)
        async with served.session.get(f"{served.url}/") as answer:
            assert "local: 50 %" in await answer.text()
        failed = {"error": "no such bucket", "bytes_done": 10}
        await served.store.deliveries.update(job_id, "local", generation=0, now=2, status="running", **failed)
        async with served.session.get(f"{served.url}/") as answer:
            jobs = await answer.text()
        assert "local: trying again" in jobs and "100 %</span>" not in jobs
        text = await look(served, "p1")
        assert "trying again" in text and "no such bucket" in text
        assert 'aria-label="Delivery to local"' not in text
