"""Where results go: the list of destinations. Secrets among their options can be written, never read."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from typing import Any

import msgspec
from aiohttp import web

from ... import keys, parsing
from ...errors import InvalidRequest, InvalidSetting
from ...store.records import DestinationConfig
from ..answers import json_answer, read_json
from ..endpoint import Answer, Endpoint

MAX_DESTINATIONS = 32  # each is a workflow step of every job
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,63}", re.ASCII)


def _destination_path(value: Any) -> str:
    text = parsing.text(value)
    if not text.startswith(("/", "~/")):
        raise ValueError("an absolute path is expected")
    return text


# type → option → how its value is read (ValueError with the reason). A type is offered where delivery has a file of it.
OPTIONS: Mapping[str, Mapping[str, Callable[[Any], Any]]] = {
    "local": {"path": _destination_path, "unpack": parsing.boolean},
    "huggingface": {
        "repo_id": parsing.text,
        "private": parsing.boolean,
        "token": parsing.token,
        "endpoint": parsing.http_url,
    },
    "s3": {
        "bucket": parsing.text,
        "prefix": parsing.text,
        "endpoint_url": parsing.http_url,
        "region": parsing.text,
        "addressing_style": parsing.one_of("path", "virtual", "auto"),
        "access_key_id": parsing.text,
        "secret_access_key": parsing.token,
    },
}
REQUIRED: Mapping[str, frozenset[str]] = {"huggingface": frozenset({"repo_id"}), "s3": frozenset({"bucket"})}
SECRET_OPTIONS = frozenset({"token", "secret_access_key"})


def secret_name(destination: str, option: str) -> str:
    """Under which name ``store.secrets`` keeps a destination's secret option."""
    return f"destination:{destination}:{option}"


class DestinationBody(msgspec.Struct, forbid_unknown_fields=True):
    name: str
    type: str
    options: dict[str, Any] = {}


class PublishingBody(msgspec.Struct, forbid_unknown_fields=True):
    """The whole list; every job goes to each of them unless its submit names some."""

    destinations: list[DestinationBody]


class DestinationView(msgspec.Struct):
    """``options`` without secrets; ``secrets`` names those that are stored."""

    name: str
    type: str
    options: dict[str, Any]
    secrets: list[str]


class Publishing(msgspec.Struct):
    destinations: list[DestinationView]
    types: list[str]  # what may be configured here


async def get_publishing(request: web.Request) -> web.Response:
    return json_answer(await _shown(request))


async def put_publishing(request: web.Request) -> web.Response:
    """Replace the list, all or nothing. A secret that is left out stays; null removes it."""
    body = await read_json(request, PublishingBody)
    types = request.app[keys.DESTINATION_TYPES]
    if len(body.destinations) > MAX_DESTINATIONS:
        raise _invalid("destinations", f"{MAX_DESTINATIONS} destinations at most")
    checked = [_checked(index, entry, types) for index, entry in enumerate(body.destinations)]
    names = [entry.name for entry in checked]
    for index, name in enumerate(names):
        if name in names[:index]:
            raise _invalid(f"destinations[{index}].name", f"{name!r} is there twice")
    await _store(request, checked)
    return json_answer(await _shown(request))


def _checked(index: int, entry: DestinationBody, types: frozenset[str]) -> DestinationBody:
    where = f"destinations[{index}]"
    if not _NAME.fullmatch(entry.name):
        raise _invalid(f"{where}.name", "1 to 64 letters, digits, dots, dashes or underscores are expected")
    if entry.type not in types or entry.type not in OPTIONS:
        raise _invalid(f"{where}.type", f"one of {', '.join(sorted(types))} is expected")
    readers = OPTIONS[entry.type]
    options: dict[str, Any] = {}
    for key, value in entry.options.items():
        if key not in readers:
            raise _invalid(f"{where}.options.{key}", f"there is no such option of {entry.type}")
        try:
            options[key] = None if value is None else readers[key](value)
        except (ValueError, TypeError) as problem:
            raise _invalid(f"{where}.options.{key}", str(problem)) from None
    for key in sorted(REQUIRED.get(entry.type, frozenset())):
        if options.get(key) is None:
            raise _invalid(f"{where}.options.{key}", "this option is required")
    return DestinationBody(entry.name, entry.type, options)


def _invalid(field: str, reason: str) -> InvalidSetting:
    return InvalidSetting(f"{field}: {reason}.", field=field)


async def _store(request: web.Request, entries: list[DestinationBody]) -> None:
    store, now = request.app[keys.STORE], request.app[keys.CLOCK]()
    before = {destination.name: destination for destination in await store.settings.destinations()}
    for entry in entries:  # secrets first: a destination never goes live without the secret it was given
        for key in SECRET_OPTIONS & entry.options.keys():
            value = entry.options.pop(key)
            if value is not None:
                await store.secrets.put(secret_name(entry.name, key), value, now=now)
            else:
                await store.secrets.delete(secret_name(entry.name, key))
    configs = [DestinationConfig(one.name, one.type, _given(one.options)) for one in entries]
    await store.settings.put({"destinations": msgspec.to_builtins(configs)}, now=now)
    types = {entry.name: entry.type for entry in entries}
    for name, old in before.items():
        if types.get(name) != old.type:  # it is gone, or it is another thing of the same name
            for key in SECRET_OPTIONS & OPTIONS.get(old.type, {}).keys() - OPTIONS.get(types.get(name, ""), {}).keys():
                await store.secrets.delete(secret_name(name, key))


def _given(options: dict[str, Any]) -> dict[str, object]:
    return {key: value for key, value in options.items() if value is not None}


async def _shown(request: web.Request) -> Publishing:
    store = request.app[keys.STORE]
    shown = []
    for destination in await store.settings.destinations():
        secrets = sorted(SECRET_OPTIONS & OPTIONS.get(destination.type, {}).keys())
        stored = [key for key in secrets if await store.secrets.get(secret_name(destination.name, key)) is not None]
        options = {key: value for key, value in destination.options.items() if key not in SECRET_OPTIONS}
        shown.append(DestinationView(destination.name, destination.type, options, stored))
    types: frozenset[str] = request.app[keys.DESTINATION_TYPES]
    return Publishing(shown, sorted(types))


ENDPOINTS = (
    Endpoint(
        "GET",
        "/api/cloud/publishing",
        get_publishing,
        "The destinations of results",
        {200: Answer("All of them", Publishing)},
    ),
    Endpoint(
        "PUT",
        "/api/cloud/publishing",
        put_publishing,
        "Replace the destinations",
        {200: Answer("What is in force now", Publishing)},
        body=PublishingBody,
        errors=(InvalidSetting, InvalidRequest),
        description="All or nothing. token and secret_access_key are write-only: left out they stay, null removes.",
    ),
)
