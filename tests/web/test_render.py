"""Store rows as the API shows them."""

from __future__ import annotations

import msgspec

from daemon.core.jobs import JobStatus
from daemon.store.records import Job
from daemon.web.render import job_view

NOW = 1_767_610_800.0  # 2026-01-05T11:00:00Z


def make_job(**changes: object) -> Job:
    """A job that runs since ten minutes."""
    values: dict[str, object] = {
        "job_id": "job_1", "provider": "replicate", "provider_job_id": "p1", "api_kind": "prediction",
        "submitted": True, "status": JobStatus.RUNNING, "provider_status": "processing", "model": "a/b",
        "version": None, "hardware": "gpu-l40s", "config_name": None, "created_at": NOW - 660,
        "queued_at": NOW - 650, "started_at": NOW - 600, "completed_at": None, "updated_at": NOW,
        "predict_time": None, "cost_usd": None, "cost_estimate": None, "error": None, "output": None,
        "progress": None, "metadata": "{}", "events": 1, "logs_chars": 0, "output_digest": None, "last_seq": 1,
        "logs_seq": None, "idempotency_key": None, "request_digest": None, "request": None, "destinations": None,
        "cancel_requested": False, "checked_at": None, "check_after": None, "delivery_generation": 0,
    }  # fmt: skip
    return msgspec.convert({**values, **changes}, Job)


def test_a_running_job_has_run_so_far() -> None:
    view = job_view(make_job(), [], now=NOW)
    assert (view.duration_seconds, view.queue_seconds) == (600.0, 50.0)


def test_a_finished_job_ran_until_it_ended() -> None:
    view = job_view(make_job(status=JobStatus.COMPLETED, completed_at=NOW - 100), [], now=NOW)
    assert (view.duration_seconds, view.completed_at) == (500.0, "2026-01-05T10:58:20.000Z")


def test_clocks_that_disagree_make_no_negative_time() -> None:
    view = job_view(make_job(queued_at=NOW, started_at=NOW + 5), [], now=NOW)
    assert (view.duration_seconds, view.queue_seconds) == (0.0, 5.0)
    assert job_view(make_job(queued_at=NOW, started_at=NOW - 5), [], now=NOW).queue_seconds == 0.0


def test_json_columns_become_json() -> None:
    job = make_job(
        output='["https://replicate.delivery/a.png"]',
        progress='{"step":1,"total_steps":4,"percent":25.0,"eta_seconds":null}',
        metadata='{"note":"mine"}',
        cost_estimate='{"low_usd":1.0,"expected_usd":2.5,"high_usd":4,"basis":"x"}',
    )
    shown = msgspec.json.decode(msgspec.json.encode(job_view(job, [], now=NOW)))
    assert shown["output"] == ["https://replicate.delivery/a.png"]
    assert shown["progress"] == {"step": 1, "total_steps": 4, "percent": 25.0, "eta_seconds": None}
    assert shown["metadata"] == {"note": "mine"}
    assert shown["cost_estimate_usd"] == 2.5
    assert shown["error"] is None
