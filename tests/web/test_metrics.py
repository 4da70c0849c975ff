"""What ``/metrics`` tells: names and labels as Prometheus wants them, true figures, and no failure of its own."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Any

import pytest
from prometheus_client.parser import text_string_to_metric_families

from daemon import keys, metrics
from daemon.core.events import EventKind
from daemon.errors import NotReady
from daemon.sandbox.server import Sandbox
from daemon.store.store import Store
from tests.support.webapp import Served, running_app


async def scraped(served: Served) -> dict[str, Any]:
    async with served.session.get(f"{served.url}/metrics") as answer:
        assert answer.status == 200
        assert answer.headers["Content-Type"].startswith("text/plain; version=0.0.4")
        text = await answer.text()
    names = [line.split()[2] for line in text.splitlines() if line.startswith("# TYPE ")]
    assert len(names) == len(set(names)), "a family that is there twice is refused by Prometheus"
    return {family.name: family for family in text_string_to_metric_families(text)}


def value(families: dict[str, Any], name: str, **labels: str) -> float:
    family = name.removesuffix("_total").removesuffix("_count").removesuffix("_sum")
    (found,) = [
        sample.value
        for sample in families[family].samples
        if sample.name in {name, family} and labels.items() <= sample.labels.items()
    ]
    return float(found)


def test_the_words_are_those_of_the_code() -> None:
    assert set(metrics.EVENT_KINDS) == {kind.value for kind in EventKind}


async def test_the_store_s_figures(tmp_path: Path) -> None:
    async with running_app(tmp_path) as served:
        idle = await scraped(served)
        assert value(idle, "tunerd_oldest_unfinished_job_age_seconds") == 0
        assert idle["tunerd_next_deadline_seconds"].samples == []
        await served.event("p1")
        await served.event("p1", logs="more")
        await served.event("p3", status="starting")
        await served.event("p2", status="succeeded", output="https://replicate.delivery/a.png")
        await served.event(raw=b"?")
        found = await scraped(served)
    assert [value(found, "tunerd_jobs", status=status) for status in ("running", "queued", "completed", "failed")] == [
        *(1, 1, 1, 0)
    ]
    assert value(found, "tunerd_journal_last_seq") == 5
    assert value(found, "tunerd_deliveries", type="local", status="pending") == 1
    assert 3500 < value(found, "tunerd_next_deadline_seconds") <= 3600
    assert 0 < value(found, "tunerd_oldest_unfinished_job_age_seconds") < 100
    assert 0 < value(found, "tunerd_queue_age_seconds") < 100
    assert value(found, "tunerd_events_total", kind="logs", source="webhook") == 1
    assert value(found, "tunerd_events_total", kind="unrecognized", source="webhook") == 1
    assert value(found, "tunerd_events_total", kind="failed", source="poll") == 0
    assert value(found, "tunerd_journal_batch_events_count") == 5
    assert value(found, "tunerd_store_up") == 1
    assert value(found, "tunerd_database_size_bytes") > 10_000
    assert (
        0
        < value(found, "tunerd_disk_free_bytes", folder="output")
        < value(found, "tunerd_disk_size_bytes", folder="output")
    )
    assert value(found, "tunerd_spent_usd", period="daily") == 0
    assert value(found, "tunerd_http_requests_total", route="/metrics", status="200", method="GET") == 1
    assert "process_resident_memory_bytes" in found


async def test_calls_of_the_provider(tmp_path: Path) -> None:
    async with Sandbox(host="127.0.0.1", port=0) as sandbox:
        environ = {"REPLICATE_API_TOKEN": sandbox.api_token}
        async with running_app(tmp_path, replicate_url=sandbox.url, environ=environ) as served:
            await served.get("/api/cloud/providers/replicate/validate")
            client = served.app[keys.CLIENT]
            assert await client.get("nosuchjob", "prediction") is None
            families = {family.name: family for family in served.app[keys.METRICS].registry.collect()}
    assert value(families, "tunerd_provider_api_calls_total", endpoint="account", result="ok") == 1
    assert value(families, "tunerd_provider_api_calls_total", endpoint="predictions", result="not_found") >= 1
    assert value(families, "tunerd_provider_api_state", tunerd_provider_api_state="not_found") == 1
    assert value(families, "tunerd_provider_api_call_seconds_count") >= 2


async def test_a_provider_that_is_not_there(tmp_path: Path) -> None:
    async with running_app(tmp_path, environ={"REPLICATE_API_TOKEN": "r8_aaaaaaaaaa"}) as served:
        async with served.session.get(f"{served.url}/api/cloud/providers/replicate/validate") as answer:
            assert answer.status == 502
        found = await scraped(served)
    assert value(found, "tunerd_provider_api_calls_total", endpoint="account", result="unreachable") >= 1
    assert value(found, "tunerd_provider_api_state", tunerd_provider_api_state="unreachable") == 1


async def test_nothing_from_outside_becomes_a_label(tmp_path: Path) -> None:
    async with running_app(tmp_path) as served:
        for path in ("/api/cloud/jobs/one", "/api/cloud/jobs/two", "/nothing/here", "/nothing/there"):
            async with served.session.request("GET", served.url + path):
                pass
        async with served.session.request("PROPFIND", served.url + "/healthz"):
            pass
        found = await scraped(served)
    samples = found["tunerd_http_requests"].samples
    assert {sample.labels["route"] for sample in samples} == {"/api/cloud/jobs/{job_id}", "none"}
    assert {sample.labels["method"] for sample in samples} == {"GET", "other"}
    assert value(found, "tunerd_http_requests_total", route="none", method="GET", status="404") == 2


async def test_a_store_that_cannot_be_read_is_told_and_not_a_failure(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def down(self: Store) -> None:
        raise NotReady("The store is not available: disk I/O error.")

    async with running_app(tmp_path) as served:
        monkeypatch.setattr(Store, "overview", down)
        began = time.monotonic()
        found = await scraped(served)
        assert time.monotonic() - began < 30
    assert value(found, "tunerd_store_up") == 0
    assert "tunerd_jobs" not in found
    assert "process_cpu_seconds" in found


async def test_only_the_admin_reads_it(tmp_path: Path) -> None:
    async with running_app(tmp_path, environ={"TUNERD_ADMIN_TOKEN": "a-long-admin-token"}) as served:
        async with served.session.get(f"{served.url}/metrics", headers={"X-Forwarded-For": "203.0.113.9"}) as answer:
            assert answer.status == 401
        headers = {"Authorization": "Bearer a-long-admin-token", "X-Forwarded-For": "203.0.113.9"}
        async with served.session.get(f"{served.url}/metrics", headers=headers) as answer:
            assert answer.status == 200
