"""The endpoints of outgoing webhooks. Their URLs and secrets can be written, never read."""

from __future__ import annotations

import base64
import re
import secrets
from collections.abc import Mapping
from types import MappingProxyType
from typing import Annotated, Any
from urllib.parse import urlsplit

import msgspec
from aiohttp import web

from ... import keys, parsing
from ...core.notices import NoticeType, trial
from ...core.times import rfc3339
from ...errors import EndpointNotFound, InvalidRequest, InvalidSetting
from ...store.notifications import Endpoint as StoredEndpoint
from ...store.notifications import EndpointChange
from ...store.secrets import endpoint_secret, endpoint_url
from ..answers import json_answer, read_json
from ..endpoint import Answer, Endpoint

MAX_ENDPOINTS = 32  # each is a row of every message
MAX_URL = 2000  # characters
SECRET_BYTES = 32  # Standard Webhooks: 24 to 64
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,63}", re.ASCII)


class EndpointBody(msgspec.Struct, forbid_unknown_fields=True):
    """What is left out stays; of a new endpoint: every event, enabled, public addresses only, a secret made here.

    ``secret`` ``null`` makes a new one.
    """

    name: str
    url: str | msgspec.UnsetType = msgspec.UNSET
    secret: str | msgspec.UnsetType | None = msgspec.UNSET
    events: Annotated[list[NoticeType], msgspec.Meta(max_length=32)] | msgspec.UnsetType | None = msgspec.UNSET
    enabled: bool | msgspec.UnsetType = msgspec.UNSET
    allow_private: bool | msgspec.UnsetType = msgspec.UNSET


class NotificationsBody(msgspec.Struct, forbid_unknown_fields=True):
    """The whole list: an endpoint that is not in it is removed."""

    endpoints: list[EndpointBody]


class EndpointView(msgspec.Struct, omit_defaults=True):
    """``url`` is shortened. ``events`` ``null``: every one. ``secret``: only in the answer that it was made for.

    ``disabled_reason``: why the daemon stopped sending there by itself; enable it again when that is mended.
    """

    name: str
    url: str
    events: list[str] | None
    enabled: bool
    allow_private: bool
    disabled_reason: str | None
    delivered_at: str | None
    failing_since: str | None
    last_error: str | None
    pending: int
    given_up: int
    secret: str | msgspec.UnsetType = msgspec.UNSET


class NotificationsView(msgspec.Struct):
    endpoints: list[EndpointView]
    events: list[str]  # what may be subscribed to


class Queued(msgspec.Struct):
    success: bool
    webhook_id: str


async def get_notifications(request: web.Request) -> web.Response:
    return json_answer(await notifications_view(request))


async def put_notifications(request: web.Request) -> web.Response:
    """Replace the list, all or nothing."""
    body = await read_json(request, NotificationsBody)
    store, now = request.app[keys.STORE], request.app[keys.CLOCK]()
    before = {one.name: one for one in await store.notifications.endpoints()}
    if len(body.endpoints) > MAX_ENDPOINTS:
        raise _invalid("endpoints", f"{MAX_ENDPOINTS} endpoints at most")
    changes = [_change(index, entry, before.get(entry.name)) for index, entry in enumerate(body.endpoints)]
    names = [entry.name for entry in body.endpoints]
    for index, name in enumerate(names):
        if name in names[:index]:
            raise _invalid(f"endpoints[{index}].name", f"{name!r} is there twice")
    made: dict[str, str] = {}
    for entry in body.endpoints:  # secrets first: nothing is sent unsigned or to an old address
        if entry.url is not msgspec.UNSET:
            await store.secrets.put(endpoint_url(entry.name), entry.url.strip(), now=now)
        secret = entry.secret
        if secret is None or (secret is msgspec.UNSET and entry.name not in before):
            secret = made[entry.name] = f"whsec_{base64.b64encode(secrets.token_bytes(SECRET_BYTES)).decode()}"
        if secret is not msgspec.UNSET:
            await store.secrets.put(endpoint_secret(entry.name), secret, now=now)
    await store.notifications.put_endpoints(changes, now=now)
    for name in before.keys() - set(names):
        await store.secrets.delete(endpoint_url(name))
        await store.secrets.delete(endpoint_secret(name))
    return json_answer(await notifications_view(request, made))


async def post_test(request: web.Request) -> web.Response:
    name = request.match_info["name"]
    now = request.app[keys.CLOCK]()
    webhook_id = await request.app[keys.STORE].notifications.send(name, trial(name), now=now)
    return json_answer(Queued(True, webhook_id), status=202)


def _change(index: int, entry: EndpointBody, before: StoredEndpoint | None) -> EndpointChange:
    where = f"endpoints[{index}]"
    if not _NAME.fullmatch(entry.name):
        raise _invalid(f"{where}.name", "1 to 64 letters, digits, dots, dashes or underscores are expected")
    if before is None and entry.url is msgspec.UNSET:
        raise _invalid(f"{where}.url", "a new endpoint needs one")
    if isinstance(entry.url, str):
        try:
            _check_url(entry.url.strip())
        except ValueError as problem:
            raise _invalid(f"{where}.url", str(problem)) from None
    if isinstance(entry.secret, str):
        try:
            parsing.decode_webhook_secret(entry.secret)
        except ValueError as problem:
            raise _invalid(f"{where}.secret", str(problem)) from None
    return EndpointChange(
        name=entry.name,
        shown_url=_shortened(entry.url) if isinstance(entry.url, str) else None,
        events=_or(entry.events, before.events if before else None),
        allow_private=_or(entry.allow_private, before.allow_private if before else False),
        enabled=_or(entry.enabled, before.enabled if before else True),
    )


def _check_url(url: str) -> None:
    """A message tells of jobs, and a chat's URL is a secret: plain ``http://`` goes to this machine only."""
    parts = urlsplit(url)
    host = parts.hostname or ""
    odd = not url.isascii() or not url.isprintable() or " " in url or len(url) > MAX_URL
    if odd or not host or parts.port == 0 or parts.username is not None or parts.fragment:
        raise ValueError("an https URL without user name, fragment and foreign letters is expected")
    if parts.scheme == "http" and not parsing.is_loopback_host(host):
        raise ValueError("plain http is for this machine only; https is expected")
    if parts.scheme not in {"http", "https"}:
        raise ValueError("an https URL is expected")


def _shortened(url: str) -> str:
    """Scheme and host: chat services put a credential into the path."""
    parts = urlsplit(url.strip())
    return f"{parts.scheme}://{parts.netloc}/{'…' if parts.path.strip('/') or parts.query else ''}"


def _or(given: Any, otherwise: Any) -> Any:
    return otherwise if given is msgspec.UNSET else given


def _invalid(field: str, reason: str) -> InvalidSetting:
    return InvalidSetting(f"{field}: {reason}.", field=field)


async def notifications_view(request: web.Request, made: Mapping[str, str] = MappingProxyType({})) -> NotificationsView:
    """All endpoints; ``made``: secrets that the answer is to show, by name."""
    shown = [
        EndpointView(
            name=one.name,
            url=one.shown_url,
            events=one.events,
            enabled=one.enabled,
            allow_private=one.allow_private,
            disabled_reason=one.disabled_reason,
            delivered_at=rfc3339(one.delivered_at),
            failing_since=rfc3339(one.failing_since),
            last_error=one.last_error,
            pending=one.pending,
            given_up=one.given_up,
            secret=made.get(one.name, msgspec.UNSET),
        )
        for one in await request.app[keys.STORE].notifications.endpoints()
    ]
    return NotificationsView(shown, [kind.value for kind in NoticeType])


ENDPOINTS = (
    Endpoint(
        "GET",
        "/api/cloud/notifications",
        get_notifications,
        "The endpoints of outgoing webhooks",
        {200: Answer("All endpoints", NotificationsView)},
    ),
    Endpoint(
        "PUT",
        "/api/cloud/notifications",
        put_notifications,
        "Replace the endpoints of outgoing webhooks",
        {200: Answer("What is in force now; a secret that was made is shown here and never again", NotificationsView)},
        body=NotificationsBody,
        errors=(InvalidSetting, InvalidRequest),
        description="All or nothing. url and secret are write-only: left out they stay.",
    ),
    Endpoint(
        "POST",
        "/api/cloud/notifications/{name}/test",
        post_test,
        "Send a test message to an endpoint",
        {202: Answer("It is in the outbox; the endpoint shows whether it was taken", Queued)},
        errors=(EndpointNotFound,),
    ),
)
