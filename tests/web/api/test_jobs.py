"""Jobs through the API, over the real store."""

from __future__ import annotations

import io
import re
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from tests.support.webapp import Served, running_app

TIME = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z")
FIELDS = {
    "job_id", "provider", "provider_job_id", "status", "model", "version", "hardware", "config_name", "created_at",
    "started_at", "completed_at", "duration_seconds", "cost_usd", "cost_estimate_usd", "error", "output", "progress",
    "deliveries", "metadata",
}  # fmt: skip


@pytest.fixture
async def served(tmp_path: Path) -> AsyncIterator[Served]:
    async with running_app(tmp_path) as served:
        yield served


async def complete(
    served: Served, provider_id: str = "p1", output: object = "https://replicate.delivery/a.png"
) -> None:
    times: Any = {"started_at": "2026-01-05T10:00:00Z", "completed_at": "2026-01-05T10:01:40Z"}
    await served.event(provider_id, status="succeeded", output=output, **times)


async def test_no_jobs(served: Served) -> None:
    assert await served.get("/api/cloud/jobs") == {"jobs": [], "next_cursor": None, "total": 0}


async def test_a_job_by_either_id_with_every_field(served: Served) -> None:
    appended = await served.event("abc", logs="Steps:  10%|# | 1/10 [00:01<00:09, 1it/s, step_loss=0.5]")
    for key in ("abc", appended.job_id):
        job = (await served.get(f"/api/cloud/jobs/{key}"))["job"]
        assert job.keys() >= FIELDS
        assert (job["job_id"], job["provider_job_id"], job["provider"]) == (appended.job_id, "abc", "replicate")
        assert (job["status"], job["model"]) == ("running", "acme/shapes")
        assert TIME.fullmatch(job["created_at"])
        assert job["progress"] == {"step": 1, "total_steps": 10, "percent": 10.0, "eta_seconds": 9.0}
        assert (job["deliveries"], job["metadata"], job["output"]) == ([], {}, None)


async def test_a_finished_job_shows_its_output_and_deliveries(served: Served) -> None:
    await complete(served, output={"weights": ["https://replicate.delivery/a.tar"]})
    job = (await served.get("/api/cloud/jobs/p1"))["job"]
    assert (job["status"], job["duration_seconds"]) == ("completed", 100.0)
    assert job["started_at"] == "2026-01-05T10:00:00.000Z"
    assert job["output"] == {"weights": ["https://replicate.delivery/a.tar"]}
    assert job["deliveries"] == [
        {
            "destination": "local", "type": "local", "status": "pending", "url": None, "attempts": 0, "error": None,
            "bytes_done": 0, "bytes_total": None,
        }
    ]  # fmt: skip
    assert await served.get("/api/cloud/jobs/p1/artifacts") == {"artifacts": []}


@pytest.mark.parametrize("key", ["nobody", "%00", "x" * 300, "..", "%F0%9F%98%80"])
async def test_a_job_that_is_not_there(served: Served, key: str) -> None:
    for rest in ("", "/artifacts", "/events", "/logs", "/logs/stream", "/metrics", "/events/1/body"):
        if key == "..":
            key = "%2E%2E%2F"
        await served.problem("GET", f"/api/cloud/jobs/{key}{rest}", status=404, code="job_not_found")


async def test_pages_newest_first(served: Served) -> None:
    for number in range(7):
        await served.event(f"p{number}")
    await complete(served, "p3")
    seen, cursor = [], ""
    while True:
        page = await served.get(f"/api/cloud/jobs?limit=3{cursor}")
        assert page["total"] == 7
        seen += [job["provider_job_id"] for job in page["jobs"]]
        if page["next_cursor"] is None:
            break
        cursor = f"&cursor={page['next_cursor']}"
    assert seen == [f"p{number}" for number in reversed(range(7))]
    page = await served.get("/api/cloud/jobs?status=completed&provider=replicate")
    assert ([job["provider_job_id"] for job in page["jobs"]], page["total"]) == (["p3"], 1)
    assert (await served.get("/api/cloud/jobs?provider=other"))["total"] == 0


@pytest.mark.parametrize(
    "query",
    [
        "status=done",
        "limit=0",
        "limit=501",
        "limit=x",
        "limit=-1",
        "limit=",
        "cursor=%00",
        "cursor=nonsense",
        "provider=",
    ],
)
async def test_a_wrong_query_names_the_field(served: Served, query: str) -> None:
    problem = await served.problem("GET", f"/api/cloud/jobs?{query}", status=400, code="invalid_request")
    assert problem["field"] == query.split("=", maxsplit=1)[0]


async def test_redeliver(served: Served) -> None:
    await complete(served)
    for body in (b"", b"{}", b'{"destinations":["local"]}', b'{"destinations":[]}', b'{"destinations":null}'):
        answer = await served.call("POST", "/api/cloud/jobs/p1/redeliver", data=body, status=202)
        assert [one["status"] for one in answer["job"]["deliveries"]] == ["pending"]
    assert len(served.wakes) == 5


async def test_redeliver_is_refused(served: Served) -> None:
    await served.event("p2")
    await complete(served)
    path = "/api/cloud/jobs/{}/redeliver"
    await served.problem("POST", path.format("p2"), status=409, code="nothing_to_deliver")
    await served.problem("POST", path.format("nobody"), status=404, code="job_not_found")
    for body, code in [
        (b'{"destinations":["other"]}', "invalid_request"),
        (b'{"destinations":"local"}', "invalid_request"),
        (b'{"to":["local"]}', "invalid_request"),
        (b"{", "invalid_json"),
    ]:
        await served.problem("POST", path.format("p1"), status=400, code=code, data=body)


async def test_a_finished_job_cannot_be_cancelled(served: Served) -> None:
    await complete(served)
    await served.problem("POST", "/api/cloud/jobs/p1/cancel", status=409, code="job_finished")
    await served.problem("POST", "/api/cloud/jobs/nobody/cancel", status=404, code="job_not_found")


async def test_a_wrong_method_is_told(served: Served) -> None:
    await served.problem("DELETE", "/api/cloud/jobs", status=405, code="method_not_allowed")
    await served.problem("OPTIONS", "/api/cloud/jobs", status=405, code="method_not_allowed")
    for method in ("GET", "PUT", "DELETE"):
        found = await served.problem(method, "/api/cloud/jobs/submit", status=405, code="method_not_allowed")
        assert found["allowed"] == ["POST"]
    await served.problem("GET", "/api/cloud/jobs/submitted", status=404, code="job_not_found")


async def test_a_huge_body_is_refused(served: Served) -> None:
    body = b'{"model":"' + b"x" * (9 * 1024 * 1024) + b'"}'
    await served.problem("POST", "/api/cloud/jobs/submit", status=413, code="body_too_large", data=io.BytesIO(body))
