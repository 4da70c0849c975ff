"""One prediction or training as the sandbox knows it, and the objects it shows of it."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any, Literal

from .behaviour import Behaviour
from .faults import Faults

Kind = Literal["prediction", "training"]
View = Literal["created", "read", "listed", "canceled", "webhook"]
TERMINAL = frozenset({"succeeded", "failed", "canceled", "aborted"})

# Two backends store the same creation a few milliseconds apart (create and get disagree in every recording).
CREATED_DRIFT_SECONDS = 0.0603


@dataclass(slots=True, kw_only=True)
class Record:
    """Times are unix seconds. ``logs`` is the whole text so far."""

    id: str
    kind: Kind
    model: str
    version: str
    input: dict[str, Any]
    behaviour: Behaviour
    created_at: float
    webhook: str | None = None
    events: tuple[str, ...] = ()
    filter_given: bool = False
    destination: str | None = None
    source: str = "api"
    status: str = "starting"
    output: Any = None
    error: str | None = None
    logs: str = ""
    started_at: float | None = None
    completed_at: float | None = None
    deadline: float | None = None
    file_ids: list[str] = field(default_factory=list)
    done: asyncio.Event = field(default_factory=asyncio.Event)

    @property
    def finished(self) -> bool:
        return self.status in TERMINAL

    def removed(self, now: float, ttl: float) -> bool:
        """Whether input, output, logs and files are gone."""
        return self.completed_at is not None and now >= self.completed_at + ttl


class Show:
    """Renders records as one sandbox at ``url`` under ``faults`` would."""

    def __init__(self, url: str, faults: Faults) -> None:
        self.url = url
        self._faults = faults

    def render(self, record: Record, view: View, now: float) -> dict[str, Any]:
        """The JSON object of ``record``, with the fields and their order as that answer was recorded."""
        shown = self._created(record) if view == "created" else self._full(record, view, now)
        if self._faults.echo_webhook and record.webhook is not None:
            shown["webhook"] = record.webhook
            if record.filter_given:
                shown["webhook_events_filter"] = list(record.events)
        return shown | self._faults.extra_keys

    def _created(self, record: Record) -> dict[str, Any]:
        """201: a struct of the Go backend, without ``output``; of a training, with the URLs of a prediction."""
        shown: dict[str, Any] = {
            "id": record.id,
            "model": record.model,
            "version": record.version,
            "input": record.input,
            "logs": record.logs,
            "error": record.error,
            "status": self._status(record),
            "created_at": self._stamp(record.created_at - CREATED_DRIFT_SECONDS, 9 if record.kind == "training" else 3),
            "urls": self._urls(record, "predictions"),
        }
        if record.kind == "prediction":
            shown["data_removed"] = False
        if record.deadline is not None:
            shown["deadline"] = self._stamp(record.deadline, 3)
        if record.status != "starting":  # the answer to Prefer: wait
            shown |= {"output": record.output, "metrics": self._metrics(record), "started_at": self._time(record, 9)}
            if record.completed_at is not None:
                shown["completed_at"] = self._stamp(record.completed_at, 9)
        return shown

    def _full(self, record: Record, view: View, now: float) -> dict[str, Any]:
        gone = record.removed(now, self._faults.output_ttl)
        go = view == "webhook"
        digits = 9 if go else 6
        shown: dict[str, Any] = {
            "completed_at": None if record.completed_at is None else self._stamp(record.completed_at, digits),
            "created_at": self._stamp(record.created_at, 3 if go else 6),
            "data_removed": gone,
            "error": record.error,
            "id": record.id,
            "input": {} if gone else record.input,
            "logs": "" if gone else record.logs,
            "metrics": self._metrics(record),
            "output": None if gone else record.output,
            "started_at": self._time(record, digits),
            "source": record.source,
            "status": self._status(record),
            "urls": self._urls(
                record, "trainings" if record.kind == "training" and view != "canceled" else "predictions"
            ),
            "model": record.model,
            "version": record.version,
        }
        if record.deadline is not None:
            shown["deadline"] = self._stamp(record.deadline, digits)
        if view == "listed":
            del shown["logs"]
        return shown

    def _status(self, record: Record) -> str:
        if record.status == "processing" and self._faults.unknown_status is not None:
            return self._faults.unknown_status
        return record.status

    def _urls(self, record: Record, api: str) -> dict[str, str]:
        get = f"{self.url}/v1/{api}/{record.id}"
        return {"cancel": f"{get}/cancel", "get": get, "web": f"https://replicate.com/p/{record.id}"}

    def _time(self, record: Record, digits: int) -> str | None:
        return None if record.started_at is None else self._stamp(record.started_at, digits)

    def _metrics(self, record: Record) -> dict[str, float]:
        if record.completed_at is None:
            return {}
        total = {"total_time": round(record.completed_at - record.created_at, 9)}
        if record.started_at is None:
            return total
        return {"predict_time": round(record.completed_at - record.started_at, 9)} | total

    def _stamp(self, when: float, digits: int) -> str:
        chosen = self._faults.timestamp_digits
        return stamp(when, digits if chosen is None else chosen)


def stamp(when: float, digits: int) -> str:
    """RFC 3339 in UTC with ``digits`` (0 to 9) fractional digits."""
    seconds, fraction = divmod(round(when * 10**digits), 10**digits)
    text = datetime.fromtimestamp(seconds, UTC).strftime("%Y-%m-%dT%H:%M:%S")
    return f"{text}.{fraction:0{digits}d}Z" if digits else f"{text}Z"
