"""Background tasks whose failure is told: a broken one would look like a stuck prediction or a lost webhook."""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine
from typing import Any


def spawn(work: Coroutine[Any, Any, None], name: str) -> asyncio.Task[None]:
    """Start ``work``; what it raises goes to the event loop's exception handler."""
    task = asyncio.create_task(work, name=name)
    task.add_done_callback(_report)
    return task


def _report(task: asyncio.Task[None]) -> None:
    if not task.cancelled() and (problem := task.exception()) is not None:
        context = {"message": f"sandbox: {task.get_name()} broke", "exception": problem, "task": task}
        task.get_loop().call_exception_handler(context)
