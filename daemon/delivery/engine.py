"""DBOS, and nothing else: which delivery is to run is written down, and is run again after any crash until it ended.

Importing this module costs 25 MB and the better part of a second: it is imported when the first delivery is due. DBOS
runs on an event loop of its own thread; each step hops to the daemon's main loop, where store and sessions live. DBOS
is one per process, and so is the ``Engine`` that its workflow finds.
"""

from __future__ import annotations

import asyncio
import logging
import threading
import time
from collections.abc import Callable, Coroutine
from datetime import UTC, datetime
from typing import Any

import structlog
from dbos import DBOS, DBOSConfig, SetWorkflowID, WorkflowSerializationFormat

from .. import garbage
from ..errors import NotReady
from .steps import Steps

log = structlog.get_logger()

QUEUE = "deliveries"
POLL_SECONDS = 0.5  # until an enqueued delivery starts
KEEP_SECONDS = 7 * 86_400.0  # of a finished workflow's rows: only for somebody who looks into the database
PRUNE_BATCH = 500  # workflows
# A workflow that is said to run and does not: its start or its end could not be written down (a full disk). So long
# after it was first seen like that it starts anew; one that begins just now is under way by then.
STRANDED_SECONDS = 30.0
# Both fixed: a newer program on the same machine takes up the deliveries that an older one left.
APPLICATION_VERSION = "1"
EXECUTOR_ID = "tunerd"

AWAY_SECONDS = 2.0  # between two tries of a step, while the store is away

_RUNNING = "PENDING"  # DBOS's word
_ENDED = ["SUCCESS", "ERROR", "CANCELLED", "MAX_RECOVERY_ATTEMPTS_EXCEEDED"]
_engine: Engine | None = None


class Engine:
    """Made on the main loop. ``start``, ``enqueue``, ``prune`` and ``stop`` block: they belong in a thread."""

    def __init__(self, steps: Steps, database_url: str) -> None:
        self._steps = steps
        self._database_url = database_url
        self._loop = asyncio.get_running_loop()
        self._changing = threading.Lock()  # a thread that starts or stops it outlives whoever waits for it
        self._running: set[asyncio.Task[Any]] = set()
        self.runs: set[tuple[str, int]] = set()  # deliveries whose workflow runs in this process
        self._stranded: dict[tuple[str, int], float] = {}  # those that should and do not, and since when

    def start(self) -> None:
        """Open DBOS; deliveries that a crash interrupted start by themselves."""
        with self._changing:
            self._start()

    def _start(self) -> None:
        global _engine  # noqa: PLW0603 - DBOS is one per process and finds its workflow's surroundings only so
        logger = logging.getLogger("dbos")
        logger.addHandler(logging.NullHandler())  # with a handler there, DBOS adds none of its own
        logger.propagate = True
        _engine = self
        DBOS(config=_config(self._database_url))
        try:
            DBOS.launch()
            DBOS.register_queue(QUEUE, polling_interval_sec=POLL_SECONDS)
        except BaseException:
            DBOS.destroy()
            raise
        garbage.keep_loaded()

    def enqueue(self, job_id: str, generation: int) -> None:
        """Have a delivery run. Doing it twice is harmless: the workflow's id is the delivery's.

        A workflow that ended although its delivery did not (an older database was restored), or that is said to run
        and does not, starts anew.
        """
        workflow_id = f"deliver-{job_id}-{generation}"
        status = DBOS.get_workflow_status(workflow_id)
        ended = status is not None and status.status in _ENDED
        running = status is not None and status.status == _RUNNING
        stranded = self._is_stranded((job_id, generation), running=running)  # each time: it forgets what is not so
        if ended or stranded:
            DBOS.delete_workflow(workflow_id)
        with SetWorkflowID(workflow_id):
            DBOS.enqueue_workflow(QUEUE, deliver, job_id, generation)

    def _is_stranded(self, delivery: tuple[str, int], *, running: bool) -> bool:
        """Whether its workflow, which is said to be ``running``, has been so without anything that runs it.

        That is certain, as no other process has an engine at the same time: ``store/sole.py``.
        """
        if not running or delivery in self.runs:
            self._stranded.pop(delivery, None)
            return False
        since = self._stranded.setdefault(delivery, time.monotonic())
        if time.monotonic() - since < STRANDED_SECONDS:
            return False
        del self._stranded[delivery]
        log.warning("delivery_stranded", job_id=delivery[0], generation=delivery[1], then="it starts anew")
        return True

    def prune(self, now: float) -> None:
        """Forget workflows that ended a week ago."""
        before = datetime.fromtimestamp(now - KEEP_SECONDS, UTC).isoformat()
        while ended := DBOS.list_workflows(
            status=_ENDED, completed_before=before, limit=PRUNE_BATCH, load_input=False, load_output=False
        ):
            DBOS.delete_workflows([workflow.workflow_id for workflow in ended])

    async def interrupt(self) -> None:
        """End the running steps where they are; the next start takes them up. On the main loop, before ``stop``."""
        global _engine  # noqa: PLW0603
        _engine = None
        logging.getLogger("dbos").setLevel(logging.ERROR)  # it warns of every step that is cancelled
        running = list(self._running)
        for task in running:
            task.cancel()
        await asyncio.gather(*running, return_exceptions=True)

    def stop(self) -> None:
        """Close DBOS, once it is open. Harmless to repeat: whoever waited for it may have been cancelled."""
        with self._changing:
            DBOS.destroy()

    async def step(self, function: Callable[..., Coroutine[Any, Any, Any]], *arguments: Any) -> Any:
        """Run a step's body on the main loop (called on DBOS's)."""

        async def body() -> Any:
            if _engine is not self:  # interrupted between the question on DBOS's loop and this one
                raise asyncio.CancelledError
            task = asyncio.current_task()
            assert task is not None
            self._running.add(task)
            try:
                return await _while_store_is_away(function, *arguments)
            finally:
                self._running.discard(task)

        return await asyncio.wrap_future(asyncio.run_coroutine_threadsafe(body(), self._loop))

    @property
    def steps(self) -> Steps:
        return self._steps


def _config(database_url: str) -> DBOSConfig:
    return {
        "name": "tunerd",
        "system_database_url": database_url,
        "application_version": APPLICATION_VERSION,
        "executor_id": EXECUTOR_ID,
        "log_level": "WARNING",
        "enable_otlp": False,
        "sys_db_pool_size": 5,
        "notification_listener_polling_interval_sec": 0.25,  # we send none; closing waits for this pause
        "scheduler_polling_interval_sec": 3600.0,  # and have no schedules
    }


async def _fetch(job_id: str, generation: int) -> dict[str, Any]:
    engine = _current()
    result: dict[str, Any] = await engine.step(engine.steps.fetch, job_id, generation)
    return result


async def _publish(job_id: str, generation: int, destination: str, files: list[dict[str, Any]]) -> bool:
    engine = _current()
    return bool(await engine.step(engine.steps.publish, job_id, generation, destination, files))


async def _finish(job_id: str) -> bool:
    engine = _current()
    await engine.step(engine.steps.leftovers.finish, job_id)
    return True


async def _while_store_is_away(function: Callable[..., Coroutine[Any, Any, Any]], *arguments: Any) -> Any:
    """Repeat a step, as a crash may, until the store can be asked and written.

    If it failed the workflow would, and start anew while its other steps go on: all is published twice at once then.
    """
    while True:
        try:
            return await function(*arguments)
        except NotReady as problem:
            log.warning("delivery_waits_for_store", reason=problem.detail)
        await asyncio.sleep(AWAY_SECONDS)


def _current() -> Engine:
    if _engine is None:
        raise asyncio.CancelledError  # stopping: nothing is recorded, the next start runs it again
    return _engine


@DBOS.workflow(name="deliver", max_recovery_attempts=None, serialization_type=WorkflowSerializationFormat.PORTABLE)
async def deliver(job_id: str, generation: int) -> None:
    """One run: fetch once, then publish to each destination on its own; a slow or failing one delays none."""
    runs = _current().runs
    runs.add((job_id, generation))
    try:
        await _deliver(job_id, generation)
    finally:
        runs.discard((job_id, generation))


async def _deliver(job_id: str, generation: int) -> None:
    fetched = await DBOS.run_step_async({"name": "fetch"}, _fetch, job_id, generation)
    await asyncio.gather(
        *(
            DBOS.run_step_async({"name": f"publish {name}"}, _publish, job_id, generation, name, fetched["files"])
            for name in fetched["destinations"]
        )
    )
    if fetched["destinations"]:
        await DBOS.run_step_async({"name": "finish"}, _finish, job_id)
