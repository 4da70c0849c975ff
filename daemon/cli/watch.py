"""Follows one job: woken by its live events, shown as a progress bar. For ``wait``, ``submit --wait`` and ``demo``."""

from __future__ import annotations

import contextlib
import sys
import threading
import time
from collections.abc import Iterator
from typing import Any, Protocol

from ..core.deliveries import GOING_ON
from . import output
from .client import Client, job_path
from .exits import ApiProblem, Failed, Unreachable
from .moving import Moving, is_fetched, moving
from .sse import Follower

FINISHED = frozenset({"completed", "failed", "cancelled"})
LOOK_EVERY = 2.0  # seconds without an event before the job is looked at anyway
LOOK_DELIVERING = 0.25  # deliveries move without events
LOOK_APART = 0.1  # events come in bursts
RETRY_EVERY = 1.0  # while the daemon is away


def snapshots(client: Client, job_id: str, *, timeout: float | None = None) -> Iterator[dict[str, Any]]:
    """The job each time it may have changed, until it has ended and its deliveries have settled.

    A daemon that goes away is waited for; only the first look may raise ``Unreachable``. ``Failed`` at ``timeout``.
    """
    deadline = None if timeout is None else time.monotonic() + timeout
    job: dict[str, Any] = client.get(job_path(job_id))["job"]
    changed = _listen(client, job["job_id"])
    told = False
    while True:
        yield job
        if settled(job):
            return
        pause = LOOK_DELIVERING if job["status"] in FINISHED else LOOK_EVERY
        left = pause if deadline is None else min(pause, deadline - time.monotonic())
        if left <= 0:
            raise Failed(f"The job is still {job['status']} after {timeout:g} s.")
        changed.wait(left)
        changed.clear()
        time.sleep(LOOK_APART)
        try:
            job, told = client.get(job_path(job_id))["job"], False
        except (Unreachable, ApiProblem) as problem:
            if isinstance(problem, ApiProblem) and problem.status < 500:
                raise
            if not told:
                output.remark("tunerd: the daemon is gone; waiting for it to come back …")
            told = True
            time.sleep(RETRY_EVERY)


def settled(job: dict[str, Any]) -> bool:
    """Ended, and no delivery is on its first way: one that failed and is tried again may take an hour."""
    return job["status"] in FINISHED and not any(
        delivery["status"] in GOING_ON and not delivery.get("error") for delivery in job["deliveries"]
    )


def _listen(client: Client, job_id: str) -> threading.Event:
    """Set at each of the job's events. The listener is a hint: without it the job is looked at every two seconds."""
    changed = threading.Event()

    def listen() -> None:
        with contextlib.suppress(Unreachable, ApiProblem):
            for _ in Follower(client, "/api/cloud/events/stream", query={"job": job_id}):
                changed.set()

    threading.Thread(target=listen, daemon=True, name=f"events of {job_id}").start()
    return changed


class View(Protocol):
    """Shows a job while it moves."""

    def show(self, job: dict[str, Any], loss: float | None, moves: list[Moving]) -> None: ...


class Lines:
    """For pipes and files: a line when the status changes, and at every tenth of the way, also of each transfer."""

    def __init__(self) -> None:
        self._last: tuple[Any, ...] | None = None

    def show(self, job: dict[str, Any], loss: float | None, moves: list[Moving]) -> None:
        percent = (job.get("progress") or {}).get("percent")
        deliveries = tuple((d["destination"], d["status"]) for d in job["deliveries"])
        tenths = tuple((move.what, move.done * 10 // move.total if move.total else None) for move in moves)
        mark = (job["status"], None if percent is None else int(percent // 10), deliveries, tenths)
        if mark != self._last:
            self._last = mark
            bytes_moved = "".join(f"  {move.what} {move.text()}" for move in moves)
            output.remark(f"{job['job_id']} {_status(job)}{_steps(job, loss)}{bytes_moved}")


class Bar:
    """For terminals: a rich progress bar for the training, and one for each transfer."""

    def __init__(self) -> None:
        from rich.console import Console
        from rich.progress import BarColumn, Progress, TaskID, TaskProgressColumn, TextColumn, TimeElapsedColumn

        self.progress = Progress(
            TextColumn("{task.description}", markup=False),
            BarColumn(),
            TaskProgressColumn(),
            TextColumn("{task.fields[steps]}", markup=False),
            TimeElapsedColumn(),
            console=Console(stderr=True),
        )
        self._task = self.progress.add_task("…", total=None, steps="")
        self._transfers: dict[str, TaskID] = {}

    def show(self, job: dict[str, Any], loss: float | None, moves: list[Moving]) -> None:
        percent = (job.get("progress") or {}).get("percent")
        if job["status"] == "completed":
            percent = 100
        self.progress.update(
            self._task,
            description=output.clean(_status(job)),
            total=None if percent is None and job["status"] not in FINISHED else 100,
            completed=percent or 0,
            steps=output.clean(_steps(job, loss)),
        )
        for what in self._transfers.keys() - {move.what for move in moves}:
            task = self._transfers.pop(what)  # what is over is told by the job's own line
            self.progress.remove_task(task)
        for move in moves:
            if move.what not in self._transfers:
                self._transfers[move.what] = self.progress.add_task(
                    output.clean(f"  {move.what}"), total=move.total, steps=""
                )
            task = self._transfers[move.what]
            self.progress.update(task, total=move.total, completed=move.done, steps=output.clean(move.text()))


def _status(job: dict[str, Any]) -> str:
    moving = [f"{d['destination']} {d['status']}" for d in job["deliveries"]]
    return ", ".join((job["status"], *moving))


def _steps(job: dict[str, Any], loss: float | None) -> str:
    progress = job.get("progress") or {}
    parts = []
    if progress.get("step") is not None:
        parts.append(
            f"step {progress['step']}" + (f"/{progress['total_steps']}" if progress.get("total_steps") else "")
        )
    if loss is not None:
        parts.append(f"loss {loss:.4f}")
    if progress.get("eta_seconds") is not None and job["status"] not in FINISHED:
        parts.append(f"eta {output.duration(progress['eta_seconds'])}")
    return "  " + "  ".join(parts) if parts else ""


def follow(client: Client, job_id: str, *, timeout: float | None = None, quiet: bool = False) -> dict[str, Any]:
    """Show the job until it has settled; its last state."""
    job: dict[str, Any] = {}
    with contextlib.ExitStack() as stack:
        view: View | None = None
        for job in snapshots(client, job_id, timeout=timeout):
            if quiet:
                continue
            if view is None:  # not before the first answer: an unreachable daemon leaves no bar behind
                view = _view(stack)
            view.show(job, _loss(client, job), moving(job, fetched=is_fetched(client, job)))
    return job


def _view(stack: contextlib.ExitStack) -> View:
    if not sys.stderr.isatty():
        return Lines()
    bar = Bar()
    stack.enter_context(bar.progress)
    return bar


def _loss(client: Client, job: dict[str, Any]) -> float | None:
    """The last point of the loss curve; a curve that cannot be had is no reason to stop."""
    try:
        points = client.get(job_path(job["job_id"], "metrics"))["series"].get("loss")
        return float(points[-1][1]) if points else None
    except (Unreachable, ApiProblem, LookupError, TypeError, ValueError):
        return None
