"""The bytes that a job's deliveries move: one download for all, then each destination's upload."""

from __future__ import annotations

from typing import Any, NamedTuple

from . import output
from .client import Client, job_path
from .exits import ApiProblem, Unreachable


class Moving(NamedTuple):
    """One bar."""

    what: str
    done: int
    total: int | None  # bytes; None: not known yet

    def text(self) -> str:
        of = f" of {output.size(self.total)}" if self.total is not None else ""
        return f"{output.size(self.done)}{of}"


def moving(job: dict[str, Any], *, fetched: bool) -> list[Moving]:
    """What is under way now. ``fetched``: every file is here, so what moves goes to a destination."""
    running = [delivery for delivery in job["deliveries"] if delivery["status"] == "running"]
    if fetched:
        return [
            Moving(f"to {delivery['destination']}", delivery["bytes_done"] or 0, delivery["bytes_total"])
            for delivery in running
        ]
    begun = [delivery for delivery in running if delivery["bytes_done"] or delivery["bytes_total"]]
    if not begun:
        return []
    first = max(begun, key=lambda delivery: delivery["bytes_done"] or 0)  # all have the same; one may lag a moment
    return [Moving("download", first["bytes_done"] or 0, first["bytes_total"])]


def is_fetched(client: Client, job: dict[str, Any]) -> bool:
    """Whether all files of a job are here: then they are its artifacts. Not to know is no reason to stop."""
    totals = [delivery["bytes_total"] for delivery in job["deliveries"] if delivery["status"] == "running"]
    if not any(totals):
        return False
    try:
        artifacts = client.get(job_path(job["job_id"], "artifacts"))["artifacts"]
        return bool(sum(artifact["bytes"] for artifact in artifacts) >= max(total or 0 for total in totals))
    except (Unreachable, ApiProblem, LookupError, TypeError):
        return False
