"""Where a job's files are: from its output, and once more from the API when an address has expired."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable

import msgspec

from ..core.outputs import OutputFile, find_files, walk
from ..errors import TunerdError
from ..store.records import Job
from .errors import Gone, Permanent, Retry

MAX_FILES = 1000  # of one output; each is a request and a file

FreshOutput = Callable[[Job], Awaitable[bytes | None]]


def files_of(job: Job) -> list[OutputFile]:
    """The files that the job's output names; ``Permanent`` where there are absurdly many."""
    files = find_files(job.output) if job.output is not None else []
    if len(files) > MAX_FILES:
        raise Permanent(f"the output names {len(files)} files; {MAX_FILES} are the most that is delivered")
    return files


class Sources:
    """The files of one run. The API is asked for fresh addresses at most once."""

    def __init__(self, job: Job, files: list[OutputFile], fresh_output: FreshOutput) -> None:
        self._job = job
        self._files = files
        self._fresh_output = fresh_output
        self._fresh: list[OutputFile] | None = None
        self._given: set[int] = set()  # files that got the API's address
        self._lock = asyncio.Lock()

    async def fresh(self, index: int, gone: Gone, url: str) -> str:
        """The API's address for file ``index``, whose ``url`` is ``gone``; ``Permanent`` where it has no other.

        An address that the API confirms gets one more chance: not every 403 means that the file is gone.
        """
        if index in self._given:
            raise Permanent(f"{gone}, and the API gives no other address")
        async with self._lock:
            if self._fresh is None:
                self._fresh = await self._ask(gone)
        if len(self._fresh) != len(self._files):
            raise Permanent(f"{gone}, and the provider has removed the output (API outputs live for an hour)")
        self._given.add(index)
        address = self._fresh[index].url
        if address == url:
            raise Retry(f"{gone}, but the API confirms the address; trying once more")
        return address

    async def _ask(self, gone: Gone) -> list[OutputFile]:
        try:
            body = await self._fresh_output(self._job)
        except TunerdError as problem:
            raise Retry(f"{gone}, and the API could not be asked for a fresh address: {problem.detail}") from None
        return await asyncio.to_thread(_files_of_body, body or b"")


def _files_of_body(body: bytes) -> list[OutputFile]:
    try:
        prediction = msgspec.json.decode(body)
    except (msgspec.DecodeError, UnicodeError, RecursionError):
        return []
    return walk(prediction.get("output")) if isinstance(prediction, dict) else []
