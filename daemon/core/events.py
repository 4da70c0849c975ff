"""Which event was it? Replicate's body carries no event name: the kind is derived from the change.

Terminal status first, then output that appeared or changed, then logs that grew, else ``start``. One delivery may carry
several changes (the sender throttles and merges); the most final one names it.
"""

from __future__ import annotations

import hashlib
from enum import StrEnum

import msgspec

from .jobs import SIGNAL_OF_STATUS, Signal
from .prediction import Prediction


class EventKind(StrEnum):
    START = "start"
    LOGS = "logs"
    OUTPUT = "output"
    COMPLETED = "completed"
    FAILED = "failed"
    CANCELLED = "cancelled"
    UNRECOGNIZED = "unrecognized"  # signed and kept, but not a prediction object


class Seen(msgspec.Struct, frozen=True):
    """What the job's events so far have shown; all that deriving the next kind needs."""

    events: int = 0
    logs_chars: int = 0  # length of the longest log seen
    output_digest: str | None = None  # of the last output that was not null


_TERMINAL = {
    Signal.SUCCEEDED: EventKind.COMPLETED,
    Signal.FAILED: EventKind.FAILED,
    Signal.CANCELLED: EventKind.CANCELLED,
}


def derive_kind(seen: Seen, prediction: Prediction) -> EventKind:
    """Name the event that ``prediction`` brings to a job of which ``seen`` was known."""
    terminal = _TERMINAL.get(SIGNAL_OF_STATUS.get(prediction.status, Signal.UNKNOWN))
    if terminal is not None:
        return terminal
    digest = output_digest(prediction.output)
    if digest is not None and digest != seen.output_digest:
        return EventKind.OUTPUT
    if len(prediction.logs) > seen.logs_chars:
        return EventKind.LOGS
    if seen.events == 0 or not prediction.logs:
        return EventKind.START
    return EventKind.LOGS  # late or unchanged, but it carries logs


def signal_of(prediction: Prediction) -> Signal:
    """What the prediction's status says to the state machine.

    ``starting`` that already shows a start time, logs or output means running: one of Replicate's backends sends it so.
    """
    signal = SIGNAL_OF_STATUS.get(prediction.status, Signal.UNKNOWN)
    if signal is Signal.ACCEPTED and (prediction.started_at or prediction.logs or prediction.output):
        return Signal.STARTED
    return signal


def output_digest(output: bytes | None) -> str | None:
    """A short stable name for an output's raw JSON."""
    return None if output is None else hashlib.blake2b(output, digest_size=16).hexdigest()
