"""Single events for ``tunerd trigger``: a prediction as it looks at one moment of its life."""

from __future__ import annotations

import copy
import random
from collections.abc import Mapping
from typing import Any

from . import ids
from .records import stamp
from .training_text import bar, closing_lines, opening_lines, traceback_lines

KINDS = ("start", "logs", "output", "completed", "failed", "cancelled")
_STEPS = 100
_RUN_SECONDS = 60.0
_OUTPUT = "https://replicate.delivery/xezq/sample/pytorch_lora_weights.safetensors"
# The provider's status, how far the training is, and how long ago it was created, in seconds.
_MOMENTS: dict[str, tuple[str, float, float]] = {
    "start": ("starting", 0.0, 1.0),
    "logs": ("processing", 0.5, 40.0),
    "output": ("processing", 1.0, 69.0),
    "completed": ("succeeded", 1.0, 70.0),
    "failed": ("failed", 0.3, 30.0),
    "cancelled": ("canceled", 0.7, 50.0),
}
_QUEUED_SECONDS = 8.0


def make_event(
    kind: str,
    *,
    overrides: Mapping[str, Any] | None = None,
    prediction_id: str | None = None,
    now: float,
    rng: random.Random,
    share: float | None = None,
) -> dict[str, Any]:
    """The body of one event as Replicate would send it.

    ``kind`` is one of ``KINDS`` (``ValueError`` otherwise), ``now`` unix seconds, ``share`` how far the log has come
    (0 to 1). ``overrides`` maps dotted paths to JSON values: ``{"metrics.predict_time": 3.2, "output.0": "…"}``.
    """
    if kind not in _MOMENTS:
        raise ValueError(f"{kind!r}: one of {', '.join(KINDS)} is expected")
    status, done, age = _MOMENTS[kind]
    body = _body(prediction_id or ids.prediction_id(rng), status, done if share is None else share, now, age)
    if kind in {"output", "completed"}:
        body["output"] = _OUTPUT
    for path, value in (overrides or {}).items():
        set_path(body, path, copy.deepcopy(value))
    return body


def _body(prediction_id: str, status: str, done: float, now: float, age: float) -> dict[str, Any]:
    created, started = now - age, now - age + _QUEUED_SECONDS
    ended = status in {"succeeded", "failed", "canceled"}
    error = "CUDA out of memory. Tried to allocate 2.00 GiB" if status == "failed" else None
    get = f"https://api.replicate.com/v1/predictions/{prediction_id}"
    return {
        "completed_at": stamp(now, 9) if ended else None,
        "created_at": stamp(created, 3),
        "data_removed": False,
        "error": error,
        "id": prediction_id,
        "input": {"max_train_steps": _STEPS},
        "logs": "" if status == "starting" else log_text(prediction_id, done, error=error, ended=status == "succeeded"),
        "metrics": {"predict_time": round(now - started, 9), "total_time": round(age, 9)} if ended else {},
        "model": "simpletuner/advanced-trainer",
        "output": None,
        "started_at": None if status == "starting" else stamp(started, 9),
        "status": status,
        "urls": {"cancel": f"{get}/cancel", "get": get, "web": f"https://replicate.com/p/{prediction_id}"},
        "version": "5c7d5dc6dd8bf75c1acaa8565735e7986bc5b66206b55cca93cb72c9bf15ccaa",
    }


def log_text(
    prediction_id: str, done: float, *, filler_bytes: int = 0, error: str | None = None, ended: bool = False
) -> str:
    """The log of a training that is ``done`` (0 to 1)."""
    text = opening_lines(prediction_id, _STEPS, filler_bytes, "Dataset: images.zip, 12 files")
    text += "".join(bar(step, _STEPS, _RUN_SECONDS, 0) for step in range(1, round(_STEPS * done) + 1))
    return text + (traceback_lines(error) if error else "") + (closing_lines(_STEPS) if ended else "")


def set_path(body: dict[str, Any], path: str, value: Any) -> None:
    """Set ``a.b.0`` inside ``body``; missing objects are made. ``ValueError`` where the path leads through a scalar."""
    *parents, last = path.split(".")
    place: Any = body
    for key in parents:
        if isinstance(place, dict) and (place.get(key) is None):
            place[key] = {}
        place = place[_key(place, key, path)]
    if isinstance(place, list) and last.isdecimal() and int(last) == len(place):
        place.append(value)
    else:
        place[_key(place, last, path)] = value


def _key(place: Any, key: str, path: str) -> Any:
    if isinstance(place, dict):
        return key
    if isinstance(place, list) and key.isdecimal() and int(key) < len(place):
        return int(key)
    raise ValueError(f"{path!r}: there is no {key!r} to set")
