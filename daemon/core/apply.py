"""What an event does to its job: job as known + prediction + time of arrival → job as known afterwards.

Pure, so that everything in a job's row that events decide can be rebuilt by replaying the journal.

Events come late, twice and out of order. Three rules keep the row right whatever the order:
a status only moves as the state machine's table says; a finished job is only *filled* where something is missing
(the event that says more may come after the one that says it is over); nothing known is ever erased (the provider
removes outputs and logs after an hour and then sends null).
"""

from __future__ import annotations

from typing import TypeVar

import msgspec

from .costs import cost_usd
from .events import EventKind, Seen, derive_kind, output_digest, signal_of
from .jobs import ENDS, FINISHED, SIGNAL_OF_STATUS, JobStatus, Moved, Signal, given_up, step
from .prediction import Prediction
from .training_log import read_progress

_T = TypeVar("_T")

PROGRESS_CHARS = 16 * 1024  # of the log's end are searched for a progress bar; trainers rewrite theirs every second

# The hour after which the provider deletes what a job has made, in seconds.
OUTPUT_LIFETIME = 3600.0


class JobState(msgspec.Struct, frozen=True, kw_only=True):
    """The columns of a job that events decide, and what prices them. Times are unix seconds."""

    status: JobStatus
    updated_at: float
    provider_status: str | None = None
    model: str | None = None
    version: str | None = None
    hardware: str | None = None
    usd_per_second: float | None = None
    queued_at: float | None = None
    started_at: float | None = None
    completed_at: float | None = None
    predict_time: float | None = None
    cost_usd: float | None = None
    error: str | None = None
    output: str | None = None  # raw JSON
    progress: str | None = None  # JSON of training_log.Progress
    events: int = 0
    logs_chars: int = 0
    output_digest: str | None = None


class Applied(msgspec.Struct, frozen=True):
    """The job after an event. ``logs_grew``: this event carries the longest log so far."""

    state: JobState
    kind: EventKind
    logs_grew: bool
    completed: bool  # this event is the one that completed the job
    output_came: bool  # ... or the one that brought the output which a finished job lacked


def apply(job: JobState, prediction: Prediction, received_at: float) -> Applied:
    """Count the event in and take over what it says. ``received_at`` stands in for times that it does not tell."""
    kind = derive_kind(Seen(job.events, job.logs_chars, job.output_digest), prediction)
    told = advance(job, prediction, received_at)
    logs_grew = len(prediction.logs) > job.logs_chars
    state = msgspec.structs.replace(
        told,
        events=job.events + 1,
        logs_chars=len(prediction.logs) if logs_grew else job.logs_chars,
        progress=(_progress(prediction.logs) if logs_grew else None) or job.progress,
        output_digest=output_digest(prediction.output) or job.output_digest,
    )
    completed = state.status is JobStatus.COMPLETED and job.status is not JobStatus.COMPLETED
    return Applied(state, kind, logs_grew, completed, output_came(job, state))


def output_came(before: JobState, after: JobState) -> bool:
    """There is something to deliver after all.

    A job that was completed without an output has one now; or one that we had to call failed (no create was answered)
    has succeeded at the provider. It stays failed, but its output was paid for.
    """
    if after.output is None or before.status not in {JobStatus.COMPLETED, JobStatus.FAILED}:
        return False
    if given_up(before.status, before.provider_status):
        return succeeded(after.provider_status)
    return before.output is None and succeeded(before.provider_status)


def is_deliverable(status: JobStatus, provider_status: str | None, *, has_output: bool) -> bool:
    """Whether there is a result: of a job that has completed, or that succeeded after we had called it over."""
    return status is JobStatus.COMPLETED or (has_output and succeeded(provider_status))


def succeeded(provider_status: str | None) -> bool:
    """Whether that is the provider's word for it."""
    return SIGNAL_OF_STATUS.get(provider_status or "") is Signal.SUCCEEDED


def advance(job: JobState, prediction: Prediction, now: float) -> JobState:
    """The job with what ``prediction`` tells, not counted as an event (the create call's answer is none)."""
    signal = signal_of(prediction)
    moved = step(job.status, signal)
    status = moved.status if isinstance(moved, Moved) else job.status
    was_finished, ends = job.status in FINISHED, status in FINISHED and job.status not in FINISHED
    unheard = given_up(job.status, job.provider_status)  # then what the provider has made of it is still to be told
    names_status = isinstance(moved, Moved) or job.provider_status is None or (unheard and signal in ENDS)
    is_filled = was_finished and not unheard and job.output is not None
    predict_time = _or(job.predict_time, prediction.predict_time)
    return msgspec.structs.replace(
        job,
        status=status,
        updated_at=now,
        provider_status=prediction.status
        if names_status or (signal is Signal.UNKNOWN and not was_finished)
        else job.provider_status,
        model=_or(job.model, prediction.model),
        version=_or(job.version, prediction.version),
        queued_at=_or(job.queued_at, _or(prediction.created_at, now)),
        started_at=_started_at(job, status, prediction, now),
        completed_at=_or(prediction.completed_at, now) if ends else job.completed_at,
        predict_time=predict_time,
        cost_usd=_or(job.cost_usd, cost_usd(job.hardware, predict_time, job.usd_per_second))
        if status in FINISHED
        else None,
        error=_error(job, status, prediction),
        output=job.output if is_filled else _output(prediction) or job.output,
    )


def _started_at(job: JobState, status: JobStatus, prediction: Prediction, now: float) -> float | None:
    if job.status in FINISHED:
        return _or(job.started_at, prediction.started_at)
    fallback = now if status is JobStatus.RUNNING else None  # a job that was aborted in the queue never started
    return _or(prediction.started_at, _or(job.started_at, fallback))


def _error(job: JobState, status: JobStatus, prediction: Prediction) -> str | None:
    if job.status not in FINISHED:
        return _or(prediction.error, job.error)
    # A completed job stays without an error, whatever a stray event claims.
    return job.error if status is JobStatus.COMPLETED else _or(job.error, prediction.error)


def _output(prediction: Prediction) -> str | None:
    return None if prediction.output is None else prediction.output.decode("utf-8", "replace")


def _progress(logs: str) -> str | None:
    progress = read_progress(logs, PROGRESS_CHARS)
    return None if progress is None else msgspec.json.encode(progress).decode()


def _or(first: _T | None, second: _T | None) -> _T | None:
    return second if first is None else first
