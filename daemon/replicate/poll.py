"""What an API answer tells about a job goes through the journal, as an event with ``source: poll``."""

from __future__ import annotations

import hashlib

import msgspec

from ..core.events import output_digest, signal_of
from ..core.jobs import ENDS, FINISHED, Moved, Signal, given_up, step
from ..core.prediction import Prediction
from ..store.journal import Journal
from ..store.records import Appended, IncomingEvent, Job


def brings_news(job: Job, prediction: Prediction) -> bool:
    """Whether ``prediction`` says anything that the job's row does not know yet."""
    signal = signal_of(prediction)
    if given_up(job.status, job.provider_status) and signal in ENDS:
        return True
    if isinstance(step(job.status, signal), Moved) or len(prediction.logs) > job.logs_chars:
        return True
    if prediction.output is not None and not _known_output(job, prediction.output):
        return True
    if job.status in FINISHED:
        return False
    unknown_word = signal is Signal.UNKNOWN and prediction.status != job.provider_status
    return unknown_word or (prediction.error is not None and prediction.error != job.error)


def _known_output(job: Job, output: bytes) -> bool:
    """Two backends write the same output in two spellings, so the value decides where the digest differs."""
    if job.status in FINISHED:
        return job.output is not None  # a finished job's output is filled in once and never replaced
    if output_digest(output) == job.output_digest:
        return True
    try:
        return job.output is not None and bool(msgspec.json.decode(job.output) == msgspec.json.decode(output))
    except msgspec.MsgspecError:
        return False


async def append_answer(
    journal: Journal, body: bytes, prediction: Prediction, *, now: float, missed: bool = False
) -> Appended:
    """Store an answer. The same body again is a duplicate: its id is made from it. Raises ``NotReady``.

    ``missed``: a webhook should have brought what it tells.
    """
    digest = hashlib.blake2b(body, digest_size=16).hexdigest()
    event = IncomingEvent(
        webhook_id=f"poll_{prediction.id}_{digest}",
        timestamp=None,
        signature=None,
        body=body,
        received_at=now,
        source="poll",
        source_ip=None,
        verified=True,  # asked for over TLS at the provider's own address
        missed=missed,
    )
    return await journal.append(event, prediction)
