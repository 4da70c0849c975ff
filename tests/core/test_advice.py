"""What helps, read from an error and a log."""

from __future__ import annotations

import pytest

from daemon.core.advice import LONG_QUEUE_SECONDS, TAIL_CHARS, advice
from daemon.core.jobs import JobStatus

FAILED = JobStatus.FAILED


@pytest.mark.parametrize(
    "error",
    [
        "CUDA out of memory. Tried to allocate 2.00 GiB",
        "torch.OutOfMemoryError",
        "E1001: out of memory (killed)",
        "OOM",
    ],
)
def test_out_of_memory_gets_the_three_remedies(error: str) -> None:
    found = advice(FAILED, error, "", None)
    assert found is not None
    text = " ".join(found.steps)
    for remedy in ("batch", "checkpointing", "LoRA"):
        assert remedy in text


def test_the_log_tells_where_the_error_does_not() -> None:
    assert advice(FAILED, "exit code 1", "...\nCUDA out of memory", None) == advice(FAILED, "OOM", "", None)
    far_above = "CUDA out of memory, retried" + "\nfine" * TAIL_CHARS
    assert advice(FAILED, "exit code 1", far_above, None) is None
    assert advice(FAILED, "Prediction input failed validation: x", "out of memory", None) != advice(
        FAILED, "OOM", "", None
    )


@pytest.mark.parametrize("error", [None, "", "room for zoom", "boom", "\ud800\x00"])
def test_nothing_is_said_where_nothing_is_known(error: str | None) -> None:
    assert advice(FAILED, error, "", None) is None


@pytest.mark.parametrize("status", [status for status in JobStatus if status is not FAILED])
def test_only_what_failed_gets_a_remedy(status: JobStatus) -> None:
    assert advice(status, "OOM", "OOM", None) is None


def test_a_long_queue_is_explained() -> None:
    assert advice(JobStatus.QUEUED, None, "", LONG_QUEUE_SECONDS - 1) is None
    found = advice(JobStatus.QUEUED, None, "", LONG_QUEUE_SECONDS)
    assert found is not None
    assert "status page" in " ".join(found.steps)
