"""Webhooks get lost: every unfinished job is asked for at start-up and on a timer. Part of correctness, never off."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

import structlog

from ..core.jobs import FINISHED, JobStatus
from ..core.prediction import parse_prediction
from ..errors import NotReady, ProviderError, ProviderUnavailable, TokenMissing, TunerdError
from ..metrics import Metrics
from ..store.records import Job
from ..store.store import Store
from .client import ApiKind, ReplicateClient
from .poll import append_answer, brings_news
from .submit import Submitter
from .transport import NotSent, Throttled

log = structlog.get_logger()

_AT_ONCE = 8  # requests; a round of some hundred jobs takes seconds and stays far below 3000 a minute
_LONGEST_BACKOFF = 600.0  # seconds between two looks at a job that Replicate does not show
# Seconds without any news after which such a job is looked at hourly. It is never given up: a training that queues for
# more than half an hour answers 404 although it runs later.
_PATIENT_AFTER = 86_400.0
_HOURLY = 3600.0
_THROTTLED_PAUSE = 30.0  # seconds, where a 429 does not say when
# Seconds after a job's end in which an output that is missing may still be asked for; then the provider has removed it.
_OUTPUT_LIFETIME = 3600.0
_RECENT_COMPLETED = 100  # jobs looked at for a missing output


class Reconciler:
    """``interval`` in seconds; ``now`` gives unix seconds."""

    def __init__(
        self,
        store: Store,
        client: ReplicateClient,
        submitter: Submitter,
        *,
        interval: float,
        now: Callable[[], float],
        metrics: Metrics | None = None,
    ) -> None:
        metrics = metrics or Metrics()
        self._findings, self._round = metrics.reconcile_findings, metrics.reconcile_round
        self._store = store
        self._client = client
        self._submitter = submitter
        self.interval = interval
        self._now = now
        self._paused_until = 0.0
        self._told_no_token = False

    async def run(self) -> None:
        """For ever. Expected failures end a round; anything else ends the task, for its watcher to see."""
        while True:
            try:
                await self._submitter.resume_outbox()
                await self.check_all()
            except TunerdError as problem:
                log.warning("reconcile.round_failed", reason=problem.detail)
            self._round.set(self._now())
            await asyncio.sleep(self.interval)

    async def check_all(self) -> int:
        """Ask for every job that is due; how many brought something new."""
        now = self._now()
        if now < self._paused_until:
            return 0
        due = [job for job in await self._candidates(now) if job.check_after is None or job.check_after <= now]
        queue, found = iter(due), 0

        async def work() -> int:
            count = 0
            for job in queue:
                if self._paused_until > now:
                    break
                count += await self._check_safely(job)
            return count

        async with asyncio.TaskGroup() as group:
            workers = [group.create_task(work()) for _ in range(min(_AT_ONCE, len(due)))]
        found = sum(worker.result() for worker in workers)
        if due:
            log.debug("reconcile.round", asked=len(due), news=found)
        return found

    async def _candidates(self, now: float) -> list[Job]:
        unfinished = [job for job in await self._store.jobs.unfinished() if job.provider_job_id is not None]
        completed, _, _ = await self._store.jobs.list(status=JobStatus.COMPLETED.value, limit=_RECENT_COMPLETED)
        return unfinished + [job for job in completed if _lacks_output(job, now)]

    async def _check_safely(self, job: Job) -> bool:
        """One job's failure is that job's; what concerns all of them pauses the round."""
        try:
            return await self._check(job)
        except TunerdError as problem:
            self._findings.labels("failed").inc()
            await self._failed(job, problem)
        return False

    async def _failed(self, job: Job, problem: TunerdError) -> None:
        match problem:
            case TokenMissing():
                if not self._told_no_token:
                    log.warning("reconcile.no_token", reason=problem.detail)
                self._told_no_token = True
                self._pause(self.interval)
            case Throttled():
                log.info("reconcile.throttled", seconds=problem.wait)
                self._pause(_THROTTLED_PAUSE if problem.wait is None else problem.wait)
            case NotSent():
                log.warning("reconcile.unreachable", reason=problem.detail)
                self._pause(min(self.interval, _THROTTLED_PAUSE))
            case ProviderError() if problem.extra.get("provider_status") in {401, 403}:
                log.warning("reconcile.refused", reason=problem.detail)
                self._pause(self.interval)
            case ProviderError() | ProviderUnavailable():
                await self._back_off(job, problem.detail)
            case NotReady():
                log.warning("reconcile.store_not_ready", job_id=job.job_id, reason=problem.detail)
            case _:
                raise problem

    async def _check(self, job: Job) -> bool:
        assert job.provider_job_id is not None, "candidates have one"
        self._told_no_token = False
        if job.cancel_requested and job.status not in FINISHED:
            job = await self._submitter.honour_cancel(job)
            if job.status in FINISHED:
                return True
        body = await self._get(job.provider_job_id or "", job.api_kind)
        prediction = None if body is None else parse_prediction(body)
        if body is None or prediction is None or prediction.id != job.provider_job_id:
            # Never "failed": a job that queues for long answers 404 and runs all the same.
            self._findings.labels("not_shown").inc()
            await self._back_off(
                job, "Replicate does not show it now" if body is None else "its answer is not this job"
            )
            return False
        current = await self._store.jobs.get(job.job_id) or job  # a webhook may have come while we waited
        news = brings_news(current, prediction)
        if news:
            # Without a webhook URL it is the API that tells, and nothing was missed.
            missed = prediction.webhook is not None
            appended = await append_answer(self._store.journal, body, prediction, now=self._now(), missed=missed)
            news = not appended.duplicate
            log.info("reconcile.news", job_id=job.job_id, provider_job_id=prediction.id, kind=appended.kind.value)
        self._findings.labels("news" if news else "same").inc()
        await self._store.jobs.set_checked(job.job_id, now=self._now(), check_after=None)
        return news

    async def _get(self, provider_id: str, api_kind: ApiKind) -> bytes | None:
        """A single attempt: the next round is the retry. Predictions answer for trainings, too."""
        body = await self._client.get(provider_id, api_kind, patient=False)
        if body is None and api_kind == "training":
            body = await self._client.get(provider_id, "prediction", patient=False)
        return body

    async def _back_off(self, job: Job, reason: str) -> None:
        now = self._now()
        # The delay before is in the row, so that a restart does not begin anew.
        before = (job.check_after or 0.0) - (job.checked_at or 0.0) if job.check_after is not None else 0.0
        longest = _LONGEST_BACKOFF if now - job.updated_at < _PATIENT_AFTER else _HOURLY
        delay = min(longest, max(self.interval, 2 * before))
        log.info(
            "reconcile.back_off", job_id=job.job_id, provider_job_id=job.provider_job_id, seconds=delay, reason=reason
        )
        await self._store.jobs.set_checked(job.job_id, now=now, check_after=now + delay)

    def _pause(self, seconds: float) -> None:
        self._paused_until = max(self._paused_until, self._now() + seconds)


def _lacks_output(job: Job, now: float) -> bool:
    """Completed without an output, and not looked at since: the final event may have come without it."""
    ended = job.updated_at if job.completed_at is None else job.completed_at
    asked = job.checked_at is not None and job.checked_at >= job.updated_at
    return job.output is None and job.provider_job_id is not None and not asked and now - ended < _OUTPUT_LIFETIME
