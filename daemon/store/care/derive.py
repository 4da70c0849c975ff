"""A job's row as its events tell it: what the journal decides, merged into what only the row knows.

Not in the journal, and kept as the row has it: what was submitted (model, hardware, request …), that the provider
accepted it and when, and how we ended it ourselves (no create was answered, or somebody cancelled it first).
"""

from __future__ import annotations

from typing import Any

import msgspec

from ...core.apply import JobState, apply
from ...core.jobs import FINISHED, SIGNAL_OF_STATUS, TRANSITIONS, JobStatus, Signal
from ...core.prediction import Prediction, parse_prediction
from ..batch import Draft, draft_of, new_draft, state_columns
from ..database import AnyRow
from .walk import Entry

_ORDER = {status: place for place, status in enumerate(JobStatus)}  # as declared: pending … running, then the ends
# What first came with the submit, or with the create call's answer. Events only fill it in where it is missing.
_SUBMITTED = ("model", "version", "hardware", "usd_per_second", "queued_at")


class Deriving:
    """Takes a job's events in their order; ``row`` is the job's row, ``None`` where it is gone."""

    def __init__(self, job_id: str, row: AnyRow | None) -> None:
        self.job_id = job_id
        self.known = None if row is None else draft_of(row)
        self.draft: Draft | None = None
        self.complete = True  # every body is there
        self.other_kinds: dict[int, str] = {}  # events that are stored under another kind than they show: seq → that

    def take(self, entry: Entry) -> None:
        if entry.body is None:
            self.complete = False
        prediction = None if entry.body is None else parse_prediction(entry.body)
        if not self.complete or prediction is None:
            return
        if self.draft is None:
            self.draft = self._begin(prediction, entry.received_at)
        applied = apply(self.draft.state, prediction, entry.received_at)
        if applied.kind.value != entry.kind:
            self.other_kinds[entry.seq] = applied.kind.value
        self.draft.state, self.draft.last_seq = applied.state, entry.seq
        self.draft.completed = self.draft.completed or applied.completed
        if applied.logs_grew:
            self.draft.logs_seq = entry.seq

    def _begin(self, prediction: Prediction, received_at: float) -> Draft:
        if self.known is None:
            draft = new_draft(prediction, received_at)
            draft.job_id = self.job_id
            return draft
        state = self.known.state
        kept = {name: getattr(state, name) for name in _SUBMITTED} if self.known.submitted else {}
        start = JobState(status=JobStatus.PENDING, updated_at=received_at, progress=state.progress, **kept)
        provider_id = self.known.provider_job_id or prediction.id
        return msgspec.structs.replace(
            self.known, provider_job_id=provider_id, state=start, last_seq=None, logs_seq=None, completed=False
        )

    def finish(self) -> Draft | None:
        """The job as it should be; ``None`` where its events do not tell (none is left, or one has lost its body)."""
        if self.draft is None or not self.complete:
            return None
        if self.known is not None:
            self.draft.state = _merged(self.known.state, self.draft.state)
            if self.known.submitted and _ended_by_us(self.known.state):
                names = ("status", "started_at", "completed_at", "error")
                ours = {name: getattr(self.known.state, name) for name in names}
                self.draft.state = msgspec.structs.replace(self.draft.state, **ours)
        return self.draft


def _merged(known: JobState, told: JobState) -> JobState:
    """``told``, unless the row has gone further by something that is no event (the answer to the create call)."""
    further = _ORDER[known.status] > _ORDER[told.status] and told.status not in FINISHED
    if further:
        names = ("status", "provider_status", "completed_at", "started_at", "error", "output", "cost_usd")
        told = msgspec.structs.replace(told, **{name: getattr(known, name) for name in names})
    return msgspec.structs.replace(
        told,
        updated_at=max(known.updated_at, told.updated_at),
        predict_time=known.predict_time if told.predict_time is None else told.predict_time,
    )


def _ended_by_us(known: JobState) -> bool:
    """Finished otherwise than by the provider's word, which it keeps: finished stays finished."""
    signal = SIGNAL_OF_STATUS.get(known.provider_status or "", Signal.UNKNOWN)
    return known.status in FINISHED and TRANSITIONS[JobStatus.RUNNING].get(signal) is not known.status


def differences(known: Draft, told: Draft) -> list[str]:
    """The names of the columns in which a row is not as its events tell."""
    mine, theirs = _columns(known), _columns(told)
    return sorted(name for name in mine if mine[name] != theirs[name])


def _columns(draft: Draft) -> dict[str, Any]:
    columns = state_columns(draft.state)
    columns.update(provider_job_id=draft.provider_job_id, last_seq=draft.last_seq, logs_seq=draft.logs_seq)
    return columns
