"""The life of a job: one literal table, in which finished stays finished.

::

    pending -> uploading -> queued -> running -> completed | failed | cancelled

Any unfinished state may jump forward to any later one (events get lost), never back (events come late).
"""

from __future__ import annotations

from enum import StrEnum

import msgspec


class JobStatus(StrEnum):
    PENDING = "pending"  # the intent is written down; nothing has been sent
    UPLOADING = "uploading"  # the dataset is on its way
    QUEUED = "queued"  # the provider has it; no GPU yet
    RUNNING = "running"
    COMPLETED = "completed"
    FAILED = "failed"
    CANCELLED = "cancelled"


FINISHED = frozenset({JobStatus.COMPLETED, JobStatus.FAILED, JobStatus.CANCELLED})
UNFINISHED = frozenset(JobStatus) - FINISHED


class Signal(StrEnum):
    """What a job can be told, by the provider's events or by ourselves."""

    UPLOAD = "upload"  # we begin to send the dataset
    ACCEPTED = "accepted"  # the provider answered the create call, or says "starting"
    STARTED = "started"  # "processing", or "starting" that already shows a start time, logs or output
    SUCCEEDED = "succeeded"
    FAILED = "failed"  # the provider's word, or a submit that it refused for good
    CANCELLED = "cancelled"  # "canceled" and "aborted"
    UNKNOWN = "unknown"  # a status word we do not know: kept as text, moves nothing


# Replicate's status words (OpenAPI schema, "PredictionStatus"; "aborted" = ended before it started).
SIGNAL_OF_STATUS = {
    "starting": Signal.ACCEPTED,
    "processing": Signal.STARTED,
    "succeeded": Signal.SUCCEEDED,
    "failed": Signal.FAILED,
    "canceled": Signal.CANCELLED,
    "aborted": Signal.CANCELLED,
}

ENDS = frozenset({Signal.SUCCEEDED, Signal.FAILED, Signal.CANCELLED})

P, U, Q, R, C, F, X = JobStatus

# A signal that is missing from a row changes nothing: it is late, or repeated.
TRANSITIONS: dict[JobStatus, dict[Signal, JobStatus]] = {
    P: {Signal.UPLOAD: U, Signal.ACCEPTED: Q, Signal.STARTED: R, Signal.SUCCEEDED: C, Signal.FAILED: F, Signal.CANCELLED: X},  # noqa: E501 - one row, one line
    U: {Signal.ACCEPTED: Q, Signal.STARTED: R, Signal.SUCCEEDED: C, Signal.FAILED: F, Signal.CANCELLED: X},
    Q: {Signal.STARTED: R, Signal.SUCCEEDED: C, Signal.FAILED: F, Signal.CANCELLED: X},
    R: {Signal.SUCCEEDED: C, Signal.FAILED: F, Signal.CANCELLED: X},
    C: {},
    F: {},
    X: {},
}  # fmt: skip


class Moved(msgspec.Struct, frozen=True):
    """The job goes on to ``status``."""

    status: JobStatus


class Ignored(msgspec.Struct, frozen=True):
    """The signal changes nothing, and why."""

    reason: str


def step(status: JobStatus, signal: Signal) -> Moved | Ignored:
    """What ``signal`` does to a job in ``status``."""
    following = TRANSITIONS[status].get(signal)
    if following is not None:
        return Moved(following)
    if status in FINISHED:
        return Ignored(f"the job is {status} already; finished stays finished")
    if signal is Signal.UNKNOWN:
        return Ignored("the provider's status is not one we know")
    return Ignored(f"{signal} comes late or again: the job is {status}")


def given_up(status: JobStatus, provider_status: str | None) -> bool:
    """Whether the job is over by our word alone: the provider has not told of its end (no create was answered)."""
    return status in FINISHED and SIGNAL_OF_STATUS.get(provider_status or "") not in ENDS
