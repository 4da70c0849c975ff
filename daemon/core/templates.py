"""Templates of names: ``{job_id}/``, ``me/{config_name}-{date}``. Values are made safe, the text around them is not."""

from __future__ import annotations

import re
from collections.abc import Mapping
from datetime import UTC, datetime

# What stands for each name; where a job has no such thing, its id stands there: names stay unique.
NAMES: Mapping[str, str] = {
    "job_id": "the daemon's own id of the job",
    "provider_job_id": "Replicate's id of it",
    "config_name": "the name of its configuration",
    "model": "the model that ran, owner-name",
    "version": "the first 12 characters of the model's version",
    "date": "the day it completed, UTC: 2026-11-24",
}
MAX_VALUE = 96  # characters of one value: a Hub repository's name has no more

_FIELD = re.compile(r"{([^{}]*)}")
_UNSAFE = re.compile(r"[^A-Za-z0-9._-]+")


class TemplateInvalid(ValueError):
    """The reason, for the user."""


def check(template: str) -> str:
    """``template``, if it can be rendered. Raises ``TemplateInvalid``."""
    for name in _FIELD.findall(template):
        if name not in NAMES:
            known = ", ".join(f"{{{known}}}" for known in NAMES)
            raise TemplateInvalid(f"there is no {{{name}}}; there are {known}")
    if "{" in _FIELD.sub("", template) or "}" in _FIELD.sub("", template):
        raise TemplateInvalid("a brace is open; names stand in braces, as {job_id}, and braces for nothing else")
    return template


def render(template: str, values: Mapping[str, str]) -> str:
    """``template`` with its names replaced. Raises ``TemplateInvalid``."""
    return _FIELD.sub(lambda field: values[field[1]], check(template))


def values(
    *,
    job_id: str,
    provider_job_id: str | None,
    config_name: str | None,
    model: str | None,
    version: str | None,
    completed_at: float | None,  # unix seconds
) -> dict[str, str]:
    """What ``render`` puts in place of ``NAMES``; each fits into a path and into a repository's name."""
    given = {
        "job_id": job_id,
        "provider_job_id": provider_job_id,
        "config_name": config_name,
        "model": model,
        "version": version and version[:12],
        "date": None if completed_at is None else datetime.fromtimestamp(completed_at, UTC).strftime("%Y-%m-%d"),
    }
    return {name: slug(value or "") or slug(job_id) for name, value in given.items()}


def slug(text: str) -> str:
    """Letters, digits, single dots, dashes and underscores; begins and ends with a letter or digit. May be empty."""
    plain = _UNSAFE.sub("-", text)
    plain = re.sub(r"-{2,}", "-", re.sub(r"\.{2,}", ".", plain))
    return plain[:MAX_VALUE].strip("-._")
