"""From a written intent to a job at Replicate: sent once, found again when the answer is lost, never paid for twice.

Nothing here is remembered in the process alone: a restart finds the intent without a provider id and goes on from it.
"""

from __future__ import annotations

import asyncio
import contextlib
import secrets
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from functools import partial
from typing import Any
from weakref import WeakValueDictionary

import msgspec
import structlog

from ..core.jobs import JobStatus, Signal
from ..core.prediction import Prediction, parse_prediction
from ..errors import NotReady, ProviderError, ProviderUnavailable, TokenMissing
from ..store.records import Job
from ..store.store import Store
from .client import ReplicateClient
from .creating import Create, prepared
from .dataset.archive import Archive
from .dataset.bringing import Datasets
from .exact import ExactRequests
from .lost import CLOCK_SLACK, LIKENESS_SLACK, alike, marked
from .outgoing import Outgoing, canonical
from .transport import Ambiguous, NotSent, Refused, Throttled

log = structlog.get_logger()

# A claim outlives the longest create call (90 s) that was begun under it, and the clocks' difference. So long does an
# intent wait whose daemon was killed, where other daemons share its database.
CLAIM_SECONDS = 150.0
_LOOK_EVERY = 0.5  # seconds between two looks at another daemon's work
# Seconds before each look for the job after a lost answer: creates and lists are served by different backends, and a
# gateway that gave up does not stop the backend behind it.
_LOOKS = (2.0, 3.0, 5.0)
_MOST_SENDS = 3  # of one submit, where each answer was lost; its caller is waiting


class TakenOver(Exception):
    """Another daemon works on the intent: nothing is left to do here."""


class Outbox:
    """Sends single intents. ``now`` gives unix seconds. ``owner`` names this process among all that share the store."""

    def __init__(
        self,
        store: Store,
        client: ReplicateClient,
        datasets: Datasets,
        *,
        now: Callable[[], float],
        sleep: Callable[[float], Awaitable[None]] = asyncio.sleep,
        owner: str | None = None,
    ) -> None:
        self._store = store
        self._client = client
        self._datasets = datasets
        self._now = now
        self._sleep = sleep
        self.owner = owner or secrets.token_hex(8)
        # Requests without a marker are told apart by their order only, so equal ones go one after the other.
        self._locks: WeakValueDictionary[bytes, asyncio.Lock] = WeakValueDictionary()
        self.live: dict[str, asyncio.Event] = {}  # intents that this process works on; set when it is done with one
        self.exact = ExactRequests(store, now=now)
        self._created: dict[str, Prediction] = {}  # by job id: made at Replicate, and the store could not be written
        # Intents of which the store did not say that they were written, and whose callers were told to come again: that
        # makes a job of its own, so these are not sent.
        self.unanswered: set[str] = set()

    # -- whose it is -----------------------------------------------------------------------

    @contextlib.asynccontextmanager
    async def working_on(self, job_id: str) -> AsyncIterator[None]:
        """Nobody else takes the intent up meanwhile: in this process for sure, elsewhere once it is claimed."""
        done = self.live[job_id] = asyncio.Event()
        renewing = asyncio.create_task(self._renew(job_id), name=f"claim on {job_id}")
        try:
            yield
        finally:
            renewing.cancel()
            try:
                with contextlib.suppress(NotReady):  # then it runs out by itself
                    await self._store.claims.release(job_id, self.owner)
            finally:
                del self.live[job_id]
                done.set()

    async def claim(self, job_id: str) -> bool:
        """Make the intent ours for ``CLAIM_SECONDS`` from now. ``False``: another daemon works on it, or it is none."""
        now = self._now()
        return await self._store.claims.take(job_id, self.owner, now=now, until=now + CLAIM_SECONDS)

    async def _renew(self, job_id: str) -> None:
        while True:
            await asyncio.sleep(CLAIM_SECONDS / 3)
            with contextlib.suppress(NotReady):  # whoever sends asks once more
                await self.claim(job_id)

    async def wait_for_other(self, job_id: str, seconds: float) -> None:
        """Until nobody works on the intent any more, here or in another daemon; at most so long.

        Not for who is ``working_on`` it: it would wait for itself.
        """
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(seconds):
                here = self.live.get(job_id)
                if here is not None:
                    await here.wait()
                while await self._store.claims.is_live(job_id, now=self._now()):  # noqa: ASYNC110 - another process sets no event
                    await asyncio.sleep(_LOOK_EVERY)

    # -- sending ---------------------------------------------------------------------------

    async def upload(self, job: Job, outgoing: Outgoing, archive: Archive | None = None) -> Outgoing:
        """Bring the local folders to Replicate; the request then names the file's URL instead.

        A job that is cancelled meanwhile keeps its folders. Raises the dataset errors (only where ``archive`` is not
        given) and those of the client.
        """
        if not outgoing.datasets:
            return outgoing
        await self._store.jobs.signal(job.job_id, Signal.UPLOAD, now=self._now())
        async with self._datasets.packed(() if archive else outgoing.datasets) as again:
            upload = await self._datasets.bring(job, archive or again)
        if upload is None:
            return outgoing
        sent = msgspec.structs.replace(
            outgoing,
            input={**outgoing.input, "images": upload.url},
            datasets=(),
            uploaded=outgoing.datasets,
            uploaded_until=upload.expires_at or None,
        )
        await self.exact.keep(job.job_id, msgspec.json.encode(sent).decode())
        return sent

    async def send(self, job: Job, outgoing: Outgoing) -> Job:
        """Create it at Replicate and bind the answer. Raises what the client raises, and ``TakenOver``.

        ``job``: as it was when it was last looked for. After ``Ambiguous`` it may run there all the same; whoever ends
        it now has to look again later. A call that certainly had no effect is not counted among the ``sends``.
        """
        async with self.alone(outgoing):
            return await self._send(job, outgoing)

    @contextlib.asynccontextmanager
    async def alone(self, outgoing: Outgoing | None) -> AsyncIterator[None]:
        """No equal request is sent or looked for meanwhile."""
        if outgoing is None:
            yield
            return
        key = canonical([outgoing.model, outgoing.version, outgoing.input, outgoing.webhook])
        async with self._locks.setdefault(key, asyncio.Lock()):
            yield

    async def _send(self, job: Job, outgoing: Outgoing) -> Job:
        attempts, sends = min(self._client.policy.attempts, _MOST_SENDS), job.sends or 0
        create = None
        for attempt in range(1, attempts + 1):
            job = await self._require(job.job_id)
            if job.provider_job_id is not None:  # a webhook was faster than the answer
                return await self.bound(job)
            if job.cancel_requested:
                return await self.end(job, Signal.CANCELLED, "Cancelled before it was sent to Replicate.")
            create = create or await self._prepared(outgoing)
            await self._note_call(job.job_id, sends)
            sends += 1
            try:
                prediction = parse_prediction(await create(partial(self._note_call, job.job_id, sends, again=True)))
                if prediction is None:
                    raise Ambiguous("Replicate's answer to the create call is not a prediction.")
            except (NotSent, Throttled, Refused, TokenMissing) as problem:
                if not await self._store.claims.unsent(job.job_id, self.owner):
                    raise TakenOver(job.job_id) from problem
                raise
            except Ambiguous as problem:
                log.warning("submit.answer_lost", job_id=job.job_id, attempt=attempt, reason=problem.detail)
                found = await self._look(job, outgoing)
                if found is not None:
                    return await self.bind(job, found, None)
                if attempt == attempts:
                    raise
            else:
                return await self._bind_created(job, prediction)
        raise AssertionError("the last attempt raises")

    async def _prepared(self, outgoing: Outgoing) -> Create:
        return await prepared(self._client, outgoing)

    async def _note_call(self, job_id: str, before: int, *, again: bool = False) -> None:
        """The create call goes out now. Raises ``TakenOver``: not by us. See ``Claims.sending``."""
        now, until = self._now(), self._now() + CLAIM_SECONDS
        if not await self._store.claims.sending(job_id, self.owner, now=now, until=until, before=before, again=again):
            raise TakenOver(job_id)

    async def _look(self, job: Job, outgoing: Outgoing) -> str | None:
        """Look for a job whose answer was lost, several times. Raises where the last look tells nothing."""
        for number, seconds in enumerate(_LOOKS, 1):
            await self._sleep(seconds)
            try:
                found = await self.find(job, outgoing)
            except ProviderUnavailable:
                if number == len(_LOOKS):
                    raise
                continue
            if found is not None:
                return found
        return None

    async def _bind_created(self, job: Job, prediction: Prediction) -> Job:
        """Where the store cannot be written now, the job is bound later: it runs, and that is what its caller hears."""
        self._created[job.job_id] = prediction
        try:
            return await self.bind(job, prediction.id, prediction)
        except NotReady as problem:
            log.warning("submit.not_bound", job_id=job.job_id, provider_job_id=prediction.id, reason=problem.detail)
            return msgspec.structs.replace(job, provider_job_id=prediction.id, status=JobStatus.QUEUED)

    # -- finding ---------------------------------------------------------------------------

    async def find(self, job: Job, outgoing: Outgoing | None) -> str | None:
        """The provider's id of ``job`` where Replicate has it; without ``outgoing``, by the marker alone.

        Raises ``ProviderUnavailable``: not known.
        """
        current = await self._require(job.job_id)
        if current.provider_job_id is not None:
            return current.provider_job_id
        if job.job_id in self._created:
            return self._created[job.job_id].id
        items = await self.recent(job)
        ours = marked(items, job.job_id)
        if ours is not None:
            return str(ours["id"])
        for item in [] if outgoing is None else alike(items, outgoing, self.intent_at(job)):
            if not await self.is_owned(item["id"]):
                return str(item["id"])
        return None

    async def is_owned(self, provider_id: str) -> bool:
        """Whether it is bound to a submitted job."""
        owner = await self._store.jobs.get(provider_id)
        return owner is not None and owner.submitted

    async def recent(self, job: Job) -> list[Mapping[str, Any]]:
        """The account's jobs since the intent. Raises ``ProviderUnavailable``, also where the look was refused."""
        since = self.intent_at(job) - CLOCK_SLACK
        try:
            items: list[Any] = [item async for item in self._client.recent(job.api_kind, created_after=since)]
        except ProviderError as refused:  # the look, not the job: that one may be running
            raise ProviderUnavailable(f"Whether Replicate has the job cannot be seen: {refused.detail}") from refused
        # The first answer of all tells how our clocks differ, and that this was too short a list.
        return items if since - (self.intent_at(job) - CLOCK_SLACK) < LIKENESS_SLACK else await self.recent(job)

    def intent_at(self, job: Job) -> float:
        """When the intent was written, by Replicate's clock, as far as we know how the two differ."""
        return min(job.created_at, self._now()) - self._client.ahead

    async def bind(self, job: Job, provider_id: str, prediction: Prediction | None) -> Job:
        """Note the provider's id. Raises ``ProviderError`` where one of them is bound otherwise, and ``NotReady``."""
        told = prediction or self._created.get(job.job_id)
        try:
            job = await self._store.jobs.bind_provider(job.job_id, provider_id, now=self._now(), prediction=told)
        except ProviderError:
            self._created.pop(job.job_id, None)
            raise
        self._created.pop(job.job_id, None)
        log.info("submit.bound", job_id=job.job_id, provider_job_id=provider_id, status=job.status)
        return await self.bound(job)

    async def bound(self, job: Job) -> Job:
        """The exact request is not needed any more: the job is bound, or over."""
        with contextlib.suppress(NotReady):  # it is swept some day
            await self.exact.drop(job.job_id)
        return job

    async def end(self, job: Job, signal: Signal, reason: str) -> Job:
        """End a job that Replicate does not have."""
        job = await self._store.jobs.signal(job.job_id, signal, now=self._now(), error=reason)
        self.unanswered.discard(job.job_id)
        log.info("submit.ended", job_id=job.job_id, status=job.status, reason=reason)
        return await self.bound(job)

    async def _require(self, job_id: str) -> Job:
        job = await self._store.jobs.get(job_id)
        assert job is not None, "an intent is never deleted while it is being sent"
        return job
