"""Was there an output that the provider had removed when it told of the job's end? Then "nothing" is not the output."""

from __future__ import annotations

import asyncio

from ..core.events import EventKind
from ..core.prediction import parse_prediction
from ..errors import NotReady, TunerdError
from ..store.journal import Journal
from ..store.records import Job

REMOVED = (
    "the provider had removed the job's output before it could be fetched (API outputs live for an hour); "
    "whether there was a file can no longer be told"
)


async def output_removed(journal: Journal, job: Job) -> bool:
    """Whether every event that told of the job's end came with its data removed.

    One that came earlier and had no output either speaks the truth: the job made nothing.
    """
    if job.output is not None:
        return False
    removed = False
    for row in await journal.events(job_id=job.job_id, kind=EventKind.COMPLETED):
        try:
            found = await journal.body(row.seq)
        except NotReady:
            raise
        except TunerdError:  # pruned, or damaged: it tells nothing
            continue
        prediction = await asyncio.to_thread(parse_prediction, found.body if found else b"")
        if prediction is not None and not prediction.data_removed:
            return False
        removed = removed or prediction is not None
    return removed
