"""The delivery worker: finds what is due in the store and has the durable engine run it."""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections.abc import Callable
from contextlib import AsyncExitStack
from types import TracebackType
from typing import TYPE_CHECKING, Self

import aiohttp
import sqlalchemy
import structlog
from aiohttp.abc import AbstractResolver

from ..config import Settings
from ..errors import NotFound, NotReady
from ..metrics import Metrics
from ..store.private import make_file
from ..store.store import Store
from .errors import Permanent, Retry
from .fetch import Fetcher
from .limits import limits_of
from .origins import Origins
from .retrying import Backoff
from .sources import FreshOutput
from .steps import Steps
from .threads import worker_pool

if TYPE_CHECKING:
    from .engine import Engine

log = structlog.get_logger()

SWEEP_SECONDS = 10.0  # at most, between two looks for what is due; a wake-up comes first
PRUNE_SECONDS = 86_400.0
PREVIEW_SECONDS = 15.0  # for one picture; somebody looks at the page
THREADS = 8  # for hashing, writing, syncing: a stalling disk must not take the threads that others need


class DeliveryWorker:
    """``async with DeliveryWorker(…) as worker``: delivers until it is left, then drains within seconds.

    ``fresh_output(job)`` asks the provider for the job once more (raw body; ``None``: it does not show it).
    ``clock`` gives unix seconds, ``awake`` counts those that the machine does not sleep.
    """

    def __init__(
        self,
        settings: Settings,
        store: Store,
        session: aiohttp.ClientSession,
        fresh_output: FreshOutput,
        *,
        clock: Callable[[], float] = time.time,
        awake: Callable[[], float] = time.monotonic,
        backoff: Backoff | None = None,
        resolver: AbstractResolver | None = None,
        metrics: Metrics | None = None,
    ) -> None:
        self._metrics = metrics or Metrics()
        self._settings = settings
        self._store = store
        self._session = session
        self._fresh_output = fresh_output
        self._clock = clock
        self._awake_seconds = awake
        self._backoff = backoff or Backoff()
        self._resolver = resolver
        self._awake = asyncio.Event()
        self._engine: Engine | None = None
        self._enqueued: set[tuple[str, int]] = set()
        self._pruned_at = 0.0
        self._stands_by = False  # another worker delivers

    async def __aenter__(self) -> Self:
        async with AsyncExitStack() as stack:
            self._pool = worker_pool(THREADS, "delivery")
            stack.callback(self._pool.shutdown, wait=False, cancel_futures=True)
            origins = Origins(self._settings.replicate_base_url, self._settings.output_origins)
            limits, trust_env = limits_of(self._settings), self._session.trust_env
            self._fetcher = await stack.enter_async_context(
                Fetcher(origins, self._token, self._pool, limits, trust_env=trust_env, resolver=self._resolver)
            )
            self._steps = Steps(
                self._settings,
                self._store,
                self._fetcher,
                self._fresh_output,
                self._clock,
                self._awake_seconds,
                self._backoff,
                self._metrics,
            )
            stack.callback(self._steps.lanes.close)
            stack.push_async_callback(self._give_back)
            stack.push_async_callback(self._stop_engine)
            self._task = asyncio.create_task(self._sweep_forever(), name="delivery sweep")
            stack.push_async_callback(self._stop_sweep)
            self._stack = stack.pop_all()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self._stack.aclose()

    async def preview(self, url: str, most: int) -> bytes:
        """An output file of ``most`` bytes at most, for the page. Raises ``NotFound`` with the reason."""
        try:
            async with asyncio.timeout(PREVIEW_SECONDS):
                return await self._fetcher.small(url, most)
        except (Permanent, Retry) as refused:
            raise NotFound(f"The output cannot be shown: {refused}.") from None
        except TimeoutError:
            raise NotFound(f"The output did not come within {PREVIEW_SECONDS:g} s.") from None

    def wake(self) -> None:
        """Look for what is due now. Cheap, may be called at any time on the worker's loop."""
        self._awake.set()

    async def watch(self) -> None:
        """Wait for ever; raise what killed the worker, if something does. Without it nothing more is delivered."""
        await asyncio.shield(self._task)

    async def _sweep_forever(self) -> None:
        pause = min(SWEEP_SECONDS, self._settings.reconcile_seconds)
        now = asyncio.get_running_loop().time
        tidied, complete_at = False, -pause
        while True:
            try:
                if await self._is_the_one():
                    if not tidied:
                        await self._steps.leftovers.tidy()
                        tidied = True
                    everything = now() - complete_at >= pause  # wake-ups may come without end
                    await self._sweep(everything=everything)
                    complete_at = now() if everything else complete_at
            except (NotReady, OSError, sqlalchemy.exc.OperationalError) as problem:
                log.warning("delivery_sweep_failed", error=str(problem))  # a full disk, a database that restarts
            with contextlib.suppress(TimeoutError):
                # Not wait_for(): before Python 3.12 it swallows a cancellation that comes together with the wake-up.
                async with asyncio.timeout(pause):
                    await self._awake.wait()
            self._awake.clear()

    async def _is_the_one(self) -> bool:
        """Whether it is this worker that delivers. Where another one does it stands by, and takes over one day."""
        ours = await self._store.sole.held(self._clock())
        if not ours and not self._stands_by:
            log.warning("delivery_stands_by", reason="another worker on this database delivers")
        elif ours and self._stands_by:
            log.info("delivery_taken_over")
        self._stands_by = not ours
        if not ours:
            await self._stop_engine()
        return ours

    async def _sweep(self, *, everything: bool) -> None:
        """Start what is due and was not started yet; with ``everything`` also make sure of what was."""
        going_on = self._steps.runs.snapshot()
        active = await self._store.deliveries.active()
        self._steps.runs.end(going_on, set(active))
        due = list(dict.fromkeys((job_id, generation) for job_id, generation, _ in active))
        self._enqueued &= set(due)
        if not due:
            return
        self._steps.lanes.refresh(await self._store.settings.destinations())
        engine = self._engine or await self._start_engine()
        for job_id, generation in due:
            if everything or (job_id, generation) not in self._enqueued:
                await self._fetcher.in_thread(engine.enqueue, job_id, generation)
                self._enqueued.add((job_id, generation))
        now = self._clock()
        if now - self._pruned_at > PRUNE_SECONDS:
            self._pruned_at = now
            await self._fetcher.in_thread(engine.prune, now)

    async def _start_engine(self) -> Engine:
        """Import and open DBOS, in a thread: not before the first delivery is due, and never on the event loop."""
        engine_class = await self._fetcher.in_thread(_import_engine)
        self._engine = engine = engine_class(self._steps, _database_url(self._settings))
        try:
            await self._fetcher.in_thread(engine.start)
        except Exception:
            self._engine = None
            raise
        return engine  # cancelled meanwhile, it is known all the same: to be stopped

    async def _stop_sweep(self) -> None:
        self._task.cancel()
        with contextlib.suppress(asyncio.CancelledError, Exception):  # what killed it was raised by watch()
            await self._task

    async def _stop_engine(self) -> None:
        """Known until it has stopped: the next look ends what this one could not."""
        self._enqueued.clear()
        if self._engine is not None:
            await self._engine.interrupt()
            await self._fetcher.in_thread(self._engine.stop)
            self._engine = None

    async def _give_back(self) -> None:
        with contextlib.suppress(NotReady):  # then it runs out
            await self._store.sole.give_back()

    async def _token(self) -> str | None:
        return self._settings.replicate_api_token or await self._store.secrets.get("replicate_api_token")


def _import_engine() -> type[Engine]:
    from .engine import Engine  # noqa: PLC0415 - on purpose here: see the module's docstring

    return Engine


def _database_url(settings: Settings) -> str:
    """DBOS's own database: PostgreSQL where the store is on it (a schema ``dbos``), else a file beside the store's."""
    url = settings.database_url
    if url is not None and url.startswith("postgres"):
        return "postgresql://" + url.partition("://")[2]
    file = settings.data_dir / "dbos.sqlite3"
    make_file(file)
    return f"sqlite:///{file}"
