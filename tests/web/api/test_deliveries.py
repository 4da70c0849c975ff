"""Deliveries over HTTP: listed, cancelled, tried again; destinations paused and resumed."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from daemon.delivery.destinations.base import types
from tests.support.webapp import Served, running_app

TWO = [
    {"name": "local", "type": "local"},
    {"name": "other", "type": "local", "options": {"path": "/srv/models"}, "paused": True, "concurrency": 1},
]
JOBS = "/api/cloud/jobs"


@pytest.fixture
async def served(tmp_path: Path) -> AsyncIterator[Served]:
    async with running_app(tmp_path, destination_types=types()) as served:
        yield served


async def completed(served: Served, *names: str) -> None:
    for name in names:
        await served.event(name, status="succeeded", output="text")


async def fail(served: Served, job_id: str) -> None:
    await served.store.deliveries.update(job_id, "local", generation=0, now=1, status="failed", error="full")


async def test_a_job_shows_its_deliveries(served: Served) -> None:
    await completed(served, "a")
    [shown] = (await served.get(f"{JOBS}/a"))["job"]["deliveries"]
    assert shown == {
        "destination": "local",
        "type": "local",
        "status": "pending",
        "url": None,
        "attempts": 0,
        "error": None,
        "bytes_done": 0,
        "bytes_total": None,
    }


async def test_failed_deliveries_page_by_page(served: Served) -> None:
    await completed(served, *"abc")
    for name in "ab":
        await fail(served, f"job_{name}")
    first = await served.get("/api/cloud/deliveries?status=failed&limit=1")
    second = await served.get(f"/api/cloud/deliveries?status=failed&limit=1&cursor={first['next_cursor']}")
    assert first["total"] == 2 and second["next_cursor"] is None
    [one], [two] = first["deliveries"], second["deliveries"]
    assert {one["job_id"], two["job_id"]} == {"job_a", "job_b"}
    assert (one["error"], one["destination"], one["status"]) == ("full", "local", "failed")
    assert one["deadline"].endswith("Z") and one["fetched_at"] is None
    assert (await served.get("/api/cloud/deliveries?destination=nowhere"))["deliveries"] == []
    for query in ("status=odd", "limit=0", "limit=501", "cursor=x"):
        await served.problem("GET", f"/api/cloud/deliveries?{query}", status=400, code="invalid_request")


async def test_redrive(served: Served) -> None:
    await completed(served, *"ab")
    assert await served.call("POST", "/api/cloud/deliveries/redrive", status=202) == {
        "redriven": [],
        "skipped": [],
        "more": False,
    }
    await fail(served, "job_a")
    done = await served.call("POST", "/api/cloud/deliveries/redrive", json={"destination": "local"}, status=202)
    assert done["redriven"] == [{"job_id": "job_a", "destination": "local"}]
    assert served.wakes
    assert (await served.get(f"{JOBS}/a"))["job"]["deliveries"][0]["status"] == "pending"
    for body in ({"job_ids": ["x"] * 501}, {"odd": 1}, {"job_ids": "a"}):
        await served.problem("POST", "/api/cloud/deliveries/redrive", json=body, status=400, code="invalid_request")


async def test_cancelled_by_you(served: Served) -> None:
    await completed(served, "a")
    path = f"{JOBS}/a/deliveries/cancel"
    await served.problem("POST", path, json={"destinations": ["odd"]}, status=409, code="nothing_to_cancel")
    done = await served.call("POST", path, json={"destinations": ["local"]}, status=202)
    assert done == {"success": True, "job_id": "job_a", "cancelled": ["local"]}
    [shown] = (await served.get(f"{JOBS}/a"))["job"]["deliveries"]
    assert (shown["status"], shown["error"]) == ("failed", "cancelled by you")
    await served.problem("POST", path, status=409, code="nothing_to_cancel")
    await served.problem("POST", f"{JOBS}/odd/deliveries/cancel", status=404, code="job_not_found")


async def test_redeliver_answers_as_the_contract_says(served: Served) -> None:
    await served.call("PUT", "/api/cloud/publishing", json={"destinations": TWO})
    await completed(served, "a")
    await served.event("b", status="processing")
    accepted = await served.call("POST", f"{JOBS}/a/redeliver", json={"destinations": ["local"]}, status=202)
    assert [one["status"] for one in accepted["job"]["deliveries"]] == ["pending", "pending"]
    assert [row.generation for row in await served.store.deliveries.of_job("job_a")] == [1, 0]
    await served.call("POST", f"{JOBS}/a/redeliver", status=202)
    await served.problem("POST", f"{JOBS}/b/redeliver", status=409, code="nothing_to_deliver")
    await served.problem("POST", f"{JOBS}/odd/redeliver", status=404, code="job_not_found")
    odd = {"destinations": ["local", "nowhere"]}
    problem = await served.problem("POST", f"{JOBS}/a/redeliver", json=odd, status=400, code="invalid_request")
    assert "'nowhere'" in problem["detail"] and "local" in problem["detail"]


async def test_pause_and_resume(served: Served) -> None:
    await served.call("PUT", "/api/cloud/publishing", json={"destinations": TWO})
    served.wakes.clear()

    async def shown() -> dict[str, tuple[bool, int]]:
        answer = await served.get("/api/cloud/publishing")
        return {one["name"]: (one["paused"], one["concurrency"]) for one in answer["destinations"]}

    assert await shown() == {"local": (False, 4), "other": (True, 1)}
    await served.call("POST", "/api/cloud/publishing/local/pause")
    await served.call("POST", "/api/cloud/publishing/other/resume")
    assert await shown() == {"local": (True, 4), "other": (False, 1)}
    assert len(served.wakes) == 2
    # A list that says nothing of it changes nothing of it.
    plain = [{key: one[key] for key in ("name", "type")} for one in TWO]
    await served.call("PUT", "/api/cloud/publishing", json={"destinations": plain})
    assert await shown() == {"local": (True, 4), "other": (False, 1)}
    for verb in ("pause", "resume", "test"):
        problem = await served.problem(
            "POST", f"/api/cloud/publishing/odd/{verb}", status=404, code="destination_not_found"
        )
        assert "'odd'" in problem["detail"]
    for field, value in (("paused", "perhaps"), ("concurrency", 0), ("concurrency", 33)):
        body = {"destinations": [{"name": "local", "type": "local", field: value}]}
        found = await served.problem("PUT", "/api/cloud/publishing", json=body, status=400, code="invalid_request")
        assert field in found["detail"]
