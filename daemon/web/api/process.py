"""The daemon itself: what it runs with, and taking over a changed configuration."""

from __future__ import annotations

import os

import msgspec
from aiohttp import web

from ... import keys
from ...errors import ConfigurationInvalid, ReloadRefused
from ..allowlist import ALLOWLIST
from ..answers import json_answer
from ..endpoint import Answer, Endpoint


class Process(msgspec.Struct):
    """What a proxy's configuration is made of.

    ``listening``: http://HOST:PORT, unix:/path, or either as proxy://…; ``webhook_ranges``: the networks that the IP
    rule admits, listed or of the cloud's feed, empty where anybody is admitted.
    """

    pid: int
    role: str
    listening: list[str]
    webhook_url: str | None
    webhook_ip_mode: str
    webhook_ranges: list[str]
    trusted_proxies: list[str]
    max_body_mib: int


class Reloaded(msgspec.Struct):
    """The settings whose value (or origin: file, default) is another now."""

    changed: list[str]


async def process(request: web.Request) -> web.Response:
    settings, effective = request.app[keys.SETTINGS], request.app[keys.EFFECTIVE]
    listening = request.app[keys.LISTENING]
    return json_answer(
        Process(
            pid=os.getpid(),
            role=settings.role,
            listening=list(listening),
            webhook_url=effective.webhook_url,
            webhook_ip_mode=effective.webhook_ip_mode,
            webhook_ranges=list(request.app[ALLOWLIST].admitted()),
            trusted_proxies=list(settings.trusted_proxies),
            max_body_mib=settings.max_body_mib,
        )
    )


async def reload(request: web.Request) -> web.Response:
    return json_answer(Reloaded(request.app[keys.RELOAD]()))


ENDPOINTS = (
    Endpoint(
        "GET",
        "/api/cloud/daemon",
        process,
        "What the daemon runs with, for the proxy in front of it",
        {200: Answer("Values in force", Process)},
    ),
    Endpoint(
        "POST",
        "/api/cloud/reload",
        reload,
        "Read the configuration again and apply it, whole or not at all",
        {200: Answer("It is in force", Reloaded)},
        errors=(ConfigurationInvalid, ReloadRefused),
        description="As SIGHUP. Flags and the environment stay what they were at start; the file is read anew.",
    ),
)
