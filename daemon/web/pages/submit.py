"""The form of a new job: a SimpleTuner training, or any model of Replicate's."""

from __future__ import annotations

import secrets
from typing import Any

import msgspec
from aiohttp import web

from ... import keys
from ...core.costs import PRICES_AS_OF
from ...errors import InvalidRequest, JobNotFound, NotFound
from ...replicate.outgoing import Outgoing, decode
from ...replicate.saved_configs import SavedConfig
from ...store.records import Job
from ..answers import query_text
from ..api.configs import saved_configs
from ..api.costs import cost_limit_view, prices
from ..api.publishing import publishing_view
from ..endpoint import Answer, Endpoint, Param
from ..jobs_access import find_job
from .rendering import page
from .strip import limit_share

PATH = "/submit"
EARLIER = 30  # jobs to choose from; older ones are reached from their own pages


class Draft(msgspec.Struct, frozen=True, kw_only=True):
    """What the form begins with. ``config`` and ``input`` are JSON texts."""

    kind: str = "training"  # "training": SimpleTuner's; "model": any model with its input
    config: str = ""
    model: str = ""
    input: str = ""
    version: str = ""
    hardware: str = ""
    destination: str = ""
    name: str = ""
    paths: str = ""  # folders and addresses of data, one a line
    source: str | None = None  # the job that it was taken from
    saved: str | None = None  # the saved configuration that it was taken from


async def submit_page(request: web.Request) -> web.Response:
    job_id = query_text(request, "job")
    saved = await saved_configs(request).all()
    name = query_text(request, "config")
    if job_id is not None:
        draft = _draft_of(await find_job(request, job_id))
    else:
        draft = Draft() if name is None else _draft_from(name, await saved_configs(request).get(name))
    limit = await cost_limit_view(request)
    effective = request.app[keys.EFFECTIVE]
    jobs, _, _ = await request.app[keys.STORE].jobs.list(limit=EARLIER)
    context = {
        "draft": draft,
        "earlier": [(job.job_id, job.config_name or job.model or job.job_id) for job in jobs if job.request],
        "saved": list(saved),
        "trainer": effective.model,
        "version": effective.version_override,
        "hardware": list(prices(request).values()),
        "chosen": draft.hardware or effective.hardware,
        "prices_as_of": PRICES_AS_OF,
        "destinations": (await publishing_view(request)).destinations,
        "limit": limit,
        "share": limit_share(limit),
        "webhook_url": effective.webhook_url,
        "has_token": await request.app[keys.TOKENS].get() is not None,
        "key": secrets.token_hex(16),  # pressing twice makes one job
    }
    return await page(request, "submit.html", context, here=PATH)


def _draft_from(name: str, saved: SavedConfig) -> Draft:
    data = [entry.get("instance_data_dir") for entry in saved.dataloader_config or ()]
    paths = "\n".join(path for path in data if isinstance(path, str))
    return Draft(kind="training", config=_pretty(saved.config), name=name, paths=paths, saved=name)


def _draft_of(job: Job) -> Draft:
    """The form as an earlier job would have filled it; its secrets were taken out when it was written down."""
    try:
        outgoing = None if job.request is None else decode(job.request)
    except msgspec.MsgspecError:
        outgoing = None
    if outgoing is None:
        return Draft(model=job.model or "", kind="model", source=job.job_id)
    shared = {
        "version": job.version or "",
        "hardware": job.hardware or "",
        "destination": outgoing.destination or "",
        "name": job.config_name or "",
        "source": job.job_id,
    }
    config = _config_of(outgoing)
    if config is not None:
        return Draft(kind="training", config=config, **shared)
    return Draft(kind="model", model=outgoing.model or "", input=_pretty(outgoing.input), **shared)


def _config_of(outgoing: Outgoing) -> str | None:
    """The trainer's configuration as it stands in the input, as text or as an object."""
    found = outgoing.input.get("config_json")
    if isinstance(found, str):
        try:
            found = msgspec.json.decode(found)
        except msgspec.MsgspecError:
            return None
    return _pretty(found) if isinstance(found, dict) else None


def _pretty(value: Any) -> str:
    return msgspec.json.format(msgspec.json.encode(value), indent=2).decode()


ENDPOINTS = (
    Endpoint(
        "GET",
        PATH,
        submit_page,
        "The form of a new job",
        {200: Answer("The form", {"type": "string"}, content="text/html")},
        params=(
            Param("job", "Begin with what this job was submitted with", {"type": "string", "minLength": 1}),
            Param("config", "Begin with this saved configuration", {"type": "string", "minLength": 1}),
        ),
        errors=(InvalidRequest, JobNotFound, NotFound),
    ),
)
