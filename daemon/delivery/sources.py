"""Where a job's files are: from its output, and once more from the API when an address has expired."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable

from ..core import lenient_json
from ..core.apply import OUTPUT_LIFETIME
from ..core.outputs import OutputFile, find_files, walk
from ..errors import TunerdError
from ..store.records import Job
from .errors import Gone, Permanent, Retry

MAX_FILES = 1000  # of one output; each is a request and a file
FRESH_SECONDS = 5.0  # for which an answer of the API counts: many files may go at the same time

FreshOutput = Callable[[Job], Awaitable[bytes | None]]


def files_of(job: Job) -> list[OutputFile]:
    """The files that the job's output names; ``Permanent`` where there are absurdly many."""
    files = find_files(job.output) if job.output is not None else []
    if len(files) > MAX_FILES:
        raise Permanent(f"the output names {len(files)} files; {MAX_FILES} are the most that is delivered")
    return files


class Sources:
    """The files of one run. ``clock`` gives unix seconds."""

    def __init__(
        self, job: Job, files: list[OutputFile], fresh_output: FreshOutput, clock: Callable[[], float]
    ) -> None:
        self._job = job
        self._files = files
        self._fresh_output = fresh_output
        self._clock = clock
        self._expires_at = (job.updated_at if job.completed_at is None else job.completed_at) + OUTPUT_LIFETIME
        self._answer: list[OutputFile] | None = None
        self._asked_at = -FRESH_SECONDS
        self._given: set[int] = set()  # files for which the API was asked
        self._lock = asyncio.Lock()

    async def fresh(self, index: int, gone: Gone, url: str) -> str:
        """The API's address for file ``index``, whose ``url`` is ``gone``.

        ``Permanent`` where the provider says that it has removed the output. While that lives by the rules, a 403 or
        404 is no last word otherwise (a file that is not everywhere yet, a proxy that has remembered an answer):
        ``Retry``. After that each file has one more try.
        """
        async with self._lock:
            if self._now() >= self._asked_at + FRESH_SECONDS:
                self._answer = await self._ask(gone)
                self._asked_at = self._now()
        second = index in self._given
        self._given.add(index)
        if self._answer is not None and len(self._answer) == len(self._files):
            address = self._answer[index].url
            if address != url:
                return address
            problem = "the API confirms the address"
        else:
            problem = "the API does not show the output"
        if second and self._clock() >= self._expires_at:
            raise Permanent(f"{gone}, and the API gives no other address; outputs live for an hour")
        raise Retry(f"{gone}, but {problem}; trying again")

    async def _ask(self, gone: Gone) -> list[OutputFile] | None:
        """``None``: it has not told."""
        try:
            body = await self._fresh_output(self._job)
        except TunerdError as problem:
            raise Retry(f"{gone}, and the API could not be asked for a fresh address: {problem.detail}") from None
        prediction = await asyncio.to_thread(lenient_json.object_, body or b"")
        if prediction.get("data_removed") is True and not prediction.get("output"):
            raise Permanent(f"{gone}, and the provider has removed the output (API outputs live for an hour)")
        return await asyncio.to_thread(walk, prediction["output"]) if prediction.get("output") else None

    @staticmethod
    def _now() -> float:
        return asyncio.get_running_loop().time()
