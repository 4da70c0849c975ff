"""What is told, as people and programs read it."""

from __future__ import annotations

import json

from daemon.core.jobs import JobStatus
from daemon.core.notices import (
    CANCELLED_BY_YOU,
    DeliveryFacts,
    JobFacts,
    cost_limit_reached,
    delivery_ended,
    delivery_expiring,
    job_finished,
    plain,
)

NOW = 1_767_607_200.0  # 2026-01-05T10:00:00Z
JOB = JobFacts(
    job_id="job_1",
    provider_job_id="abc",
    status=JobStatus.FAILED,
    model="acme/lora",
    config_name=None,
    error="<!channel> CUDA out of memory. @everyone",
    cost_usd=1.239,
    started_at=NOW - 60,
    completed_at=NOW,
)


def delivery(**changes: object) -> DeliveryFacts:
    fields: dict[str, object] = {
        "job": JOB,
        "destination": "s3",
        "type": "s3",
        "status": "failed",
        "url": None,
        "error": "the bucket is gone",
        "bytes_done": 1,
        "bytes_total": 2,
        "deadline": NOW + 600,
        "fetched": False,
        **changes,
    }
    return DeliveryFacts(**fields)  # type: ignore[arg-type]


def test_the_payload_is_small_json_with_a_sentence() -> None:
    body = json.loads(job_finished(JOB).payload(NOW))
    assert body["type"] == "job.finished" and body["timestamp"] == "2026-01-05T10:00:00.000Z"
    assert body["data"]["error"] == JOB.error  # programs get it as it is
    assert body["data"]["duration_seconds"] == 60 and body["data"]["cost_usd"] == 1.239
    assert body["text"].startswith("Job job_1 (acme/lora) has failed: &lt;!channel&gt; CUDA out of memory.")
    assert "@everyone" not in body["text"] and "It cost $1.24." in body["text"]


def test_the_sentences() -> None:
    failed = delivery_ended(delivery())
    assert failed.type == "delivery.failed" and "tunerd redeliver job_1 --to s3" in failed.text
    assert delivery_ended(delivery(error=CANCELLED_BY_YOU)).text.endswith("to s3 (s3) was cancelled.")
    done = delivery_ended(delivery(status="delivered", url="s3://bucket/job_1/", error=None))
    assert done.type == "delivery.delivered" and done.text.endswith("s3://bucket/job_1/")
    assert "expires in 10 min: what has not been fetched by then is gone" in delivery_expiring(delivery(), NOW).text
    assert "its files are held here" in delivery_expiring(delivery(fetched=True), NOW).text
    limit = cost_limit_reached(period="daily", amount=5, spent=4, reserved=1.5, action="block")
    assert "$5.00 is reached: $4.00 spent, $1.50 reserved. Further jobs are refused." in limit.text


def test_foreign_words_are_one_short_line() -> None:
    assert plain("a\nb\tc") == "a b c"
    assert plain(None) == "unknown"
    assert len(plain("x" * 10_000)) == 300
