"""The links of the OpenAPI document: what an answer names, and which operations take it."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Any

from .endpoint import Endpoint

_JOBS = "/api/cloud/jobs"
_JOB_PATH = "$request.path.job_id"
# Operation and status → parameter → where the answer holds it (OpenAPI 3.1, "Runtime Expressions").
SOURCES: Mapping[tuple[str, str, int], Mapping[str, str]] = {
    ("POST", f"{_JOBS}/submit", 201): {"job_id": "$response.body#/job_id"},
    ("POST", "/api/webhooks/replicate", 200): {"job_id": "$response.body#/job_id"},
    ("GET", _JOBS, 200): {"job_id": "$response.body#/jobs/0/job_id"},
    ("GET", f"{_JOBS}/{{job_id}}", 200): {"job_id": "$response.body#/job/job_id"},
    ("GET", f"{_JOBS}/{{job_id}}/events", 200): {"job_id": _JOB_PATH, "seq": "$response.body#/events/0/seq"},
    ("GET", "/api/cloud/events", 200): {"seq": "$response.body#/events/0/seq"},
}
# Lists that go on: where the answer says with which parameter.
PAGES: Mapping[tuple[str, str], tuple[str, str]] = {
    ("GET", _JOBS): ("cursor", "$response.body#/next_cursor"),
    ("GET", f"{_JOBS}/{{job_id}}/events"): ("cursor", "$response.body#/next_cursor"),
    ("GET", "/api/cloud/events"): ("cursor", "$response.body#/next_cursor"),
}


def links_of(endpoint: Endpoint, status: int, ids: Mapping[Endpoint, str], every: Sequence[Endpoint]) -> dict[str, Any]:
    """Name → link object of one answer. ``ids``: operation ids."""
    found: dict[str, Any] = {}
    given = SOURCES.get((endpoint.method, endpoint.path, status), {})
    for target in every:
        wanted = set(re.findall(r"{(\w+)}", target.path))
        if target is endpoint or not wanted or not wanted <= given.keys() or not target.path.startswith("/api/"):
            continue
        taken = {f"path.{name}": given[name] for name in sorted(wanted)}
        found[ids[target]] = {"operationId": ids[target], "parameters": taken, "description": target.summary}
    page = PAGES.get((endpoint.method, endpoint.path))
    if page is not None and status == 200:
        name, where = page
        same = {f"path.{one}": f"$request.path.{one}" for one in re.findall(r"{(\w+)}", endpoint.path)}
        taken = {**same, f"query.{name}": where}
        found["next_page"] = {"operationId": ids[endpoint], "parameters": taken, "description": "The page after"}
    return found
