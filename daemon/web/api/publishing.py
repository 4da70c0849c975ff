"""Where results go: the list of destinations. Secrets among their options can be written, never read."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Annotated, Any

import msgspec
from aiohttp import web

from ... import keys
from ...core.options import Checked, OptionInvalid, OptionType
from ...errors import DestinationNotFound, InvalidRequest, InvalidSetting
from ...store.records import DestinationConfig
from ...store.secrets import destination_secret
from ..answers import json_answer, read_json
from ..endpoint import Answer, Endpoint

MAX_DESTINATIONS = 32  # each is a workflow step of every job
MAX_CONCURRENCY = 32  # deliveries at once to one destination
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,63}", re.ASCII)
_SHOWN_ONLY = msgspec.Meta(extra_json_schema={"readOnly": True})  # of an answer; in a request it does nothing


class DestinationBody(msgspec.Struct, forbid_unknown_fields=True):
    """``paused`` and ``concurrency`` (deliveries at once): left out they stay as they are.

    ``secrets`` is passed over: who sends back what GET shows, changed a little, need not take it out.
    """

    name: str
    type: str
    options: dict[str, Any] = {}
    paused: bool | None = None
    concurrency: Annotated[int, msgspec.Meta(ge=1, le=MAX_CONCURRENCY)] | None = None
    secrets: Annotated[list[str], _SHOWN_ONLY] = []


class PublishingBody(msgspec.Struct, forbid_unknown_fields=True):
    """The whole list; every job goes to each of them unless its submit names some. ``types`` is passed over."""

    destinations: list[DestinationBody]
    types: Annotated[list[str], _SHOWN_ONLY] = []


class DestinationView(msgspec.Struct):
    """``options`` without secrets; ``secrets`` names those that are stored."""

    name: str
    type: str
    options: dict[str, Any]
    secrets: list[str]
    paused: bool
    concurrency: int


class Publishing(msgspec.Struct):
    destinations: list[DestinationView]
    types: list[str]  # what may be configured here


class TypeView(msgspec.Struct):
    """``schema``: JSON Schema of the options. A property with ``writeOnly`` is a secret."""

    type: str
    description: str
    schema: dict[str, Any]


class Types(msgspec.Struct):
    types: list[TypeView]


async def get_publishing(request: web.Request) -> web.Response:
    return json_answer(await publishing_view(request))


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
    return json_answer(await publishing_view(request))


def _checked(index: int, entry: DestinationBody, types: Mapping[str, OptionType]) -> DestinationBody:
    where = f"destinations[{index}]"
    if not _NAME.fullmatch(entry.name):
        raise _invalid(f"{where}.name", "1 to 64 letters, digits, dots, dashes or underscores are expected")
    if entry.type not in types:
        raise _invalid(f"{where}.type", f"one of {', '.join(sorted(types))} is expected")
    kind = types[entry.type]
    try:
        options = kind.read(entry.options)
    except OptionInvalid as problem:
        raise _invalid(f"{where}.options.{problem.field}", problem.reason) from None
    removed = {key: None for key in kind.secrets & entry.options.keys() if entry.options[key] is None}
    return msgspec.structs.replace(entry, options=msgspec.to_builtins(options) | removed)


def _invalid(field: str, reason: str) -> InvalidSetting:
    return InvalidSetting(f"{field}: {reason}.", field=field)


async def _store(request: web.Request, entries: list[DestinationBody]) -> None:
    store, now = request.app[keys.STORE], request.app[keys.CLOCK]()
    types = request.app[keys.DESTINATION_TYPES]
    after = {entry.name: entry for entry in entries}
    sealed: list[dict[str, Any]] = []
    removed: set[str] = set()
    for entry in entries:
        for key in types[entry.type].secrets & entry.options.keys():
            name, value = destination_secret(entry.name, key), entry.options.pop(key)
            if value is not None:
                sealed.append(store.secrets.seal(name, value, now=now))
            else:
                removed.add(name)

    def change(configured: list[DestinationConfig]) -> tuple[list[DestinationConfig], set[str]]:
        before = {destination.name: destination for destination in configured}
        gone = [one for one in configured if one.name not in after or after[one.name].type != one.type]
        forgotten = removed.union(*(_secrets_of(one, types) for one in gone))
        return [_config(one, before.get(one.name)) for one in entries], forgotten

    await store.settings.replace_destinations(change, sealed, now=now)
    request.app[keys.WAKE_DELIVERY]()


def _config(entry: DestinationBody, before: DestinationConfig | None) -> DestinationConfig:
    old = before or DestinationConfig(entry.name, entry.type)
    paused = old.paused if entry.paused is None else entry.paused
    concurrency = old.concurrency if entry.concurrency is None else entry.concurrency
    return DestinationConfig(entry.name, entry.type, entry.options, paused, concurrency)


def _secrets_of(destination: DestinationConfig, types: Mapping[str, OptionType]) -> set[str]:
    """The names under which a destination's secrets are kept."""
    kind = types.get(destination.type)
    return {destination_secret(destination.name, key) for key in (kind.secrets if kind else ())}


async def publishing_view(request: web.Request) -> Publishing:
    """The destinations as they are shown: without secrets."""
    store, types = request.app[keys.STORE], request.app[keys.DESTINATION_TYPES]
    shown = []
    for destination in await store.settings.destinations():
        kind = types.get(destination.type)
        secrets = kind.secrets if kind else frozenset()
        stored = [key for key in sorted(secrets) if await store.secrets.destination(destination.name, key) is not None]
        options = {key: value for key, value in destination.options.items() if key not in secrets}
        shown.append(
            DestinationView(
                destination.name, destination.type, options, stored, destination.paused, destination.concurrency
            )
        )
    return Publishing(shown, sorted(types))


async def get_types(request: web.Request) -> web.Response:
    types = request.app[keys.DESTINATION_TYPES]
    return json_answer(Types([TypeView(name, kind.description, kind.schema) for name, kind in sorted(types.items())]))


async def post_test(request: web.Request) -> web.Response:
    """Try whether a delivery could be put there."""
    destination = await request.app[keys.STORE].settings.destination(request.match_info["name"])
    return json_answer(await request.app[keys.CHECK_DESTINATION](destination))


def _or_null(schema: Mapping[str, Any]) -> dict[str, Any]:
    """Null is as good as left out; of a secret it removes what is stored."""
    return {"anyOf": [dict(schema), {"type": "null"}]}


async def pause(request: web.Request) -> web.Response:
    return await _set_paused(request, paused=True)


async def resume(request: web.Request) -> web.Response:
    return await _set_paused(request, paused=False)


async def _set_paused(request: web.Request, *, paused: bool) -> web.Response:
    now = request.app[keys.CLOCK]()
    await request.app[keys.STORE].settings.change_destination(request.match_info["name"], now=now, paused=paused)
    request.app[keys.WAKE_DELIVERY]()
    return json_answer(await publishing_view(request))


def schemas(types: Mapping[str, OptionType]) -> dict[str, Any]:
    """``DestinationBody`` for OpenAPI, as each type has it."""
    found: dict[str, Any] = {}
    for name, kind in types.items():
        found[f"DestinationBody.{name}"] = {
            "type": "object",
            "properties": {
                "name": {"type": "string", "pattern": f"^{_NAME.pattern}$"},
                "type": {"const": name},
                "options": {
                    **kind.schema,
                    "properties": {one: _or_null(of) for one, of in kind.schema["properties"].items()},
                },
                "paused": {"type": ["boolean", "null"]},
                "concurrency": {"type": ["integer", "null"], "minimum": 1, "maximum": MAX_CONCURRENCY},
            },
            "required": ["name", "type", *(["options"] if kind.schema["required"] else [])],
            "additionalProperties": False,
        }
    if found:
        references = {name: f"#/components/schemas/{name}" for name in found}
        found["DestinationBody"] = {
            "oneOf": [{"$ref": reference} for reference in references.values()],
            "discriminator": {
                "propertyName": "type",
                "mapping": {name.partition(".")[2]: reference for name, reference in references.items()},
            },
        }
    return found


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
        description="All or nothing. Secret options are write-only: left out they stay, null removes.",
    ),
    Endpoint(
        "GET",
        "/api/cloud/publishing/types",
        get_types,
        "The types of destinations and their options",
        {200: Answer("A JSON Schema of each type's options", Types)},
    ),
    Endpoint(
        "POST",
        "/api/cloud/publishing/{name}/test",
        post_test,
        "Try whether a delivery could be put there",
        {200: Answer("What was tried, and what is in the way; nothing is left behind there", Checked)},
        errors=(DestinationNotFound,),
    ),
    Endpoint(
        "POST",
        "/api/cloud/publishing/{name}/pause",
        pause,
        "Start nothing new at a destination",
        {200: Answer("What is in force now", Publishing)},
        errors=(DestinationNotFound,),
        description="What runs there is finished; other deliveries wait as pending. Outputs are fetched all the same.",
    ),
    Endpoint(
        "POST",
        "/api/cloud/publishing/{name}/resume",
        resume,
        "Let a paused destination go on",
        {200: Answer("What is in force now", Publishing)},
        errors=(DestinationNotFound,),
    ),
)
