"""``tunerd jobs``, ``job``, ``cancel`` and ``redeliver``."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from cyclopts import Parameter

from ..core.deliveries import GOING_ON
from . import output
from .client import Client, job_path
from .exits import Usage
from .options import Json

Status = Literal["pending", "uploading", "queued", "running", "completed", "failed", "cancelled"]

PAGE = 200  # jobs asked for at a time; the API may give fewer


def jobs(
    *,
    status: Annotated[Status | None, Parameter(help="Only jobs in this status.")] = None,
    provider: Annotated[str | None, Parameter(help="Only jobs of this provider.")] = None,
    limit: Annotated[int, Parameter(alias="-n", help="At most so many.")] = 20,
    as_json: Json = False,
) -> int:
    """List the jobs, newest first.

    For example:

      tunerd jobs --status running
      tunerd jobs --limit 500 --json
    """
    if limit < 1:
        raise Usage(f"jobs: --limit {limit}: a whole number from 1 is expected.")
    answer = _list(Client.from_environment(), {"status": status, "provider": provider}, limit)
    if as_json:
        output.print_json(answer)
        return 0
    found = answer["jobs"]
    if not found:
        print("No jobs.")
        return 0
    output.table(
        ("job", "status", "progress", "model", "created", "duration", "cost", "delivered"), [_row(job) for job in found]
    )
    if answer.get("next_cursor"):
        output.remark(f"{len(found)} of {answer.get('total')} jobs; more with --limit.")
    return 0


def _list(client: Client, query: dict[str, Any], limit: int) -> dict[str, Any]:
    """Pages of the API's answer put together, until ``limit`` jobs."""
    answer: dict[str, Any] = client.get("/api/cloud/jobs", {**query, "limit": min(limit, PAGE)})
    while answer.get("next_cursor") and len(answer["jobs"]) < limit:
        wanted = min(limit - len(answer["jobs"]), PAGE)
        page = client.get("/api/cloud/jobs", {**query, "limit": wanted, "cursor": answer["next_cursor"]})
        answer = {**page, "jobs": answer["jobs"] + page["jobs"]}
    return answer


def _row(job: dict[str, Any]) -> tuple[object, ...]:
    return (
        job["job_id"],
        job["status"],
        progress_text(job),
        job.get("model"),
        output.moment(job.get("created_at")),
        output.duration(job.get("duration_seconds")),
        output.dollars(job.get("cost_usd")),
        ", ".join(f"{d['destination']} {delivery_word(d)}" for d in job.get("deliveries") or []),
    )


def delivery_word(delivery: dict[str, Any]) -> str:
    """Its status; "running" would read as if it went well where it has failed and is tried again."""
    again = delivery["status"] in GOING_ON and delivery.get("error")
    return "trying again" if again else str(delivery["status"])


def progress_text(job: dict[str, Any]) -> str | None:
    """``120/1000 (12 %)``, where the log told."""
    progress = job.get("progress") or {}
    step, total, percent = progress.get("step"), progress.get("total_steps"), progress.get("percent")
    if step is None and percent is None:
        return None
    steps = f"{step}/{total}" if step is not None and total else f"{step}" if step is not None else ""
    return f"{steps} ({percent:.0f} %)".strip() if percent is not None else steps


def job(job_id: str, /, *, as_json: Json = False) -> int:
    """Show one job with its deliveries.

    JOB-ID is ours (job_…) or the provider's.

    For example:

      tunerd job job_ufawqhfynnddngldkgtslldrkq
    """
    client = Client.from_environment()
    answer = client.get(job_path(job_id))
    if as_json:
        output.print_json(answer)
        return 0
    found = answer["job"]
    show(found)
    if found["status"] == "queued":
        _explain_queue(client, found)
    artifacts = client.get(job_path(found["job_id"], "artifacts"))["artifacts"]
    if artifacts:
        print()
        output.table(("file", "size", "sha256"), [(a["name"], output.size(a["bytes"]), a["sha256"]) for a in artifacts])
    return 0


def show(found: dict[str, Any]) -> None:
    """One job for people."""
    output.fields(
        [
            ("job", found["job_id"]),
            ("provider", " ".join(filter(None, (found.get("provider"), found.get("provider_job_id"))))),
            ("status", found["status"]),
            ("error", found.get("error")),
            ("progress", progress_text(found)),
            ("name", found.get("config_name")),
            ("model", found.get("model")),
            ("version", found.get("version")),
            ("hardware", found.get("hardware")),
            ("created", output.moment(found["created_at"]) if found.get("created_at") else None),
            ("started", output.moment(found["started_at"]) if found.get("started_at") else None),
            ("completed", output.moment(found["completed_at"]) if found.get("completed_at") else None),
            ("duration", output.duration(found["duration_seconds"]) if found.get("duration_seconds") else None),
            ("cost", output.dollars(found["cost_usd"]) if found.get("cost_usd") is not None else None),
        ]
    )
    deliveries = found.get("deliveries") or []
    if deliveries:
        print()
        output.table(
            ("destination", "type", "status", "attempts", "url", "error"),
            [
                (d["destination"], d["type"], delivery_word(d), d["attempts"], d.get("url"), d.get("error"))
                for d in deliveries
            ],
        )


def _explain_queue(client: Client, found: dict[str, Any]) -> None:
    """Why it waits, as far as anybody can know: with the status page's word."""
    page = client.get("/api/cloud/replicate/status")
    said = page.get("description") or page.get("error") or "nothing is known"
    waited = found.get("queue_seconds")
    since = "" if waited is None else f" for {output.duration(waited)}"
    print()
    print(output.clean(f"Queued{since}: Replicate queues jobs while GPUs are busy. Its status page: {said}"))


def cancel(
    job_id: str,
    /,
    *,
    delivery: Annotated[bool, Parameter(help="Cancel the deliveries of a job that has ended.")] = False,
    to: Annotated[list[str] | None, Parameter(help="Only the delivery to this destination; repeatable.")] = None,
    as_json: Json = False,
) -> int:
    """Ask the provider to cancel a job.

    The job becomes "cancelled" when the provider says so: follow it with tunerd wait.

    For example:

      tunerd cancel job_ufawqhfynnddngldkgtslldrkq
      tunerd cancel job_ufawqhfynnddngldkgtslldrkq --delivery --to s3
    """
    if delivery or to:
        body = {"destinations": to} if to else {}
        ended = Client.from_environment().call("POST", job_path(job_id, "deliveries", "cancel"), body=body).json()
        _report(ended, as_json, f"Cancelled: the delivery of {job_id} to {', '.join(ended['cancelled'])}.")
        return 0
    answer = Client.from_environment().call("POST", job_path(job_id, "cancel")).json()
    _report(answer, as_json, f"Cancel of {job_id} was asked for.")
    return 0


def redeliver(
    job_id: str,
    /,
    *,
    to: Annotated[list[str] | None, Parameter(help="Only to this destination; repeatable.")] = None,
    as_json: Json = False,
) -> int:
    """Deliver a finished job's files again.

    For example:

      tunerd redeliver job_ufawqhfynnddngldkgtslldrkq --to local
    """
    body = {"destinations": to} if to else {}
    answer = Client.from_environment().call("POST", job_path(job_id, "redeliver"), body=body).json()
    _report(
        answer, as_json, f"The files of {job_id} are delivered again to {', '.join(to) if to else 'all destinations'}."
    )
    return 0


def _report(answer: Any, as_json: bool, message: str) -> None:
    if as_json:
        output.print_json(answer)
    else:
        print(output.clean(message))
