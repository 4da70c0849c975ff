"""What a submit is answered: with its job, or with why there is none."""

from __future__ import annotations

from typing import Any

import msgspec

from ..errors import ProviderError, TunerdError
from ..store.records import Job
from .outgoing import decode


class SubmitResult(msgspec.Struct, frozen=True):
    """``status_code`` 201 (new), 200 (idempotent hit, dry run); ``body`` is the answer's JSON object."""

    status_code: int
    body: dict[str, Any]


def answer(job: Job, *, idempotent_hit: bool) -> SubmitResult:
    outgoing = None if job.request is None else decode(job.request)
    body: dict[str, Any] = {
        "success": True,
        "job_id": job.job_id,
        "provider_job_id": job.provider_job_id,
        "status": job.status.value,
        "cost_estimate": None if job.cost_estimate is None else msgspec.json.decode(job.cost_estimate),
        "cost_limit_warning": job.cost_limit_warning,
        "data_uploaded": outgoing is not None and bool(outgoing.datasets),
        "idempotent_hit": idempotent_hit,
    }
    if outgoing is not None:
        body |= outgoing.told()
    return SubmitResult(200 if idempotent_hit else 201, body)


_IN_DOUBT = "Replicate may have its job all the same; what turns up of it is cancelled."
_KEY_IS_FREE = "The key may be used again."
_KEY_IS_USED = "Submit with a new key."


def provider_error(problem: TunerdError, job: Job, *, had_key: bool) -> ProviderError:
    """What the provider's failure is answered with; ``job``: the one that it failed."""
    known = {key: problem.extra[key] for key in ("provider_status", "provider_detail") if key in problem.extra}
    said = [problem.detail]
    if job.sent_at is not None:
        said.append(_IN_DOUBT)
    if had_key:
        said.append(_KEY_IS_FREE if job.idempotency_key is None else _KEY_IS_USED)
    return ProviderError(" ".join(said), retry_after=problem.retry_after, job_id=job.job_id, **known)


def failed_elsewhere(job: Job, *, idempotent_hit: bool) -> ProviderError:
    """The job has failed in an earlier submit with its key (``idempotent_hit``), or in another daemon's hands."""
    said = job.error or "The submit failed."
    if idempotent_hit and job.idempotency_key is None:
        said = f"The submit with this idempotency key failed: {said} {_KEY_IS_FREE}"
    elif idempotent_hit:
        said = f"The submit with this idempotency key failed: {said} {_IN_DOUBT} {_KEY_IS_USED}"
    return ProviderError(said, job_id=job.job_id)
