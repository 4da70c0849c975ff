"""Submit jobs: check, write the intent down, call Replicate, bind. What a crash leaves, ``recovery.py`` finishes."""

from __future__ import annotations

import asyncio
import hashlib
import secrets
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any
from weakref import WeakValueDictionary

import msgspec
import structlog

from .. import tracing
from ..core.estimate import Estimate, Unknown
from ..core.jobs import FINISHED, JobStatus, Signal
from ..errors import (
    InvalidRequest,
    ProviderError,
    ProviderUnavailable,
    TokenMissing,
    TunerdError,
)
from ..store.effective import EffectiveSettings
from ..store.records import Job, NewJob
from ..store.store import Store
from .cancel import Canceller
from .client import ReplicateClient
from .dataset.archive import Archive
from .dataset.bringing import Datasets, described
from .inputs import InputCheck
from .outbox import CLAIM_SECONDS, Outbox, TakenOver
from .outgoing import Outgoing, decode, encode, webhook_base
from .preflight import Preflight
from .pricing import budget_for, cost_of
from .recovery import Recovery
from .request import SubmitRequest, one_key, plan
from .token import TokenSource

log = structlog.get_logger()

_WAIT_FOR_OTHER = 300.0  # seconds that a repeated submit waits for the first one's answer


class SubmitResult(msgspec.Struct, frozen=True):
    """``status_code`` 201 (new), 200 (idempotent hit, dry run); ``body`` is the answer's JSON object."""

    status_code: int
    body: dict[str, Any]


class Submitter:
    """``now`` gives unix seconds, ``new_id`` job ids of at most 64 characters ``[0-9a-z_]``.

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
        new_id: Callable[[], str] = lambda: f"job_{secrets.token_hex(10)}",
        sleep: Callable[[float], Awaitable[None]] = asyncio.sleep,
    ) -> None:
        self._store = store
        self._effective = effective
        self._client = client
        self._tokens = tokens
        self._now = now
        self._new_id = new_id
        self._keys: WeakValueDictionary[str, asyncio.Lock] = WeakValueDictionary()
        self._datasets = Datasets(store, client, scratch, now=now)
        self._outbox = Outbox(store, client, self._datasets, now=now, sleep=sleep)
        self._inputs = InputCheck(client, clock=now)
        self._preflight = preflight
        self._canceller = Canceller(store, client, now=now)
        self._recovery = Recovery(store, self._outbox, self._canceller, now=now, sleep=sleep)

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
        if key is None or request.dataloader_config is None:
            return await self._submit(request, key, traceparent)
        async with self._keys.setdefault(key, asyncio.Lock()):  # folders are not packed twice for one job
            return await self._submit(request, key, traceparent)

    async def _submit(self, request: SubmitRequest, key: str | None, traceparent: str | None) -> SubmitResult:
        if key is not None and not request.dry_run:
            earlier = await self._store.jobs.with_key(key, _digest(request))
            if earlier is not None:  # whatever has changed since, folders and models too: it is the answer
                return await self._answer_again(earlier)
        job_id = self._new_id()
        outgoing = plan(request, self._effective, await self._saved_configs(), job_id)
        await self._check_destinations(request.destinations)
        if request.dry_run:
            async with self._datasets.packed(outgoing.datasets) as file:
                outgoing = await self._inputs.checked(described(outgoing, file))
            return SubmitResult(200, {"dry_run": True, "request": outgoing.shown(), **outgoing.told()})
        if await self._tokens.get() is None:
            raise TokenMissing(
                "REPLICATE_API_TOKEN not set. Export it and restart, or save one with `tunerd token set`."
            )
        outgoing = await self._tried(outgoing)
        cost = await cost_of(self._store, outgoing, self._hardware(request))
        async with self._datasets.packed(outgoing.datasets) as file, self._outbox.working_on(job_id):
            outgoing = await self._inputs.checked(outgoing)  # after the folders: what they lack needs no network
            outgoing = described(outgoing, file)
            shown, exact = encode(outgoing)
            await self._outbox.keep_exact(job_id, exact)
            job, existed, warning = await self._insert(job_id, request, outgoing, shown, key, cost, traceparent)
            if not existed:
                return self._answer(await self._send(job, outgoing, file), idempotent_hit=False, warning=warning)
        return await self._answer_again(job)

    async def _tried(self, outgoing: Outgoing) -> Outgoing:
        """``outgoing`` with a word on its webhook URL where that could not be tried. Raises ``WebhookUrlInvalid``."""
        base = webhook_base(outgoing.webhook)
        doubt = None if base is None or self._preflight is None else await self._preflight.check(base)
        if doubt is None:
            return outgoing
        return msgspec.structs.replace(outgoing, webhook_doubt=f"The webhook URL {base} was not proven: {doubt}")

    async def estimate(self, request: SubmitRequest) -> Estimate | None:
        """What ``request`` would cost; ``None`` where nothing tells. Raises the submit's 400 errors."""
        outgoing = plan(request, self._effective, await self._saved_configs(), self._new_id())
        await self._check_destinations(request.destinations)
        outgoing = await self._inputs.checked(outgoing)
        cost = await cost_of(self._store, outgoing, self._hardware(request))
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
    ) -> tuple[Job, bool, str | None]:
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
        )
        try:
            job, existed = await self._store.jobs.insert_intent(new, budget)
        except BaseException:
            await self._outbox.drop_exact(job_id)
            raise
        if existed:
            await self._outbox.drop_exact(job_id)
        else:
            log.info("submit.intent", job_id=job_id, model=outgoing.model, kind=outgoing.kind)
        return job, existed, None if budget is None else budget.warning

    async def _send(self, job: Job, outgoing: Outgoing, archive: Archive | None) -> Job:
        try:
            outgoing = await self._outbox.upload(job, outgoing, archive)
            job = await self._outbox.send(job, outgoing)
        except TakenOver:
            await self._outbox.wait_for_other(job.job_id, _WAIT_FOR_OTHER)
            job = await self._store.jobs.get(job.job_id) or job
        except (ProviderError, ProviderUnavailable, TokenMissing) as problem:
            current = await self._store.jobs.get(job.job_id)
            if current is not None and current.provider_job_id is not None:  # a webhook told us meanwhile
                return await self._outbox.bound(current)
            # The caller hears 502 and may submit again: what turns up of this one is cancelled by `recovery.py`.
            await self._outbox.end(job, Signal.FAILED, problem.detail)
            raise _provider_error(problem, job.job_id) from problem
        return await self._canceller.honour(job)

    async def _answer_again(self, job: Job) -> SubmitResult:
        """The first submit's answer, once it is known."""
        if job.provider_job_id is None and job.status not in FINISHED:
            await self._outbox.wait_for_other(job.job_id, _WAIT_FOR_OTHER)
            job = await self._store.jobs.get(job.job_id) or job
        if job.status is JobStatus.FAILED and job.provider_job_id is None:
            raise ProviderError(
                f"The submit with this idempotency key failed: {job.error} Submit with a new key.", job_id=job.job_id
            )
        return self._answer(job, idempotent_hit=True)

    def _answer(self, job: Job, *, idempotent_hit: bool, warning: str | None = None) -> SubmitResult:
        outgoing = None if job.request is None else decode(job.request)
        body: dict[str, Any] = {
            "success": True,
            "job_id": job.job_id,
            "provider_job_id": job.provider_job_id,
            "status": job.status.value,
            "cost_estimate": None if job.cost_estimate is None else msgspec.json.decode(job.cost_estimate),
            "cost_limit_warning": warning,
            "data_uploaded": outgoing is not None and bool(outgoing.datasets),
            "idempotent_hit": idempotent_hit,
        }
        if outgoing is not None:
            body |= outgoing.told()
        return SubmitResult(200 if idempotent_hit else 201, body)

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
        """Finish every intent that a crash or an outage left."""
        await self._datasets.sweep()
        await self._recovery.run()


def _digest(request: SubmitRequest) -> str:
    return hashlib.sha256(request.digest_source()).hexdigest()


def _provider_error(problem: TunerdError, job_id: str) -> ProviderError:
    known = {key: problem.extra[key] for key in ("provider_status", "provider_detail") if key in problem.extra}
    return ProviderError(f"{problem.detail}", retry_after=problem.retry_after, job_id=job_id, **known)
