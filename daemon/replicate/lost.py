"""Which of the account's recent jobs is the one we asked for, when the answer to our create call was lost?

Replicate has no idempotency key. Our marker is the job id in the webhook URL, which it echoes sometimes; without an
echo a job is ours when it is of our model, has our input, began after our intent and belongs to no other job of ours.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any
from urllib.parse import parse_qs, urlsplit

from ..core.prediction import parse_time
from .outgoing import Outgoing, redacted

# Seconds that Replicate's clock may be behind ours. Wide for the marker, which cannot be mistaken; narrow for likeness,
# where a job that the user made by hand shortly before would be taken for ours.
CLOCK_SLACK = 600.0
LIKENESS_SLACK = 60.0
# A job whose input was removed (an hour after its end) is told by its time alone: so soon after the intent. Seconds.
REMOVED_WINDOW = 900.0


def marker(item: Mapping[str, Any]) -> str | None:
    """The job id in the echoed webhook URL; ``""`` for an echo without one; ``None`` without an echo."""
    echoed = item.get("webhook")
    if not isinstance(echoed, str) or not echoed:
        return None
    try:
        found = parse_qs(urlsplit(echoed).query).get("job")
    except ValueError:
        return ""
    return found[0] if found else ""


def marked(items: Iterable[Mapping[str, Any]], job_id: str) -> Mapping[str, Any] | None:
    """The job that carries our marker."""
    return next((item for item in items if marker(item) == job_id and isinstance(item.get("id"), str)), None)


def alike(items: Sequence[Mapping[str, Any]], outgoing: Outgoing, intent_at: float) -> list[Mapping[str, Any]]:
    """Jobs without any echo that may be ours, oldest first; the caller drops those that belong to other jobs."""
    found = [
        (created, item)
        for item in items
        if isinstance(item.get("id"), str)
        and marker(item) is None
        and (created := parse_time(item.get("created_at"))) is not None
        and created >= intent_at - LIKENESS_SLACK
        and _same_model(item, outgoing)
        and _same_input(item, outgoing, created - intent_at)
    ]
    found.sort(key=lambda pair: pair[0])
    return [item for _, item in found]


def _same_model(item: Mapping[str, Any], outgoing: Outgoing) -> bool:
    if outgoing.version is not None:
        return item.get("version") in {outgoing.version, "hidden"}
    # A routed official model answers under another name: then the input has to do, and an empty one does not.
    return item.get("model") == outgoing.model or (bool(outgoing.input) and item.get("input") == outgoing.input)


def _same_input(item: Mapping[str, Any], outgoing: Outgoing, after_intent: float) -> bool:
    given = item.get("input")
    if item.get("data_removed") is True or (given == {} and outgoing.input):
        return after_intent <= REMOVED_WINDOW
    if outgoing.datasets and isinstance(given, dict):  # of the archive's URL, what was written down does not tell
        given = {key: value for key, value in given.items() if key != "images"}
    # Secrets come back masked. Numbers are compared as such: 1 and 1.0 are one value to its JSON writers.
    return isinstance(given, dict) and bool(_masked(given, outgoing.input) == redacted(outgoing.input))


def _masked(given: Mapping[str, Any], ours: Mapping[str, Any]) -> Any:
    """``given`` with every field that is secret on our side masked the same way."""
    mine = redacted(ours)
    return {
        key: mine[key] if key in mine and mine[key] != ours[key] else redacted(value) for key, value in given.items()
    }
