"""The exact requests of intents, secrets included: encrypted, from before the intent is written until it is bound."""

from __future__ import annotations

from collections.abc import Callable

import msgspec

from ..core.jobs import FINISHED
from ..store.records import Job
from ..store.store import Store
from .outgoing import REDACTED, Outgoing, decode

_SLOTS = "outbox/"  # among the secrets
_KEPT_SECONDS = 86_400.0  # before a sweep: one that is younger may belong to an intent that is being written


class ExactRequests:
    """``now`` gives unix seconds. All raise ``NotReady``."""

    def __init__(self, store: Store, *, now: Callable[[], float]) -> None:
        self._store = store
        self._now = now
        self._swept = False

    async def keep(self, job_id: str, exact: str | None) -> None:
        """Keep what the job's row must not hold in the clear; before the intent is written."""
        if exact is not None:
            await self._store.secrets.put(_slot(job_id), exact, now=self._now())

    async def drop(self, job_id: str) -> None:
        await self._store.secrets.delete(_slot(job_id))

    async def load(self, job: Job) -> Outgoing | None:
        """What is to be sent for ``job``; ``None`` where that cannot be read any more."""
        text = await self._store.secrets.get(_slot(job.job_id)) or job.request
        try:
            return None if text is None else decode(text)
        except msgspec.MsgspecError:
            return None

    async def is_whole(self, job: Job) -> bool:
        """Whether what ``load`` gives is what was submitted, and no secret of it is missing."""
        return REDACTED not in (job.request or "") or await self._store.secrets.get(_slot(job.job_id)) is not None

    async def sweep(self) -> None:
        """Drop those of long ago that no intent needs: a submit, or its end, was cut off. Once in a process."""
        if self._swept:
            return
        for name in await self._store.secrets.names(_SLOTS, before=self._now() - _KEPT_SECONDS):
            job = await self._store.jobs.get(name.removeprefix(_SLOTS))
            if job is None or job.provider_job_id is not None or job.status in FINISHED:
                await self._store.secrets.delete(name)
        self._swept = True


def _slot(job_id: str) -> str:
    return f"{_SLOTS}{job_id}"
