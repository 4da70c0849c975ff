"""What a person can do about a job that failed or waits, where its own words say enough. Total: any text."""

from __future__ import annotations

import re
from collections.abc import Sequence

import msgspec

from .jobs import JobStatus

LONG_QUEUE_SECONDS = 180  # a cold start takes one to three minutes; from then on one wonders
TAIL_CHARS = 20_000  # of the log: what ended it stands there


class Advice(msgspec.Struct, frozen=True):
    """``steps`` in the order to try them."""

    title: str
    steps: tuple[str, ...]


# First match wins. Read in the error, then in the log's end.
_KNOWN: tuple[tuple[re.Pattern[str], Advice], ...] = (
    (
        re.compile(r"out of memory|OutOfMemoryError|CUDA error: out of memory|\bOOM\b|E1001", re.IGNORECASE),
        Advice(
            "The GPU ran out of memory",
            (
                "Make the batch smaller: a lower train_batch_size, with gradient_accumulation_steps to make up for it.",
                "Turn gradient checkpointing on: gradient_checkpointing = true.",
                "Train a LoRA rather than all weights: model_type = lora, with a lower rank.",
                "Or take hardware with more memory: an A100 has 80 GB, an L40S 48 GB.",
            ),
        ),
    ),
    (
        re.compile(r"gated repo|GatedRepoError|access to model .{1,200} is restricted", re.IGNORECASE),
        Advice(
            "The base model is behind a licence on Hugging Face",
            (
                "Accept the licence on the model's page, with the account that the token belongs to.",
                "Give the training an HF_TOKEN that may read it.",
            ),
        ),
    ),
    (
        re.compile(r"Prediction input failed validation|input failed validation", re.IGNORECASE),
        Advice(
            "The model refused its input",
            ("Compare the named fields with the model's page: names and types follow the version that was asked for.",),
        ),
    ),
    (
        re.compile(r"No space left on device|ENOSPC", re.IGNORECASE),
        Advice(
            "The machine's disk was full",
            ("Keep fewer checkpoints: checkpoints_total_limit = 1.", "Cache fewer or smaller images."),
        ),
    ),
    (
        re.compile(r"E6716|Timeout starting prediction|E8367|E9243", re.IGNORECASE),
        Advice(
            "Replicate could not start the run or stopped it",
            ("Look at Replicate's status page.", "Submit it again: such failures are theirs and mostly pass."),
        ),
    ),
)

_QUEUED = Advice(
    "Replicate has not started it yet",
    (
        "Jobs wait while GPUs of this kind are busy; look at Replicate's status page.",
        "Other hardware may be free sooner. Waiting costs nothing.",
    ),
)


def advice(status: JobStatus, error: str | None, log: str, queue_seconds: float | None) -> Advice | None:
    """What is known to help; ``None`` where nothing is."""
    if status is JobStatus.QUEUED and (queue_seconds or 0.0) >= LONG_QUEUE_SECONDS:
        return _QUEUED
    if status is not JobStatus.FAILED:
        return None
    return _first_known((error or "", log[-TAIL_CHARS:]))


def _first_known(texts: Sequence[str]) -> Advice | None:
    return next((known for text in texts for pattern, known in _KNOWN if pattern.search(text)), None)
