"""From a written intent to a job at Replicate: sent once, found again when the answer is lost, never paid for twice.

Nothing here is remembered in the process alone: a restart finds the intent without a provider id and goes on from it.
"""

from __future__ import annotations

import asyncio
import contextlib
import random
import secrets
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from typing import Any
from weakref import WeakValueDictionary

import msgspec
import structlog

from ..core.jobs import Signal
from ..core.prediction import Prediction, parse_prediction
from ..errors import NotReady, ProviderError
from ..store.records import Job
from ..store.store import Store
from .client import ReplicateClient
from .dataset.archive import Archive
from .dataset.bringing import Datasets
from .lost import CLOCK_SLACK, alike, marked
from .outgoing import Outgoing, canonical, decode
from .retry import backoff
from .transport import Ambiguous

log = structlog.get_logger()

# A claim outlives the longest create call (90 s) that was begun under it, and the clocks' difference. So long does an
# intent wait whose daemon was killed, where other daemons share its database.
CLAIM_SECONDS = 150.0
_LOOK_EVERY = 0.5  # seconds between two looks at another daemon's work
# Seconds between a lost answer and the look for the job: creates and lists are served by different backends.
_LOOK_AFTER = 2.0


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
        """Make the intent ours for ``CLAIM_SECONDS`` from now. ``False``: another daemon works on it."""
        now = self._now()
        return await self._store.claims.take(job_id, self.owner, now=now, until=now + CLAIM_SECONDS)

    async def _renew(self, job_id: str) -> None:
        while True:
            await asyncio.sleep(CLAIM_SECONDS / 3)
            with contextlib.suppress(NotReady):  # whoever sends asks once more
                await self.claim(job_id)

    async def wait_for_other(self, job_id: str, seconds: float) -> None:
        """Until nobody works on the intent any more, here or in another daemon; at most so long."""
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(seconds):
                here = self.live.get(job_id)
                if here is not None:
                    await here.wait()
                while await self._store.claims.is_live(job_id, now=self._now()):  # noqa: ASYNC110 - another process sets no event
                    await asyncio.sleep(_LOOK_EVERY)

    # -- the exact request -----------------------------------------------------------------

    async def keep_exact(self, job_id: str, exact: str | None) -> None:
        """Keep what the job's row must not hold in the clear; before the intent is written."""
        if exact is not None:
            await self._store.secrets.put(_slot(job_id), exact, now=self._now())

    async def drop_exact(self, job_id: str) -> None:
        await self._store.secrets.delete(_slot(job_id))

    async def load(self, job: Job) -> Outgoing | None:
        """What is to be sent for ``job``; ``None`` where that cannot be read any more."""
        text = await self._store.secrets.get(_slot(job.job_id)) or job.request
        try:
            return None if text is None else decode(text)
        except msgspec.MsgspecError:
            return None

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
            url = await self._datasets.bring(job, archive or again)
        if url is None:
            return outgoing
        sent = msgspec.structs.replace(outgoing, input={**outgoing.input, "images": url}, datasets=())
        await self.keep_exact(job.job_id, msgspec.json.encode(sent).decode())
        return sent

    async def send(self, job: Job, outgoing: Outgoing) -> Job:
        """Create it at Replicate and bind the answer. Raises what the client raises, and ``TakenOver``.

        After ``Ambiguous`` the job may run there all the same; whoever ends the job now has to look again later.
        """
        key = canonical([outgoing.model, outgoing.version, outgoing.input, outgoing.webhook])
        lock = self._locks.setdefault(key, asyncio.Lock())
        async with lock:
            return await self._send(job, outgoing)

    async def _send(self, job: Job, outgoing: Outgoing) -> Job:
        attempts = self._client.policy.attempts
        for attempt in range(1, attempts + 1):
            job = await self._require(job.job_id)
            if job.provider_job_id is not None:  # a webhook was faster than the answer
                return await self.bound(job)
            if job.cancel_requested:
                return await self.end(job, Signal.CANCELLED, "Cancelled before it was sent to Replicate.")
            if not await self.claim(job.job_id):
                raise TakenOver(job.job_id)
            try:
                body = await self._create(outgoing)
                prediction = parse_prediction(body)
                if prediction is None:
                    raise Ambiguous("Replicate's answer to the create call is not a prediction.")
                return await self.bind(job, prediction.id, prediction)
            except Ambiguous as problem:
                log.warning("submit.answer_lost", job_id=job.job_id, attempt=attempt, reason=problem.detail)
                wait = backoff(self._client.policy, attempt, random.random())  # noqa: S311 - not a secret
                await self._sleep(max(wait, _LOOK_AFTER))
                found = await self.find(job, outgoing)
                if found is not None:
                    return await self.bind(job, found, None)
                if attempt == attempts:
                    raise
        raise AssertionError("the last attempt raises")

    async def _create(self, outgoing: Outgoing) -> bytes:
        version = outgoing.version
        if version is None:
            latest = (await self._client.model(outgoing.model or "")).get("latest_version")
            version = latest.get("id") if isinstance(latest, dict) else None
        if outgoing.kind == "training":
            if version is None:
                raise ProviderError(f"{outgoing.model} has no version to train with. Name one in `version`.")
            return await self._client.create_training(outgoing.model or "", version, outgoing.payload(version))
        if version is None:  # an official model
            return await self._client.create_model_prediction(outgoing.model or "", outgoing.payload(None))
        return await self._client.create_prediction(outgoing.payload(version))

    # -- finding ---------------------------------------------------------------------------

    async def find(self, job: Job, outgoing: Outgoing) -> str | None:
        """The provider's id of ``job`` where Replicate has it. Raises ``ProviderUnavailable``: not known."""
        current = await self._require(job.job_id)
        if current.provider_job_id is not None:
            return current.provider_job_id
        items = await self._recent(job)
        ours = marked(items, job.job_id)
        if ours is not None:
            return str(ours["id"])
        for item in alike(items, outgoing, job.created_at):
            owner = await self._store.jobs.get(item["id"])
            if owner is None or not owner.submitted:
                return str(item["id"])
        return None

    async def find_marked(self, job: Job) -> str | None:
        """As ``find``, by the marker alone: for ending a job, where likeness could hit one that is not ours."""
        ours = marked(await self._recent(job), job.job_id)
        return None if ours is None else str(ours["id"])

    async def _recent(self, job: Job) -> list[Mapping[str, Any]]:
        since = job.created_at - CLOCK_SLACK
        return [item async for item in self._client.recent(job.api_kind, created_after=since)]

    async def bind(self, job: Job, provider_id: str, prediction: Prediction | None) -> Job:
        """Note the provider's id."""
        job = await self._store.jobs.bind_provider(job.job_id, provider_id, now=self._now(), prediction=prediction)
        log.info("submit.bound", job_id=job.job_id, provider_job_id=provider_id, status=job.status)
        return await self.bound(job)

    async def bound(self, job: Job) -> Job:
        """The exact request is not needed any more."""
        await self.drop_exact(job.job_id)
        return job

    async def end(self, job: Job, signal: Signal, reason: str) -> Job:
        """End a job that Replicate does not have."""
        job = await self._store.jobs.signal(job.job_id, signal, now=self._now(), error=reason)
        await self.drop_exact(job.job_id)
        log.info("submit.ended", job_id=job.job_id, status=job.status, reason=reason)
        return job

    async def _require(self, job_id: str) -> Job:
        job = await self._store.jobs.get(job_id)
        assert job is not None, "an intent is never deleted while it is being sent"
        return job


def _slot(job_id: str) -> str:
    return f"outbox/{job_id}"
