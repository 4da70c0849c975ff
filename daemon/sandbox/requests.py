"""Reads what a create request asks for, and refuses what the API refuses."""

from __future__ import annotations

import re
from typing import Any
from urllib.parse import urlsplit

import msgspec

from .answers import Problem, invalid_input, invalid_request
from .faults import Faults

EVENTS = ("start", "output", "logs", "completed")
DEFAULT_EVENTS = ("output", "completed")  # "new outputs or finished"
PREDICTION_KEYS = frozenset({"version", "input", "stream", "webhook", "webhook_completed", "webhook_events_filter"})

_PREFER = re.compile(r"wait(?:=([1-9]|[1-9][0-9]|60))?$")
_DURATION = re.compile(r"(?:(?P<h>\d+)h)?(?:(?P<m>\d+)m)?(?:(?P<s>\d+)s?)?$")
_DEFAULT_WAIT_SECONDS = 60
_MIN_CANCEL_SECONDS = 5


class Wanted(msgspec.Struct, frozen=True):
    """The parts of a create request that predictions and trainings share."""

    input: dict[str, Any]
    webhook: str | None
    events: tuple[str, ...]
    filter_given: bool


def read_common(body: Any, faults: Faults, *, known: frozenset[str] | None = None) -> Wanted:
    """``known`` lists the top-level keys that are allowed; ``None`` lets any through (trainings)."""
    if not isinstance(body, dict):
        raise invalid_request("invalid_type", "(root)", "Invalid type. Expected: object")
    strangers = [] if known is None else sorted(body.keys() - known)
    if strangers:
        raise invalid_input([_stranger(name) for name in strangers])
    if "input" not in body:
        raise invalid_request("required", "(root)", "input is required")
    if not isinstance(body["input"], dict):
        raise invalid_request("invalid_type", "input", "Invalid type. Expected: object")
    webhook, chosen = body.get("webhook"), body.get("webhook_events_filter")
    if webhook is not None:
        _check_webhook(webhook, faults)
    events = DEFAULT_EVENTS if chosen is None else _read_filter(chosen)
    return Wanted(input=body["input"], webhook=webhook, events=events, filter_given=chosen is not None)


def _stranger(name: str) -> dict[str, str]:
    text = f"Additional property {name} is not allowed"
    return {"type": "additional_property_not_allowed", "field": "(root)", "description": text}


def _check_webhook(url: Any, faults: Faults) -> None:
    schemes = {"https"} if faults.refuse_http_webhooks else {"https", "http"}
    try:
        parts = urlsplit(url if isinstance(url, str) else "")
        fit = parts.scheme in schemes and bool(parts.hostname) and parts.port != 0
    except ValueError:
        fit = False
    if not fit:
        raise invalid_request("format", "webhook", "Does not match format 'uri': an HTTPS URL is expected")


def _read_filter(chosen: Any) -> tuple[str, ...]:
    if not isinstance(chosen, list):
        raise invalid_request("invalid_type", "webhook_events_filter", "Invalid type. Expected: array")
    for number, event in enumerate(chosen):
        if event not in EVENTS:
            field = f"webhook_events_filter.{number}"
            allowed = ", ".join(f'"{each}"' for each in EVENTS)
            raise invalid_request("enum", field, f"{field} must be one of the following: {allowed}")
    return tuple(chosen)


def read_prefer(header: str | None) -> int | None:
    """Seconds to wait for the end; ``None`` where nobody asked."""
    if header is None:
        return None
    found = _PREFER.match(header.strip())
    if found is None:
        raise Problem(422, title="Invalid header", detail="Prefer must be wait or wait=n, n from 1 to 60", status=422)
    return int(found[1] or _DEFAULT_WAIT_SECONDS)


def read_cancel_after(header: str | None) -> int | None:
    """Seconds from creation to the deadline: ``30``, ``30s``, ``5m``, ``1h30m45s``."""
    if header is None:
        return None
    found = _DURATION.match(header.strip())
    seconds = sum(int(found[unit] or 0) * size for unit, size in (("h", 3600), ("m", 60), ("s", 1))) if found else 0
    if seconds < _MIN_CANCEL_SECONDS:
        raise Problem(422, title="Invalid header", detail="Cancel-After must be a duration of at least 5s", status=422)
    return seconds
