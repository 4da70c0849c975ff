"""What events do to a job, in order, late, twice and shuffled."""

from __future__ import annotations

import itertools
import json
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from daemon.core.apply import JobState, advance, apply
from daemon.core.events import EventKind
from daemon.core.jobs import FINISHED, JobStatus
from daemon.core.prediction import Prediction, parse_prediction

NOW = 1000.0


def told(status: str = "processing", **fields: Any) -> Prediction:
    prediction = parse_prediction(json.dumps({"id": "abc", "status": status, **fields}).encode())
    assert prediction is not None
    return prediction


def new(**fields: Any) -> JobState:
    return JobState(**{"status": JobStatus.PENDING, "updated_at": 0.0, **fields})


def after(*predictions: Prediction, job: JobState | None = None) -> JobState:
    state = job or new()
    for number, prediction in enumerate(predictions):
        state = apply(state, prediction, NOW + number).state
    return state


def test_a_training_from_start_to_end() -> None:
    bar = "Steps:  50%|##| 5/10 [00:05<00:05, 1.00it/s, step_loss=0.1]"
    job = new(hardware="gpu-l40s")
    expected = [
        (told("starting", model="acme/t", version="v" * 64), EventKind.START, JobStatus.QUEUED),
        (told(started_at="2026-01-05T10:00:00Z"), EventKind.START, JobStatus.RUNNING),
        (told(logs=bar), EventKind.LOGS, JobStatus.RUNNING),
        (told(logs=bar, output=["a"]), EventKind.OUTPUT, JobStatus.RUNNING),
        (
            told("succeeded", logs=bar, output=["a", "b"], metrics={"predict_time": 100.0}),
            EventKind.COMPLETED,
            JobStatus.COMPLETED,
        ),
    ]
    for number, (prediction, kind, status) in enumerate(expected):
        applied = apply(job, prediction, NOW + number)
        job = applied.state
        assert (applied.kind, job.status, job.events) == (kind, status, number + 1)
        assert applied.completed == (kind is EventKind.COMPLETED)
    assert (job.model, job.version, job.provider_status) == ("acme/t", "v" * 64, "succeeded")
    assert (job.output, job.predict_time, job.cost_usd) == ('["a","b"]', 100.0, 0.0975) or job.output == '["a", "b"]'
    assert job.cost_usd == 0.0975
    assert (job.queued_at, job.started_at, job.completed_at) == (NOW, 1767607200.0, NOW + 4)
    assert job.progress is not None and msgspec.json.decode(job.progress)["step"] == 5


def test_the_provider_s_times_count_where_it_tells_them() -> None:
    job = after(told("succeeded", started_at="2026-01-05T10:00:00Z", completed_at="2026-01-05T10:01:00.123456789Z"))
    assert (job.started_at, job.completed_at) == (1767607200.0, pytest.approx(1767607260.123456))


def test_a_job_that_never_ran_has_no_start() -> None:
    assert after(told("starting"), told("aborted")).started_at is None
    assert after(told("processing")).started_at == NOW


@pytest.mark.parametrize("last", ["succeeded", "failed", "canceled", "aborted"])
@pytest.mark.parametrize("late", ["starting", "processing", "succeeded", "failed", "canceled", "aborted", "paused"])
def test_finished_stays_finished(last: str, late: str) -> None:
    job = after(told("processing", logs="x"), told(last, output="one", error="why"))
    again = after(told(late, output="two", error="other", logs="x" * 9, completed_at="2030-01-01T00:00:00Z"), job=job)
    for unchanged in ("status", "provider_status", "output", "completed_at", "error", "started_at"):
        assert getattr(again, unchanged) == getattr(job, unchanged)


def test_a_late_event_fills_what_a_finished_job_lacks() -> None:
    job = after(told("failed"), job=new(hardware="gpu-l40s"))
    assert (job.error, job.output, job.cost_usd) == (None, None, None)
    late = told("failed", error="E1001", output="x", logs="long log", metrics={"predict_time": 10.0})
    applied = apply(job, late, NOW + 5)
    assert (applied.state.error, applied.state.output, applied.state.cost_usd) == ("E1001", '"x"', 0.0097)
    assert applied.logs_grew and not applied.completed and applied.kind is EventKind.FAILED


def test_a_completed_job_gets_no_error_from_a_stray_event() -> None:
    job = after(told("succeeded", output="x"), told("failed", error="stray"))
    assert (job.status, job.error) == (JobStatus.COMPLETED, None)


def test_nothing_known_is_erased() -> None:
    job = after(told(output="x", logs="abc 10%|#| 1/10 [00:01<00:09, loss=1]"))
    gone = after(told("succeeded", output=None, logs=None, data_removed=True), job=job)
    assert (gone.output, gone.progress, gone.logs_chars) == ('"x"', job.progress, job.logs_chars)


def test_an_unknown_status_is_kept_as_text_and_moves_nothing() -> None:
    job = after(told("processing"), told("paused"))
    assert (job.status, job.provider_status) == (JobStatus.RUNNING, "paused")


def test_late_progress_does_not_go_back() -> None:
    later, earlier = "90%|#| 9/10 [00:09<00:01, loss=1]\nmore", "10%|#| 1/10 [00:01<00:09, loss=1]"
    progress = after(told(logs=later), told(logs=earlier)).progress
    assert progress is not None and msgspec.json.decode(progress)["step"] == 9


def test_what_was_submitted_names_the_model() -> None:
    job = after(told("starting", model="other/model", version="x"), job=new(model="acme/trainer", version="ours"))
    assert (job.model, job.version) == ("acme/trainer", "ours")


def test_the_create_call_s_answer_is_not_counted() -> None:
    state = advance(new(), told("starting", logs="x"), NOW)
    assert (state.events, state.logs_chars, state.status) == (0, 0, JobStatus.RUNNING)


_HISTORY = [
    told("starting"),
    told("processing", started_at="2026-01-05T10:00:00Z"),
    told("processing", started_at="2026-01-05T10:00:00Z", logs="a"),
    told(
        "succeeded",
        started_at="2026-01-05T10:00:00Z",
        completed_at="2026-01-05T10:01:00Z",
        logs="ab",
        output="x",
        metrics={"predict_time": 2.0},
    ),
]


@pytest.mark.parametrize("order", list(itertools.permutations(range(4))))
def test_any_order_of_arrival_ends_the_same(order: tuple[int, ...]) -> None:
    job = after(*(_HISTORY[index] for index in order), job=new(hardware="gpu-t4"))
    assert (job.status, job.output, job.cost_usd) == (JobStatus.COMPLETED, '"x"', 0.0004)
    assert (job.started_at, job.completed_at, job.logs_chars) == (1767607200.0, 1767607260.0, 2)
    assert job.provider_status == "succeeded"


@pytest.mark.parametrize("ours", [JobStatus.FAILED, JobStatus.CANCELLED])
@pytest.mark.parametrize("known", [None, "starting", "processing", "paused"])
def test_the_provider_s_end_of_a_job_that_we_gave_up_is_kept(ours: JobStatus, known: str | None) -> None:
    """Ours stays, but what the provider has made of it is told by its own word, and by its whole output."""
    job = new(status=ours, error="no answer", completed_at=1.0, provider_status=known)
    came = []
    for prediction in (
        told("starting"),
        told("processing", output=["a"]),
        told("succeeded", output=["a", "b"]),
        told("processing", output=["a"]),
        told("failed", output=["c"]),
    ):
        applied = apply(job, prediction, NOW)
        job = applied.state
        came.append(applied.output_came)
        assert (job.status, job.completed_at, applied.completed) == (ours, 1.0, False)
    assert (job.provider_status, json.loads(job.output or "")) == ("succeeded", ["a", "b"])
    assert came == [False, False, ours is JobStatus.FAILED, False, False]


def test_a_job_that_we_gave_up_may_succeed_before_its_output_comes() -> None:
    job = after(told("starting"), told("succeeded"), job=new(status=JobStatus.FAILED))
    applied = apply(job, told("succeeded", output="x"), NOW)
    assert applied.output_came and applied.state.status is JobStatus.FAILED


@pytest.mark.parametrize("end", ["failed", "canceled", "aborted"])
def test_what_the_provider_has_ended_brings_nothing_any_more(end: str) -> None:
    job = after(told("starting"), told(end), job=new(status=JobStatus.FAILED))
    applied = apply(job, told("succeeded", output="x"), NOW)
    assert (applied.state.provider_status, applied.output_came) == (end, False)


@given(
    st.lists(
        st.builds(
            lambda status, output, logs: told(status, output=output, logs=logs),
            st.sampled_from(["starting", "processing", "succeeded", "failed", "canceled", "aborted", "new"]),
            st.none() | st.text(max_size=3),
            st.none() | st.text(max_size=5),
        ),
        max_size=8,
    )
)
def test_once_finished_never_anything_else(history: list[Prediction]) -> None:
    state, completions = new(), 0
    for prediction in history:
        applied = apply(state, prediction, NOW)
        if state.status in FINISHED:
            assert applied.state.status is state.status
        assert state.output is None or applied.state.output is not None
        state, completions = applied.state, completions + applied.completed
    assert completions <= 1
