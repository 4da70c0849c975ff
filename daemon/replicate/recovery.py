"""What a crash or an outage left of submits: intents without a provider id are found at Replicate, or sent again."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Awaitable, Callable

import msgspec
import structlog

from ..core.jobs import FINISHED, Signal
from ..errors import (
    ArchiveTooLarge,
    DatasetEmpty,
    DatasetUnreadable,
    NotReady,
    ProviderError,
    ProviderUnavailable,
    TokenMissing,
    TunerdError,
)
from ..store.records import Job
from ..store.store import Store
from .cancel import Canceller
from .dataset.known import MARGIN
from .outbox import Outbox, TakenOver
from .outgoing import Outgoing

log = structlog.get_logger()

_RESEND_WITHIN = 86_400.0  # seconds: an older intent is not what its user still expects to start
# Seconds from the first look until Replicate's list is believed that it has no such job: a call that was cut off may
# still be worked on, and the list may lag behind. Looked at every few seconds meanwhile. Not counted from the call: a
# clock that was set forward since would make that look long ago.
_SETTLED_AFTER = 20.0
_LOOK_EVERY = 5.0
_UPLOADS_AT_ONCE = 2  # each has its archive on the disk
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
        self._uploading = asyncio.Semaphore(_UPLOADS_AT_ONCE)

    async def run(self) -> None:
        """One round, at start-up and on the timer; each intent by itself, so that none waits for another's upload.

        What a submit or an earlier round works on, here or elsewhere, is left alone: rounds may overlap.
        """
        jobs = await self._store.jobs.unfinished()
        async with asyncio.TaskGroup() as group:
            for job in jobs:
                if is_open_intent(job):
                    group.create_task(self._resume_alone(job.job_id))

    async def _resume_alone(self, job_id: str) -> None:
        if job_id in self._outbox.live:
            return
        async with self._outbox.working_on(job_id):
            try:
                if not await self._outbox.claim(job_id):
                    return
                # Only now, when nobody else can send it any more: it may just have been sent, or ended.
                job = await self._store.jobs.get(job_id)
                if job is not None and is_open_intent(job):
                    await self._resume_or_end(job)
            except (ProviderUnavailable, TokenMissing, NotReady) as problem:
                log.warning("outbox.waiting", job_id=job_id, reason=problem.detail)
            except TakenOver:
                log.info("outbox.taken_over", job_id=job_id)

    async def _resume_or_end(self, job: Job) -> None:
        try:
            outgoing, unreadable = await self._outbox.exact.load(job), None
        except NotReady as problem:  # its secrets do not decrypt now; a job that is there is found all the same
            outgoing, unreadable = None, problem
        if await self._is_there(job, outgoing):
            return
        ended = self._why_not(job)
        if ended is not None:
            await self._outbox.end(job, *ended)
        elif unreadable is not None:
            raise unreadable
        elif outgoing is None:
            await self._outbox.end(job, Signal.FAILED, "What was to be sent cannot be read any more. Submit it again.")
        elif not await self._outbox.exact.is_whole(job):
            reason = "The secrets that its request holds were not kept. Submit it again."
            await self._outbox.end(job, Signal.FAILED, reason)
        else:
            try:
                await self._send(job, outgoing)
            except _REFUSED as problem:
                await self._end_refused(job, problem)

    def _why_not(self, job: Job) -> tuple[Signal, str] | None:
        """Why an intent that Replicate does not have is not to be sent any more."""
        if job.cancel_requested:
            return Signal.CANCELLED, "Cancelled before it was sent to Replicate."
        if job.job_id in self._outbox.unanswered:
            return Signal.FAILED, "Its submit was answered 503: the store did not say that it was written down."
        if self._now() - job.created_at > _RESEND_WITHIN:
            return Signal.FAILED, "It could not be sent for a day. Submit it again."
        return None

    async def _send(self, job: Job, outgoing: Outgoing) -> None:
        log.info("outbox.sending_again", job_id=job.job_id)
        if outgoing.uploaded and outgoing.uploaded_until is not None and outgoing.uploaded_until - self._now() < MARGIN:
            log.info("outbox.archive_expired", job_id=job.job_id)
            outgoing = msgspec.structs.replace(outgoing, datasets=outgoing.uploaded, uploaded=())
        async with self._uploading if outgoing.datasets else contextlib.nullcontext():
            outgoing = await self._outbox.upload(job, outgoing)
        await self._canceller.honour(await self._outbox.send(job, outgoing))

    async def _end_refused(self, job: Job, problem: TunerdError) -> None:
        if await self._outbox.claim(job.job_id):  # else a webhook told better meanwhile, or another daemon sends it
            await self._outbox.end(job, Signal.FAILED, problem.detail)

    async def _is_there(self, job: Job, outgoing: Outgoing | None) -> bool:
        """Whether Replicate has it; it is bound then. Raises ``ProviderUnavailable``: that cannot be told now."""
        if job.sent_at is None:
            return False
        async with self._outbox.alone(outgoing):
            found = await self._find(job, outgoing)
            if found is None:
                return False
            try:
                job = await self._outbox.bind(job, found, None)
            except ProviderError as problem:  # an event has bound one of them meanwhile
                log.warning("outbox.bound_otherwise", job_id=job.job_id, reason=problem.detail)
        await self._canceller.honour(job)
        return True

    async def _find(self, job: Job, outgoing: Outgoing | None) -> str | None:
        found, left = await self._outbox.find(job, outgoing), _SETTLED_AFTER
        while found is None and left > 0:
            pause = min(left, _LOOK_EVERY)
            await self._sleep(pause)
            left -= pause
            found = await self._outbox.find(job, outgoing)
        return found


def is_open_intent(job: Job) -> bool:
    return job.submitted and job.provider_job_id is None and job.request is not None and job.status not in FINISHED
