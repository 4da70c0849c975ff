"""What runs at Replicate and should not: jobs that we gave up, and second ones of a job whose answer was lost.

Cancelled is only what is certainly ours and one too many: it carries our marker, or it is the only one that is like our
request and began while we were asking. Whatever else looks like ours is told of and left alone.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import structlog

from ..core.jobs import JobStatus, given_up
from ..core.prediction import parse_prediction, parse_time
from ..errors import TunerdError
from ..store.records import Job
from ..store.store import Store
from .cancel import Canceller
from .client import ReplicateClient
from .lost import CLOCK_SLACK, alike, marker
from .outbox import Outbox
from .outgoing import decode
from .poll import append_answer
from .recovery import is_open_intent

log = structlog.get_logger()

_STRAY_WITHIN = 900.0  # seconds after we gave a job up in which it may still turn up at Replicate
_FORGOTTEN = 86_400.0  # seconds after which a job that we gave up is not looked at again
# Seconds after the last create call of a job that was asked for more than once in which a second one is looked for.
_TWIN_WITHIN = 600.0
_LONGEST_CREATE = 150.0  # seconds between sending a create call and the job's beginning at Replicate
_CLOCKS = 2.0  # seconds that Replicate's clock may differ where we cancel by likeness
_GIVEN_UP = frozenset({JobStatus.FAILED, JobStatus.CANCELLED})
_ALIVE = frozenset({"starting", "processing"})


class Strays:
    """``now`` gives unix seconds."""

    def __init__(
        self,
        store: Store,
        outbox: Outbox,
        client: ReplicateClient,
        canceller: Canceller,
        *,
        now: Callable[[], float],
    ) -> None:
        self._store = store
        self._outbox = outbox
        self._client = client
        self._canceller = canceller
        self._now = now
        self._looking = asyncio.Lock()
        self._seen: set[str] = set()  # provider ids that were seen to

    async def run(self) -> None:
        """One round; nothing where an earlier one still goes on. One job's failure is that job's."""
        if self._looking.locked():
            return
        async with self._looking:
            for job in await self._store.jobs.doubtful(since=self._now() - _FORGOTTEN):
                try:
                    await self._see_to(job)
                except TunerdError as problem:
                    log.warning("outbox.stray", job_id=job.job_id, reason=problem.detail)

    async def _see_to(self, job: Job) -> None:
        now, new = self._now(), False
        if job.status in _GIVEN_UP:
            if job.provider_job_id is None and job.sent_at is not None and now - job.updated_at < _STRAY_WITHIN:
                items = await self._outbox.recent(job)
                provider_id = next((str(item["id"]) for item in _marked(items, job)), None)
                provider_id = provider_id or await self._told_by_likeness(job, items)
                if provider_id is None:
                    return
                job, new = await self._outbox.bind(job, provider_id, None), True
            # Of one that is bound Replicate may have said nothing yet, or a word that we do not know.
            waits = not new and job.check_after is not None and job.check_after > now
            if job.provider_job_id is not None and given_up(job.status, job.provider_status) and not waits:
                await self._end(job)
        if job.provider_job_id is not None and (job.sends or 0) > 1 and now - (job.sent_at or 0.0) < _TWIN_WITHIN:
            for item in _marked(await self._outbox.recent(job), job):
                if item["id"] != job.provider_job_id and item["id"] not in self._seen:
                    await self._see_to_twin(job, item)

    async def _end(self, job: Job) -> None:
        """Its submit was answered "failed": it must not run on."""
        if await self._canceller.tell(job):
            # A finished job's row keeps its words, so this is what says that it has been seen to.
            now = self._now()
            await self._store.jobs.set_checked(job.job_id, now=now, check_after=now + _FORGOTTEN)
            log.info("outbox.stray_cancelled", job_id=job.job_id, provider_job_id=job.provider_job_id)

    async def _see_to_twin(self, job: Job, item: Mapping[str, Any]) -> None:
        twin = str(item["id"])
        if await self._outbox.is_owned(twin):
            return
        began_with = _began_with(job, self._outbox.intent_at(job), item)
        cancelled = item.get("status") in _ALIVE and _is_surplus(job) and began_with
        asked = self._client.cancel if cancelled else self._client.get
        body = await asked(twin, job.api_kind)
        prediction = None if body is None else parse_prediction(body)
        if body is None or prediction is None or prediction.id != twin:
            return  # not shown just now: it is listed in the next round, too
        await append_answer(self._store.journal, body, prediction, now=self._now())
        await self._store.jobs.tell_doubled(job.job_id, twin, cancelled=cancelled, sure=True, now=self._now())
        self._seen.add(twin)
        log.error("outbox.twin", job_id=job.job_id, provider_job_id=job.provider_job_id, twin=twin, cancelled=cancelled)

    async def _told_by_likeness(self, job: Job, items: Sequence[Mapping[str, Any]]) -> str | None:
        """The only job that is like ours and began while we asked for it. Others that are like it are told of."""
        if job.request is None or await self._equal_is_open(job):
            return None
        intent_at = self._outbox.intent_at(job)
        found = alike(items, decode(job.request), intent_at)
        found = [item for item in found if not await self._outbox.is_owned(item["id"]) and item.get("status") in _ALIVE]
        if len(found) == 1 and _began_while_asking(found[0], job, job.created_at - intent_at):
            return str(found[0]["id"])
        for item in found:
            if item["id"] not in self._seen:
                await self._store.jobs.tell_doubled(
                    job.job_id, item["id"], cancelled=False, sure=False, now=self._now()
                )
                self._seen.add(item["id"])
                log.error("outbox.perhaps_ours", job_id=job.job_id, provider_job_id=item["id"])
        return None

    async def _equal_is_open(self, job: Job) -> bool:
        """Whether another job is being sent whose own at Replicate would look the same: it is not bound yet."""
        return any(
            is_open_intent(other) and (other.api_kind, other.model) == (job.api_kind, job.model)
            for other in await self._store.jobs.unfinished()
        )


def _marked(items: Sequence[Mapping[str, Any]], job: Job) -> list[Mapping[str, Any]]:
    """Every one with the marker, oldest first."""
    return [item for item in reversed(items) if marker(item) == job.job_id and isinstance(item.get("id"), str)]


def _is_surplus(job: Job) -> bool:
    """Where the job itself failed at Replicate, a second one may be what its user is glad of."""
    return job.status is not JobStatus.FAILED or job.provider_status != "failed"


def _began_with(job: Job, intent_at: float, item: Mapping[str, Any]) -> bool:
    """While we were asking; whoever takes our webhook URL over later has a job of their own."""
    return _began_between(item, intent_at - CLOCK_SLACK, (job.sent_at or job.created_at) + _LONGEST_CREATE)


def _began_while_asking(item: Mapping[str, Any], job: Job, ahead: float) -> bool:
    """To the second, where our clock is ``ahead`` of Replicate's. By a clock that is far off nothing is cancelled."""
    ahead = ahead if ahead > _CLOCKS else 0.0  # it is told in whole seconds, and late
    earliest, latest = job.created_at - ahead - _CLOCKS, job.updated_at - ahead + _CLOCKS
    return ahead < CLOCK_SLACK and _began_between(item, earliest, latest)


def _began_between(item: Mapping[str, Any], earliest: float, latest: float) -> bool:
    created = parse_time(item.get("created_at"))
    return created is not None and earliest <= created <= latest
