"""Submit jobs: check, write the intent down, call Replicate, bind. What a crash leaves, ``recovery.py`` finishes."""

from __future__ import annotations

import asyncio
import contextlib
import hashlib
import secrets
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any
from weakref import WeakValueDictionary

import msgspec
import structlog

from .. import tracing
from ..core.costs import price_per_second
from ..core.estimate import Estimate, Unknown
from ..core.jobs import FINISHED, JobStatus, Signal
from ..errors import (
    CostLimitExceeded,
    IdempotencyConflict,
    InvalidRequest,
    NotReady,
    ProviderError,
    ProviderUnavailable,
    TokenMissing,
)
from ..store.effective import EffectiveSettings
from ..store.records import Job, NewJob
from ..store.store import Store
from .answers import SubmitResult, answer, failed_elsewhere, provider_error
from .cancel import Canceller
from .client import ReplicateClient
from .dataset.archive import Archive, Packing
from .dataset.bringing import Datasets, described
from .inputs import InputCheck
from .outbox import CLAIM_SECONDS, Outbox, TakenOver
from .outgoing import Outgoing, encode, webhook_base
from .preflight import Preflight
from .pricing import budget_for, cost_of
from .recovery import Recovery
from .rehearsal import Rehearsal
from .request import SubmitRequest, one_key, plan
from .strays import Strays
from .token import SET_ONE, TokenSource
from .under_way import UnderWay

log = structlog.get_logger()

_WAIT_FOR_OTHER = 300.0  # seconds that a repeated submit waits for the first one's answer


class Submitter:
    """``now`` gives unix seconds.

    ``scratch``: the folder that archives are packed in. ``preflight``: what tries the webhook URL before a job is sent.
    """

    def __init__(
        self,
        store: Store,
        effective: EffectiveSettings,
        client: ReplicateClient,
        tokens: TokenSource,
        *,
        scratch: Path,
        now: Callable[[], float],
        preflight: Preflight | None = None,
        sleep: Callable[[float], Awaitable[None]] = asyncio.sleep,
    ) -> None:
        self._store = store
        self._effective = effective
        self._client = client
        self._tokens = tokens
        self._now = now
        self._keys: WeakValueDictionary[str, asyncio.Lock] = WeakValueDictionary()
        self.under_way = UnderWay(store)
        self._datasets = Datasets(store, client, scratch, now=now)
        self._outbox = Outbox(store, client, self._datasets, now=now, sleep=sleep)
        self._inputs = InputCheck(client, clock=now)
        self._preflight = preflight
        self._rehearsal = Rehearsal(store, effective, tokens, preflight, now=now)
        self._canceller = Canceller(store, client, now=now)
        self._recovery = Recovery(store, self._outbox, self._canceller, now=now, sleep=sleep)
        self._strays = Strays(store, self._outbox, client, self._canceller, now=now)

    # -- submit ----------------------------------------------------------------------------

    async def submit(
        self, request: SubmitRequest, *, idempotency_key: str | None = None, traceparent: str | None = None
    ) -> SubmitResult:
        """See the module. Raises the errors of the contract's submit row. ``traceparent``: the caller's trace."""
        with tracing.span("submit", parent=traceparent, kind="server", dry_run=request.dry_run) as span:
            result = await self._submit_once(request, idempotency_key, span.traceparent or traceparent)
            span.set(job_id=result.body.get("job_id"), provider_job_id=result.body.get("provider_job_id"))
            return result

    async def _submit_once(
        self, request: SubmitRequest, idempotency_key: str | None, traceparent: str | None
    ) -> SubmitResult:
        key = one_key(idempotency_key, request.idempotency_key)
        one_by_one: contextlib.AbstractAsyncContextManager[None] = contextlib.nullcontext()
        if key is not None and request.dataloader_config is not None:  # folders are not packed twice for one job
            one_by_one = self._keys.setdefault(key, asyncio.Lock())
        async with one_by_one:
            with self.under_way.packing(key) as packing:  # who waits for another's turn packs nothing yet
                return await self._submit(request, key, packing, traceparent)

    async def _submit(
        self, request: SubmitRequest, key: str | None, packing: Packing, traceparent: str | None
    ) -> SubmitResult:
        if key is not None and not request.dry_run:
            earlier = await self._store.jobs.with_key(key, _digest(request))
            if earlier is not None:  # whatever has changed since, folders and models too: it is the answer
                return await self._answer_again(earlier)
        job_id = _new_id()
        outgoing = plan(request, self._effective, await self._saved_configs(), job_id)
        await self._check_destinations(request.destinations)
        if request.dry_run:
            async with self._datasets.packed(outgoing.datasets, packing) as file:
                outgoing = await self._inputs.checked(described(outgoing, file))
            return SubmitResult(200, await self._rehearsal.answer(outgoing, request, self._hardware(request)))
        if await self._tokens.get() is None:
            raise TokenMissing(f"REPLICATE_API_TOKEN not set. {SET_ONE}")
        outgoing = await self._tried(outgoing)
        cost = await cost_of(self._store, outgoing, self._hardware(request), self._effective.prices)
        async with self._datasets.packed(outgoing.datasets, packing) as file, self._outbox.working_on(job_id):
            outgoing = await self._inputs.checked(outgoing)  # after the folders: what they lack needs no network
            outgoing = described(outgoing, file)
            shown, exact = encode(outgoing)
            await self._outbox.exact.keep(job_id, exact)
            job, existed = await self._insert(job_id, request, outgoing, shown, key, cost, traceparent)
            sent = None if existed else await self._send(job, outgoing, file)
        if sent is not None:
            return answer(sent, idempotent_hit=False)
        return await self._answer_again(job, idempotent_hit=existed)  # out here, where it does not wait for itself

    async def _tried(self, outgoing: Outgoing) -> Outgoing:
        """``outgoing`` with a word on its webhook URL where that could not be tried. Raises ``WebhookUrlInvalid``."""
        base = webhook_base(outgoing.webhook)
        doubt = None if base is None or self._preflight is None else await self._preflight.check(base)
        if doubt is None:
            return outgoing
        return msgspec.structs.replace(outgoing, webhook_doubt=f"The webhook URL {base} was not proven: {doubt}")

    async def estimate(self, request: SubmitRequest) -> Estimate | None:
        """What ``request`` would cost; ``None`` where nothing tells. Raises the submit's 400 errors."""
        outgoing = plan(request, self._effective, await self._saved_configs(), _new_id())
        await self._check_destinations(request.destinations)
        outgoing = await self._inputs.checked(outgoing)
        cost = await cost_of(self._store, outgoing, self._hardware(request), self._effective.prices)
        return cost if isinstance(cost, Estimate) else None

    def _hardware(self, request: SubmitRequest) -> str:
        return request.hardware or self._effective.hardware

    async def _insert(
        self,
        job_id: str,
        request: SubmitRequest,
        outgoing: Outgoing,
        shown: str,
        key: str | None,
        cost: Estimate | Unknown,
        traceparent: str | None,
    ) -> tuple[Job, bool]:
        metadata = dict(request.metadata or {})
        if request.hub_model_id is not None:
            metadata.setdefault("hub_model_id", request.hub_model_id)  # a Hub destination may ask for it
        now = self._now()
        budget = budget_for(self._effective, cost, now=now)
        new = NewJob(
            job_id=job_id,
            api_kind=outgoing.kind,
            model=outgoing.model,
            version=outgoing.version,
            hardware=self._hardware(request),
            config_name=request.config_name,
            created_at=now,
            cost_estimate=msgspec.json.encode(cost).decode() if isinstance(cost, Estimate) else None,
            metadata=msgspec.json.encode(metadata).decode(),
            idempotency_key=key,
            request_digest=_digest(request),
            request=shown,
            destinations=None if request.destinations is None else msgspec.json.encode(request.destinations).decode(),
            claimed_by=self._outbox.owner,
            claimed_until=now + CLAIM_SECONDS,
            traceparent=traceparent,
            usd_per_second=price_per_second(self._hardware(request), self._effective.prices),
        )
        try:
            job, existed = await self._store.jobs.insert_intent(new, budget)
        except (CostLimitExceeded, IdempotencyConflict):
            await self._outbox.exact.drop(job_id)  # only here: after anything else the intent may be written
            raise
        except NotReady:
            if key is None:  # with a key, whoever comes again finds it
                self._outbox.unanswered.add(job_id)
            raise
        if existed:
            await self._outbox.exact.drop(job_id)
        else:
            log.info("submit.intent", job_id=job_id, model=outgoing.model, kind=outgoing.kind)
        return job, existed

    async def _send(self, job: Job, outgoing: Outgoing, archive: Archive | None) -> Job | None:
        """The job as it was sent, or as it is left to the recovery; ``None``: another daemon has taken it up."""
        try:
            return await self._send_now(job, outgoing, archive)
        except TakenOver:
            return None
        except NotReady as problem:
            # The intent is on disk and is sent from there: an answer that says "try again" would make a second job.
            log.warning("submit.left_to_recovery", job_id=job.job_id, reason=problem.detail)
            return job

    async def _send_now(self, job: Job, outgoing: Outgoing, archive: Archive | None) -> Job:
        try:
            outgoing = await self._outbox.upload(job, outgoing, archive)
            job = await self._outbox.send(job, outgoing)
        except (ProviderError, ProviderUnavailable, TokenMissing) as problem:
            if not await self._outbox.claim(job.job_id):  # a webhook told us meanwhile, or another daemon sends it
                raise TakenOver(job.job_id) from problem
            # The caller hears 502 and may submit again: what turns up of this one is cancelled by `strays.py`.
            ended = await self._outbox.end(job, Signal.FAILED, problem.detail)
            raise provider_error(problem, ended, had_key=job.idempotency_key is not None) from problem
        return await self._canceller.honour(job)

    async def _answer_again(self, job: Job, *, idempotent_hit: bool = True) -> SubmitResult:
        """The answer of whoever sends or has sent the job, once it is known."""
        if job.provider_job_id is None and job.status not in FINISHED:
            await self._outbox.wait_for_other(job.job_id, _WAIT_FOR_OTHER)
            job = await self._store.jobs.get(job.job_id) or job
        if job.provider_job_id is None and job.status is JobStatus.FAILED:
            raise failed_elsewhere(job, idempotent_hit=idempotent_hit)
        if job.provider_job_id is not None and not idempotent_hit:
            job = await self._canceller.honour(await self._outbox.bound(job))
        return answer(job, idempotent_hit=idempotent_hit)

    async def _saved_configs(self) -> dict[str, Any]:
        saved = await self._store.settings.get("configs", {})
        return saved if isinstance(saved, dict) else {}

    async def _check_destinations(self, names: list[str] | None) -> None:
        if names is None:
            return
        known = {destination.name for destination in await self._store.settings.destinations()}
        wrong = [name for name in names if name not in known]
        if wrong or not names:
            there = ", ".join(sorted(known)) or "none"
            raise InvalidRequest(
                f"destinations: {wrong[0]!r} is not configured. There is: {there}."
                if wrong
                else f"destinations is empty; leave it out for all of: {there}.",
                field="destinations",
            )

    # -- what else happens to submitted jobs -------------------------------------------------

    async def cancel(self, job_id: str) -> Job:
        """Cancel a job in any unfinished state. Raises ``JobNotFound``, ``JobFinished``."""
        return await self._canceller.cancel(job_id)

    async def honour_cancel(self, job: Job) -> Job:
        """Tell Replicate, where a cancel was asked for that it does not know of."""
        return await self._canceller.honour(job)

    async def resume_outbox(self) -> None:
        """Finish every intent that a crash or an outage left, and end what runs and should not. Rounds may overlap."""
        await self._datasets.sweep()
        await self._outbox.exact.sweep()
        await self._recovery.run()
        await self._strays.run()


def _digest(request: SubmitRequest) -> str:
    return hashlib.sha256(request.digest_source()).hexdigest()


def _new_id() -> str:
    return f"job_{secrets.token_hex(10)}"
