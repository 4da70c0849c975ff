"""Where results go: the destinations, and the form of one, made from what its type says of its options."""

from __future__ import annotations

from typing import Any
from urllib.parse import quote

import msgspec
from aiohttp import web

from ... import keys
from ...core.options import OptionType
from ...errors import DestinationNotFound, NotFound
from ...store.records import DestinationConfig
from ..api.publishing import MAX_CONCURRENCY, DestinationView, publishing_view
from ..endpoint import Answer, Endpoint
from .forms import option_fields
from .rendering import page

PATH = "/publishing"
DEFAULT_AT_ONCE = DestinationConfig("", "", {}).concurrency


class Card(msgspec.Struct, frozen=True):
    """One destination. ``facts``: its options as ``(title, value)``; a secret only says that it is there."""

    name: str
    type: str
    label: str
    path: str
    facts: list[tuple[str, str]]
    paused: bool


def destination_path(name: str) -> str:
    return f"{PATH}/{quote(name, safe='')}"


async def publishing_page(request: web.Request) -> web.Response:
    types = request.app[keys.DESTINATION_TYPES]
    shown, outputs = await publishing_view(request), str(request.app[keys.SETTINGS].output_dir)
    context = {
        "destinations": [_card(one, types.get(one.type), outputs) for one in shown.destinations],
        "types": [(name, kind.title, kind.description) for name, kind in sorted(types.items())],
    }
    return await page(request, "publishing.html", context, here=PATH)


async def new_page(request: web.Request) -> web.Response:
    name = request.match_info["type"]
    kind = request.app[keys.DESTINATION_TYPES].get(name)
    if kind is None:
        raise NotFound(f"There is no type of destination {name!r}.")
    there = {one.name for one in (await publishing_view(request)).destinations}
    suggested = next(free for free in _names(name) if free not in there)
    new = DestinationView(suggested, kind.name, {}, [], paused=False, concurrency=DEFAULT_AT_ONCE)
    return await _form(request, kind, new, is_new=True)


async def destination_page(request: web.Request) -> web.Response:
    name = request.match_info["name"]
    for one in (await publishing_view(request)).destinations:
        kind = request.app[keys.DESTINATION_TYPES].get(one.type)
        if one.name == name and kind is not None:
            return await _form(request, kind, one, is_new=False)
    raise DestinationNotFound(f"There is no destination {name!r}. The list shows those there are.")


async def _form(request: web.Request, kind: OptionType, one: DestinationView, *, is_new: bool) -> web.Response:
    context = {
        "kind": kind.name,
        "label": kind.title,
        "about": kind.description,
        "name": one.name,
        "fields": option_fields(kind, one.options, frozenset(one.secrets)),
        "at_once": one.concurrency,
        "most_at_once": MAX_CONCURRENCY,
        "is_new": is_new,
    }
    return await page(request, "destination.html", context, here=PATH)


def _card(one: DestinationView, kind: OptionType | None, outputs: str) -> Card:
    """``outputs``: the folder of a local destination that names none."""
    titles = {} if kind is None else {name: field.title for name, field in kind.fields.items()}
    facts = [(titles.get(name, name), _shown(value)) for name, value in one.options.items() if value not in (None, "")]
    facts += [(titles.get(name, name), "stored, not shown") for name in one.secrets]
    if one.type == "local" and not one.options.get("path"):
        facts.insert(0, (titles.get("path", "path"), outputs))
    return Card(
        one.name, one.type, one.type if kind is None else kind.title, destination_path(one.name), facts, one.paused
    )


def _shown(value: Any) -> str:
    return {True: "yes", False: "no"}[value] if isinstance(value, bool) else str(value)


def _names(kind: str) -> list[str]:
    return [kind, *(f"{kind}-{number}" for number in range(2, 100))]


_HTML = {"type": "string"}

ENDPOINTS = (
    Endpoint(
        "GET",
        PATH,
        publishing_page,
        "The page of destinations",
        {200: Answer("All of them", _HTML, content="text/html")},
    ),
    Endpoint(
        "GET",
        PATH + "/new/{type}",
        new_page,
        "The form of a new destination",
        {200: Answer("The form", _HTML, content="text/html")},
        errors=(NotFound,),
    ),
    Endpoint(
        "GET",
        PATH + "/{name}",
        destination_page,
        "The form of a destination",
        {200: Answer("The form", _HTML, content="text/html")},
        errors=(DestinationNotFound,),
    ),
)
