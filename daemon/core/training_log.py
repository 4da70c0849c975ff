"""Progress, time left and curves, read from the text that trainers print.

Understood: tqdm bars (``Steps:  12%|█▏ | 120/1000 [01:23<10:05, 1.45it/s, step_loss=0.08, lr=1e-4]``), SimpleTuner's
variants of them, plain ``step 120/1000 … loss: 0.08``, and one JSON object a line with a ``step`` key. A bar rewrites
its line with ``\\r``, so both ``\\r`` and ``\\n`` end a record. Total: any text gives an answer.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator

import msgspec

MAX_RECORD_CHARS = 2000  # a longer "line" is a dump, not a progress line; reading it costs time for nothing

_BREAK = re.compile(r"[\r\n]+")
_ANSI = re.compile(r"\x1b\[[0-9;?]*[A-Za-z]")
_BAR = re.compile(
    r"%\|[^|]{0,200}\|\s*(?P<step>\d{1,12})/(?P<total>\d{1,12})\s*"
    r"\[(?P<elapsed>[^<\],]{1,40})<(?P<left>(?:\d{1,5} days?, )?[^,\]]{1,40})"
)
_PLAIN = re.compile(
    r"\b(?:global[ _]?)?steps?\b\s*[:=#]?\s*\[?\s*(?P<step>\d{1,12})\s*(?:/|of)\s*(?P<total>\d{1,12})", re.IGNORECASE
)
_STEP_ONLY = re.compile(r"\b(?:global[ _]?)?steps?\b\s*[:=#]?\s*(?P<step>\d{1,12})\b(?!\s*%)", re.IGNORECASE)
_PAIR = re.compile(
    r"(?P<name>[A-Za-z][\w/.]{0,40})[\"']?\s*[=:]\s*(?P<value>[-+]?(?:\d+\.?\d*(?:[eE][-+]?\d+)?|\.\d+(?:[eE][-+]?\d+)?|nan|inf))"
    r"(?![\w.])",
    re.IGNORECASE,
)
_TRAINING_BAR = re.compile(r"step|train|epoch|iter", re.IGNORECASE)
_CLOCK = re.compile(r"(?:(?P<days>\d{1,5}) days?, )?(?:(?P<hours>\d{1,5}):)?(?P<minutes>\d{1,2}):(?P<seconds>\d{1,2})$")

# Names under which trainers print the same curve.
_SAME = {
    "step_loss": "loss",
    "train_loss": "loss",
    "training_loss": "loss",
    "train/loss": "loss",
    "avg_loss": "loss",
    "learning_rate": "lr",
    "train/lr": "lr",
    "gradient_norm": "grad_norm",
}
_CURVE = re.compile(r"(?:^|[_/.])(?:loss|lr|grad_norm)$")


class Progress(msgspec.Struct, frozen=True):
    """How far a training is. ``percent`` is 0 to 100; ``eta_seconds`` is ``None`` where the log does not tell."""

    step: int
    total_steps: int
    percent: float
    eta_seconds: float | None


def read_progress(log: str, reach: int | None = None) -> Progress | None:
    """The newest progress of the training in ``log``; in its last ``reach`` characters, where that is given.

    A bar named after steps, epochs or training, or one that carries a loss, is preferred over bars of other work
    (caching, sampling): the validation's own bar must not throw the training's back.
    """
    other: Progress | None = None
    for record in _records_backwards(log, 0 if reach is None else max(0, len(log) - reach)):
        bar = _BAR.search(record) if "%|" in record else None
        if bar is not None:
            progress = _progress(bar, _seconds_left(bar["left"].strip()))
            if progress is None:
                continue
            if _TRAINING_BAR.search(record[: bar.start()]) or "loss" in record[bar.end() :]:
                return progress
            other = other or progress
            continue
        plain = _PLAIN.search(record) if "tep" in record or "TEP" in record else None
        if plain is not None and (progress := _progress(plain, None)) is not None:
            return progress
    return other


def read_series(log: str) -> dict[str, list[tuple[int, float]]]:
    """The curves in ``log``: name → ``(step, value)`` in order of step, the last value printed for a step winning.

    ``loss``, ``lr`` and ``grad_norm`` under their common names; any other ``…_loss`` or ``…_lr`` under its own.
    """
    series: dict[str, dict[int, float]] = {}
    for record in _records(log):
        if "loss" not in record and "lr" not in record and "norm" not in record and "learning_rate" not in record:
            continue
        step, pairs = _json_record(record) if record.startswith("{") else (None, [])
        if step is None:
            step, pairs = _step(record), [(found["name"], found["value"]) for found in _PAIR.finditer(record)]
        if step is None:
            continue
        in_record: set[str] = set()
        for raw_name, raw_value in pairs:
            name = _SAME.get(raw_name.lower(), raw_name.lower())
            if _CURVE.search(name) and name not in in_record:
                in_record.add(name)
                series.setdefault(name, {})[step] = float(raw_value)
    return {name: sorted(points.items()) for name, points in series.items()}


def _records(log: str) -> Iterator[str]:
    for record in _BREAK.split(log):
        if record and len(record) <= MAX_RECORD_CHARS:
            yield _clean(record)


def _clean(record: str) -> str:
    return _ANSI.sub("", record).strip() if "\x1b" in record else record.strip()


def _records_backwards(log: str, floor: int) -> Iterator[str]:
    """From the end, cut as they are asked for: this runs with every event, and mostly the last record is the answer."""
    end, cr, lf = len(log), log.rfind("\r", floor), log.rfind("\n", floor)
    while end >= floor:
        start = max(cr, lf, floor - 1)
        if start + 1 < end <= start + 1 + MAX_RECORD_CHARS:
            yield _clean(log[start + 1 : end])
        end = start
        if start == cr:
            cr = log.rfind("\r", floor, max(start, 0))
        if start == lf:
            lf = log.rfind("\n", floor, max(start, 0))


def _step(record: str) -> int | None:
    for pattern in (_BAR, _PLAIN, _STEP_ONLY):
        found = pattern.search(record)
        if found is not None:
            return int(found["step"])
    return None


def _json_record(record: str) -> tuple[int | None, list[tuple[str, str]]]:
    try:
        values = json.loads(record)
    except (ValueError, RecursionError):
        return None, []
    if not isinstance(values, dict):
        return None, []
    step = next((values[key] for key in ("step", "global_step", "steps") if type(values.get(key)) is int), None)
    numbers = [(key, str(value)) for key, value in values.items() if type(value) in {int, float}]
    return step, [(key, value) for key, value in numbers if len(value) < 40]  # a number, not a dump


def _progress(found: re.Match[str], eta: float | None) -> Progress | None:
    step, total = int(found["step"]), int(found["total"])
    if total <= 0 or step > total:
        return None
    return Progress(step=step, total_steps=total, percent=round(100 * step / total, 2), eta_seconds=eta)


def _seconds_left(text: str) -> float | None:
    found = _CLOCK.match(text)
    if found is None:
        return None
    days, hours, minutes, seconds = (int(found[part] or 0) for part in ("days", "hours", "minutes", "seconds"))
    return float(((days * 24 + hours) * 60 + minutes) * 60 + seconds)
