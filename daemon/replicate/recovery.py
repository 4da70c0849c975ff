"""What a crash or an outage left of submits: intents without a provider id, and jobs that we gave up but that run."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable

import structlog

from ..core.jobs import FINISHED, JobStatus, Signal
from ..errors import (
    ArchiveTooLarge,
    DatasetEmpty,
    DatasetUnreadable,
    ProviderError,
    ProviderUnavailable,
    TokenMissing,
    TunerdError,
)
from ..store.records import Job
from ..store.store import Store
from .cancel import Canceller
from .outbox import Outbox, TakenOver
from .outgoing import Outgoing

log = structlog.get_logger()

_RESEND_WITHIN = 86_400.0  # seconds: an older intent is not what its user still expects to start
# Seconds that Replicate's list may lag behind a create: a daemon that is back at once looks twice before it sends.
_SETTLED_AFTER = 5.0
_STRAY_WITHIN = 900.0  # seconds after we gave a job up in which it may still turn up at Replicate
_STRAY_FORGOTTEN = 86_400.0  # seconds after which a job that we gave up is not looked at again
_STRAYS_LOOKED_AT = 50  # newest failed and newest cancelled jobs, each round
_REFUSED = (ProviderError, ArchiveTooLarge, DatasetEmpty, DatasetUnreadable)


class Recovery:
    """``now`` gives unix seconds."""

    def __init__(
        self,
        store: Store,
        outbox: Outbox,
        canceller: Canceller,
        *,
        now: Callable[[], float],
        sleep: Callable[[float], Awaitable[None]],
    ) -> None:
        self._store = store
        self._outbox = outbox
        self._canceller = canceller
        self._now = now
        self._sleep = sleep
        self._running = asyncio.Lock()

    async def run(self) -> None:
        """One round, at start-up and on the timer. What a submit works on, here or elsewhere, is left alone."""
        async with self._running:
            for job in await self._store.jobs.unfinished():
                if _is_open_intent(job) and job.job_id not in self._outbox.live:
                    async with self._outbox.working_on(job.job_id):
                        if await self._outbox.claim(job.job_id):
                            await self._resume_or_wait(job.job_id)
            for status in (JobStatus.FAILED, JobStatus.CANCELLED):
                recent, _, _ = await self._store.jobs.list(status=status.value, limit=_STRAYS_LOOKED_AT)
                for job in recent:
                    await self._end_stray(job)

    async def _resume_or_wait(self, job_id: str) -> None:
        job = await self._store.jobs.get(job_id)  # as it is now: its submit may just have ended
        if job is None or not _is_open_intent(job):
            return
        try:
            await self._resume(job)
        except (ProviderUnavailable, TokenMissing) as problem:
            log.warning("outbox.waiting", job_id=job_id, reason=problem.detail)
        except TakenOver:
            log.info("outbox.taken_over", job_id=job_id)
        except _REFUSED as problem:
            await self._outbox.end(job, Signal.FAILED, problem.detail)

    async def _resume(self, job: Job) -> None:
        outgoing = await self._outbox.load(job)
        if outgoing is None:
            await self._outbox.end(job, Signal.FAILED, "What was to be sent cannot be read any more. Submit it again.")
            return
        # Folders that were not uploaded yet: then nothing was sent either.
        found = None if outgoing.datasets else await self._find(job, outgoing)
        if found is not None:
            job = await self._outbox.bind(job, found, None)
        elif job.cancel_requested:
            job = await self._outbox.end(job, Signal.CANCELLED, "Cancelled before it was sent to Replicate.")
        elif self._now() - job.created_at > _RESEND_WITHIN:
            job = await self._outbox.end(job, Signal.FAILED, "It could not be sent for a day. Submit it again.")
        else:
            log.info("outbox.sending_again", job_id=job.job_id)
            job = await self._outbox.send(job, await self._outbox.upload(job, outgoing))
        await self._canceller.honour(job)

    async def _find(self, job: Job, outgoing: Outgoing) -> str | None:
        found = await self._outbox.find(job, outgoing)
        early = job.created_at + _SETTLED_AFTER - self._now()
        if found is None and early > 0:
            await self._sleep(min(early, _SETTLED_AFTER))
            found = await self._outbox.find(job, outgoing)
        return found

    async def _end_stray(self, job: Job) -> None:
        """A job whose submit was answered "failed" must not run on at Replicate: look for it, and cancel it there."""
        now = self._now()
        if not job.submitted or job.request is None or now - job.created_at > _STRAY_FORGOTTEN:
            return
        unbound = job.provider_job_id is None and now - job.updated_at < _STRAY_WITHIN
        alive = job.provider_job_id is not None and job.provider_status in {"starting", "processing"}
        if not (unbound or alive) or (job.check_after is not None and job.check_after > now):
            return
        try:
            found = await self._outbox.find_marked(job) if unbound else None
            if found is not None:
                job = await self._outbox.bind(job, found, None)
            if job.provider_job_id is not None and await self._canceller.tell(job):
                # A finished job's row keeps its words, so this is what says that it has been seen to.
                await self._store.jobs.set_checked(job.job_id, now=now, check_after=now + _STRAY_FORGOTTEN)
                log.info("outbox.stray_cancelled", job_id=job.job_id, provider_job_id=job.provider_job_id)
        except TunerdError as problem:
            log.warning("outbox.stray", job_id=job.job_id, reason=problem.detail)


def _is_open_intent(job: Job) -> bool:
    return job.submitted and job.provider_job_id is None and job.request is not None and job.status not in FINISHED
