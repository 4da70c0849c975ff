"""What a submit shows while its answer is waited for: the daemon packs and sends the dataset meanwhile."""

from __future__ import annotations

import contextlib
import sys
import threading
from collections.abc import Iterator
from typing import Any, Protocol

from . import output
from .client import Client
from .exits import ApiProblem, Unreachable

PATH = "/api/cloud/jobs/submit/progress"
LOOK_EVERY = 0.5  # seconds
_PATIENCE = 2.0  # seconds for one look, so long it may also hold up the end
_MOVING = frozenset({"packing", "uploading"})


@contextlib.contextmanager
def shown(client: Client, key: str, *, quiet: bool) -> Iterator[None]:
    """Show on standard error how far the submit with ``key`` is, as long as the block runs. It only looks on."""
    if quiet:
        yield
        return
    over = threading.Event()
    looking = threading.Thread(target=_look_on, args=(client, key, over), daemon=True, name="progress of the submit")
    looking.start()
    try:
        yield
    finally:
        over.set()
        looking.join(_PATIENCE + 1)


def _look_on(client: Client, key: str, over: threading.Event) -> None:
    with contextlib.ExitStack() as stack:
        view: _View | None = None
        while not over.wait(LOOK_EVERY):
            try:
                told = client.get(PATH, headers={"Idempotency-Key": key}, timeout=_PATIENCE)
            except Unreachable:
                continue
            except ApiProblem:  # an older daemon: the answer comes all the same
                return
            if told["stage"] in _MOVING:
                view = view or (_Bar(stack) if sys.stderr.isatty() else _Lines())
                view.show(told)


class _View(Protocol):
    def show(self, told: dict[str, Any]) -> None: ...


class _Lines:
    """For pipes and files: a line at each stage, and at every tenth of it."""

    def __init__(self) -> None:
        self._last: tuple[Any, ...] | None = None

    def show(self, told: dict[str, Any]) -> None:
        done, total = told["bytes_done"] or 0, told["bytes_total"]
        mark = (told["stage"], done * 10 // total if total else None)
        if mark != self._last:
            self._last = mark
            output.remark(f"{told['stage']} the dataset{_amount(done, total)}")


class _Bar:
    """For terminals: a bar that is gone when the answer is there."""

    def __init__(self, stack: contextlib.ExitStack) -> None:
        from rich.console import Console
        from rich.progress import BarColumn, Progress, TaskProgressColumn, TextColumn, TimeElapsedColumn

        self._progress = Progress(
            TextColumn("{task.description}", markup=False),
            BarColumn(),
            TaskProgressColumn(),
            TextColumn("{task.fields[amount]}", markup=False),
            TimeElapsedColumn(),
            console=Console(stderr=True),
            transient=True,
        )
        self._task = self._progress.add_task("…", total=None, amount="")
        stack.enter_context(self._progress)

    def show(self, told: dict[str, Any]) -> None:
        done, total = told["bytes_done"] or 0, told["bytes_total"]
        self._progress.update(
            self._task,
            description=f"{told['stage']} the dataset",
            total=total or None,
            completed=done,
            amount=_amount(done, total),
        )


def _amount(done: int, total: int | None) -> str:
    return f"  {output.size(done)} of {output.size(total)}" if total else ""
