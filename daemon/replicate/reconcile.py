"""Webhooks get lost: every unfinished job is asked for at start-up and on a timer. Part of correctness, never off."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable

import msgspec
import structlog

from ..core.jobs import FINISHED
from ..core.prediction import Prediction, parse_prediction
from ..errors import NotReady, ProviderError, ProviderUnavailable, TokenMissing, TunerdError
from ..metrics import Metrics
from ..store.records import Job
from ..store.store import Store
from .client import ApiKind, ReplicateClient
from .poll import append_answer, brings_news
from .submit import Submitter
from .transport import NotSent, Throttled, TooLarge

log = structlog.get_logger()

_AT_ONCE = 8  # requests; a round of some hundred jobs takes seconds and stays far below 3000 a minute
_LONGEST_BACKOFF = 600.0  # seconds between two looks at a job that Replicate does not show
# Seconds without any news after which such a job is looked at hourly. It is never given up: a training that queues for
# more than half an hour answers 404 although it runs later.
_PATIENT_AFTER = 86_400.0
_HOURLY = 3600.0
_THROTTLED_PAUSE = 30.0  # seconds, where a 429 does not say when
# Seconds after a job's end in which an output that is missing is asked for. Files go after an hour, but trainings and
# addresses in other stores stay, and after an outage one question is cheap.
_OUTPUT_WITHIN = 30 * 86_400.0
_QUEUED_FOR = 86_400.0  # seconds that Replicate may have had a job before we heard of it


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
        self._pause_from = self._paused_until = 0.0
        self._told_no_token = False

    async def run(self) -> None:
        """Runs until cancelled. Expected failures end a round; anything else ends the task, for its watcher to see."""
        try:
            async with asyncio.TaskGroup() as group:
                group.create_task(self._resume_for_ever(), name="intents")
                group.create_task(self._check_for_ever(), name="checks")
        except BaseExceptionGroup as problems:
            raise _first(problems) from problems

    async def _resume_for_ever(self) -> None:
        """Rounds may overlap: an upload that takes an hour holds up neither the next round nor the checks."""
        async with asyncio.TaskGroup() as rounds:
            while True:
                rounds.create_task(self._safely(self._submitter.resume_outbox()))
                await asyncio.sleep(self.interval)

    async def _check_for_ever(self) -> None:
        while True:
            await self._safely(self.check_all())
            self._round.set(self._now())
            await asyncio.sleep(self.interval)

    async def _safely(self, work: Awaitable[object]) -> None:
        try:
            await work
        except* TunerdError as problems:  # a group's, too: an outage of the store ends a round, not the daemon
            log.warning("reconcile.round_failed", reason=_first_detail(problems))

    async def check_all(self) -> int:
        """Ask for every job that is due; how many brought something new."""
        now = self._now()
        if self._is_paused(now):
            return 0
        due = [job for job in await self._candidates(now) if _is_due(job, now)]
        queue, found = iter(due), 0

        async def work() -> int:
            count = 0
            for job in queue:
                if self._is_paused(self._now()):  # since this round began, too
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
        completed = await self._store.jobs.without_output(since=now - _OUTPUT_WITHIN)
        return unfinished + [job for job in completed if _is_worth_asking(job)]

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
        try:
            body = await self._get(job.provider_job_id or "", job.api_kind)
        except TooLarge as problem:
            return await self._check_listed(job, problem.detail)
        prediction = None if body is None else parse_prediction(body)
        if body is None or prediction is None or prediction.id != job.provider_job_id:
            # Never "failed": a job that queues for long answers 404 and runs all the same.
            self._findings.labels("not_shown").inc()
            await self._back_off(
                job, "Replicate does not show it now" if body is None else "its answer is not this job"
            )
            return False
        news = await self._take(job, body, prediction)
        await self._store.jobs.set_checked(job.job_id, now=self._now(), check_after=None)
        return news

    async def _check_listed(self, job: Job, reason: str) -> bool:
        """A log so long that the answer is not read: the list shows the job without it, its end and output included."""
        listed: bytes | None = None
        async for item in self._client.recent(job.api_kind, created_after=job.created_at - _QUEUED_FOR):
            if item.get("id") == job.provider_job_id:
                listed = msgspec.json.encode(item)
                break
        prediction = None if listed is None else parse_prediction(listed)
        if listed is None or prediction is None:
            log.error("reconcile.too_large", job_id=job.job_id, provider_job_id=job.provider_job_id, reason=reason)
        elif await self._take(job, listed, prediction):
            await self._store.jobs.set_checked(job.job_id, now=self._now(), check_after=None)
            return True
        await self._back_off(job, reason)
        return False

    async def _take(self, job: Job, body: bytes, prediction: Prediction) -> bool:
        """Store the answer where it brings something new; whether it did."""
        current = await self._store.jobs.get(job.job_id) or job  # a webhook may have come while we waited
        news = brings_news(current, prediction)
        if news:
            # Without a webhook URL it is the API that tells, and nothing was missed.
            missed = prediction.webhook is not None
            appended = await append_answer(self._store.journal, body, prediction, now=self._now(), missed=missed)
            news = not appended.duplicate
            log.info("reconcile.news", job_id=job.job_id, provider_job_id=prediction.id, kind=appended.kind.value)
        self._findings.labels("news" if news else "same").inc()
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
        now = self._now()
        longer = now + seconds if not self._is_paused(now) else max(self._paused_until, now + seconds)
        self._pause_from, self._paused_until = now, longer

    def _is_paused(self, now: float) -> bool:
        """A clock that was set back ends a pause: nobody knows how long it would last."""
        return self._pause_from <= now < self._paused_until


def _first(problem: BaseException) -> BaseException:
    while isinstance(problem, BaseExceptionGroup):
        problem = problem.exceptions[0]
    return problem


def _is_due(job: Job, now: float) -> bool:
    """Further off than any backoff goes: the clock was set back since."""
    return job.check_after is None or not now < job.check_after <= now + _HOURLY


def _is_worth_asking(job: Job) -> bool:
    """Of a job that completed without an output: the final event may have come without it.

    One answer settles it. Where there was none, it is asked for until the backoff has come to an hour (about a day).
    """
    if job.checked_at is None or job.checked_at < job.updated_at:
        return True
    return job.check_after is not None and job.check_after - job.checked_at < _HOURLY


def _first_detail(problems: BaseExceptionGroup[TunerdError]) -> str:
    first = _first(problems)
    assert isinstance(first, TunerdError), "``except*`` has split off the rest"
    return first.detail
