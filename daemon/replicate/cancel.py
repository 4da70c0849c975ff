"""Cancel a job: written down first, so that it is honoured also where Replicate cannot be told at once."""

from __future__ import annotations

from collections.abc import Callable

import structlog

from ..core.events import signal_of
from ..core.jobs import ENDS, FINISHED
from ..core.prediction import parse_prediction
from ..errors import JobFinished, JobNotFound, TunerdError
from ..store.records import Job
from ..store.store import Store
from .client import ReplicateClient
from .poll import append_answer, brings_news

log = structlog.get_logger()


class Canceller:
    """``now`` gives unix seconds."""

    def __init__(self, store: Store, client: ReplicateClient, *, now: Callable[[], float]) -> None:
        self._store = store
        self._client = client
        self._now = now

    async def cancel(self, job_id: str) -> Job:
        """Any unfinished state. Without a provider id yet, whoever sends the job finds the order and honours it.

        Raises ``JobNotFound``, ``JobFinished``.
        """
        job = await self._store.jobs.get(job_id)
        if job is None:
            raise JobNotFound(f"There is no job {job_id!r}. `tunerd jobs` lists them.")
        if job.status in FINISHED:
            raise JobFinished(f"Job {job.job_id} is {job.status.value} already; there is nothing to cancel.")
        job = await self._store.jobs.request_cancel(job.job_id, now=self._now())
        log.info("cancel.requested", job_id=job.job_id, provider_job_id=job.provider_job_id)
        return await self.honour(job)

    async def honour(self, job: Job) -> Job:
        """Tell Replicate of a cancel that was asked for. What fails is left to the reconciler's next round."""
        if not job.cancel_requested or job.provider_job_id is None or job.status in FINISHED:
            return job
        try:
            await self.tell(job)
        except TunerdError as problem:
            log.warning("cancel.deferred", job_id=job.job_id, reason=problem.detail)
        return await self._store.jobs.get(job.job_id) or job

    async def tell(self, job: Job) -> bool:
        """Cancel at Replicate; its answer goes through the journal. ``True``: it has ended there.

        Raises what the client raises, and ``NotReady``.
        """
        assert job.provider_job_id is not None, "only a bound job can be cancelled there"
        body = await self._client.cancel(job.provider_job_id, job.api_kind)
        prediction = parse_prediction(body)
        if prediction is None or prediction.id != job.provider_job_id:
            return False
        if brings_news(job, prediction):
            await append_answer(self._store.journal, body, prediction, now=self._now())
        log.info("cancel.told", job_id=job.job_id, provider_job_id=prediction.id, status=prediction.status)
        return signal_of(prediction) in ENDS
