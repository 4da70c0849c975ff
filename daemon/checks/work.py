"""The work: jobs that wait or failed, deliveries, destinations."""

from __future__ import annotations

import asyncio
import re

from ..core.jobs import JobStatus
from ..store.sole import LEASE_SECONDS
from .base import Named, Result, Surroundings

QUEUED_WARN_SECONDS = 1800.0  # an L40S is usually had within minutes
RECENT_SECONDS = 7 * 86_400.0
_OUT_OF_MEMORY = re.compile(r"out of memory|OutOfMemory|\bOOM\b", re.IGNORECASE)


async def queued(here: Surroundings) -> Result:
    found, _, total = await here.store.jobs.list(status=JobStatus.QUEUED.value, limit=200)
    if not found:
        return Result("ok", "No job is waiting.")
    since = min(job.queued_at or job.created_at for job in found)
    waited = here.now() - since
    detail = f"{total} jobs wait for a GPU, the oldest for {waited / 60:.0f} min."
    if waited < QUEUED_WARN_SECONDS:
        return Result("ok", detail)
    status = await here.status_feed.status()
    word = {True: "reports no incident", False: "reports an incident", None: "cannot be read"}[status.operational]
    return Result(
        "warn",
        f"{detail} The status page {word}.",
        "Replicate queues jobs while its GPUs are busy: wait, look at www.replicatestatus.com, or submit with other "
        "hardware.",
    )


async def failures(here: Surroundings) -> Result:
    found, _, _ = await here.store.jobs.list(status=JobStatus.FAILED.value, limit=50)
    recent = [job for job in found if here.now() - (job.completed_at or job.created_at) < RECENT_SECONDS]
    if not recent:
        return Result("ok", "No job failed in the last week.")
    memory = [job for job in recent if _OUT_OF_MEMORY.search(job.error or "")]
    if memory:
        return Result(
            "warn",
            f"{len(memory)} {'job' if len(memory) == 1 else 'jobs'} ran out of GPU memory lately ({memory[0].job_id}).",
            "Smaller batch size, gradient checkpointing, LoRA rather than full fine-tuning, or larger hardware.",
        )
    newest = recent[0]
    return Result(
        "ok", f"{len(recent)} jobs failed in the last week, lately {newest.job_id}: {(newest.error or '')[:200]}"
    )


async def deliveries(here: Surroundings) -> Result:
    completed, _, _ = await here.store.jobs.list(status=JobStatus.COMPLETED.value, limit=50)
    recent = [job.job_id for job in completed if here.now() - (job.completed_at or 0.0) < RECENT_SECONDS]
    rows = await here.store.deliveries.of_jobs(recent)
    failed = [one for found in rows.values() for one in found if one.status == "failed"]
    if not failed:
        return Result("ok", "No delivery failed in the last week.")
    one = failed[0]
    return Result(
        "warn",
        f"{len(failed)} deliveries failed in the last week, of them {one.job_id} to {one.destination}: {one.error}",
        "Mend the destination, then tunerd redeliver ID; the API keeps a result for about an hour.",
    )


async def worker(here: Surroundings) -> Result:
    """Of several on one database one delivers: is there one, and is it this one?"""
    if here.database_problem is not None or here.database_absent:
        return Result("unknown", "The database cannot be asked.")
    holder = await here.store.sole.holder(here.now())
    if holder is None:
        return Result(
            "fail" if here.running else "warn",
            "No worker delivers: results stay with Replicate for an hour, then are gone.",
            "Start one on this database: tunerd serve --role worker (or without --role).",
        )
    if holder.ours:
        return Result("ok", "This worker delivers.")
    waits = here.running and here.settings.role != "ingest"
    stands_by = f" This one stands by, and takes over {LEASE_SECONDS:g} s after its end at the latest." if waits else ""
    return Result("ok", f"The worker on {holder.host} delivers.{stands_by}")


async def destinations(here: Surroundings) -> Result:
    configured = await here.store.settings.destinations()
    if not configured:
        return Result("warn", "No destination is configured: results stay with Replicate for an hour, then are gone.")
    answers = await asyncio.gather(*(here.check_destination(one) for one in configured))
    wrong = [(one.name, said.error) for one, said in zip(configured, answers, strict=True) if not said.ok]
    if wrong:
        what = "; ".join(f"{name}: {error}" for name, error in wrong)
        return Result("fail", what, "Correct its address and credentials on the page Publishing, or in the API.")
    return Result("ok", f"{', '.join(one.name for one in configured)}: a test went well.")


CHECKS = (
    Named("queued", "Jobs in the queue", queued),
    Named("failures", "Failed jobs", failures),
    Named("deliveries", "Deliveries", deliveries),
    Named("worker", "Delivering worker", worker),
    Named("destinations", "Destinations", destinations),
)
