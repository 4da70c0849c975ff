"""One trace from a submit, or from an event, to the delivered file: sent to a real OTLP/HTTP collector."""

from __future__ import annotations

import asyncio
import json
import time
from pathlib import Path

from daemon.sandbox.server import Sandbox
from tests.support.collector import Collector, running_collector
from tests.support.daemon import Daemon
from tests.support.signed import PATH, SECRET, prediction, signed

from .conftest import wired_daemon

TRACE, SPAN = "4bf92f3577b34da6a3ce929d0e0e4736", "00f067aa0ba902b7"
PARENT = {"traceparent": f"00-{TRACE}-{SPAN}-01"}


def variables(collector: Collector) -> dict[str, str]:
    return {"OTEL_EXPORTER_OTLP_ENDPOINT": collector.url, "OTEL_BSP_SCHEDULE_DELAY": "100"}


async def submit(daemon: Daemon, **headers: str) -> str:
    body = {"model": "acme/shapes", "input": {}}
    async with daemon.session.post(f"{daemon.url}/api/cloud/jobs/submit", json=body, headers=headers) as answer:
        assert answer.status == 201, await answer.text()
        return str((await answer.json())["job_id"])


async def test_a_submit_s_trace_reaches_the_delivery(tmp_path: Path, sandbox: Sandbox) -> None:
    async with running_collector() as collector, wired_daemon(tmp_path, sandbox, **variables(collector)) as daemon:
        job_id = await submit(daemon, **PARENT)
        await daemon.finished(job_id)
        await collector.wait_for("submit", "replicate POST", "delivery fetch", "delivery publish", "webhook receive")
        (submitted,) = collector.named("submit")
        assert (submitted.trace_id, submitted.parent) == (TRACE, SPAN)
        assert submitted.attributes["tunerd.job_id"] == job_id
        (call,) = [
            span for span in collector.named("replicate POST") if "predictions" in span.attributes["tunerd.path"]
        ]
        assert (call.trace_id, call.parent) == (TRACE, submitted.span_id)
        for name in ("delivery fetch", "delivery publish"):
            (step,) = collector.named(name)
            assert (step.trace_id, step.parent) == (TRACE, submitted.span_id)
            assert step.attributes["tunerd.job_id"] == job_id
        received = [s for s in collector.named("webhook receive") if s.attributes["tunerd.event"] != "probe"]
        assert {span.attributes["tunerd.job_id"] for span in received} == {job_id}
        appends = {span.parent for span in collector.named("journal append")}
        assert appends == {span.span_id for span in received}
        assert received[0].resource["service.name"] == "tunerd"
        assert sandbox.api_token not in repr(collector.spans)
        assert await daemon.stop() == 0


async def test_an_event_s_trace_reaches_the_delivery_of_a_job_that_others_submitted(
    tmp_path: Path, sandbox: Sandbox
) -> None:
    async with (
        running_collector() as collector,
        wired_daemon(
            tmp_path, sandbox, TUNERD_WEBHOOK_SECRET=SECRET, OTEL_SERVICE_NAME="mine", **variables(collector)
        ) as daemon,
    ):
        body = prediction("other1", status="succeeded", output="data:text/plain;base64,aGVsbG8=")
        async with daemon.session.post(daemon.url + PATH, data=body, headers=signed(body, **PARENT)) as answer:
            assert answer.status == 200
            job_id = (await answer.json())["job_id"]
        await daemon.finished(job_id)
        await collector.wait_for("webhook receive", "delivery fetch", "delivery publish")
        (received,) = collector.named("webhook receive")
        assert (received.trace_id, received.parent, received.kind) == (TRACE, SPAN, 2)
        assert received.attributes["tunerd.event"] == "completed"
        (fetched,) = collector.named("delivery fetch")
        assert (fetched.trace_id, fetched.parent) == (TRACE, received.span_id)
        assert received.resource["service.name"] == "mine"
        # Lines that are logged within carry the trace and the job.
        lines = [json.loads(line) for line in daemon.log.read_text().splitlines() if line.startswith("{")]
        assert {line["job_id"] for line in lines if line.get("event") == "delivered"} == {job_id}


async def test_a_refused_webhook_is_a_failed_span_without_its_words(tmp_path: Path, sandbox: Sandbox) -> None:
    async with running_collector() as collector, wired_daemon(tmp_path, sandbox, **variables(collector)) as daemon:
        async with daemon.session.post(daemon.url + PATH, data=b"{}") as answer:
            assert answer.status == 401
        await collector.wait_for("webhook receive")
        (span,) = collector.named("webhook receive")
        assert span.failed == "SignatureMissing"


async def test_a_collector_that_is_down_holds_nothing_up(tmp_path: Path, sandbox: Sandbox) -> None:
    nowhere = {"OTEL_EXPORTER_OTLP_ENDPOINT": "http://127.0.0.1:9", "OTEL_BSP_SCHEDULE_DELAY": "100"}
    async with wired_daemon(tmp_path, sandbox, **nowhere) as daemon:
        await daemon.finished(await submit(daemon))
        await asyncio.sleep(0.3)
        began = time.monotonic()
        assert await daemon.stop() == 0
        assert time.monotonic() - began < 30


async def test_traces_that_are_off_still_go_on_where_they_are_on_again(tmp_path: Path, sandbox: Sandbox) -> None:
    """The header is kept with job and event; a daemon that traces from its next start on continues it."""
    async with (
        wired_daemon(tmp_path, sandbox, TUNERD_WEBHOOK_SECRET=SECRET) as daemon,
        running_collector() as collector,
    ):
        body = prediction("other1", status="succeeded", output="data:text/plain;base64,aGVsbG8=")
        async with daemon.session.post(daemon.url + PATH, data=body, headers=signed(body, **PARENT)) as answer:
            job_id = (await answer.json())["job_id"]
        await daemon.finished(job_id)
        assert await daemon.stop() == 0
        daemon.variables.update(variables(collector))
        await daemon.start()
        await daemon.post(f"/api/cloud/jobs/{job_id}/redeliver", {}, status=202)
        await daemon.finished(job_id)
        await collector.wait_for("delivery fetch")
        (fetched,) = collector.named("delivery fetch")
        assert (fetched.trace_id, fetched.parent) == (TRACE, SPAN)
