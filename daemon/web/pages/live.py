"""Pages that move by themselves: the server renders the parts of a page again and sends those that changed.

A part is a piece of HTML whose outermost element has an id. The page itself is made of the same parts, so there is one
template for what is seen first and what comes later. htmx's SSE extension puts each `hx-partial` where its id stands.

An event's id is the digest of everything shown. A page that reconnects names the last one it saw (`Last-Event-ID`, at
first `?seen=`): while nothing has changed, nothing is sent again.
"""

from __future__ import annotations

import asyncio
import hashlib
from collections.abc import Awaitable, Callable, Sequence

import msgspec
from aiohttp import web
from markupsafe import Markup

from ... import keys
from ..endpoint import Answer, Param
from ..sse import open_stream

PAUSE_SECONDS = 0.5  # between two looks: events come in bursts, and nobody reads faster


class Part(msgspec.Struct, frozen=True):
    """``html``'s outermost element has ``id``. Parts in one ``list_id`` are its children: they may come and go."""

    id: str
    html: str
    list_id: str | None = None


class View(msgspec.Struct, frozen=True):
    """Everything live on a page, in order."""

    parts: Sequence[Part]

    @property
    def digest(self) -> str:
        whole = hashlib.blake2b(digest_size=12)
        for part in self.parts:
            whole.update(f"{part.id} {len(part.html)}\n{part.html}".encode())
        return whole.hexdigest()

    def html(self, part_id: str) -> Markup:
        """One part, for the page's template. Templates have escaped what is in it."""
        return Markup(next(part.html for part in self.parts if part.id == part_id))  # noqa: S704

    def list_html(self, list_id: str) -> Markup:
        """The children of a list, for the page's template."""
        return Markup("".join(part.html for part in self.parts if part.list_id == list_id))  # noqa: S704


def element_id(kind: str, key: str) -> str:
    """An id for what has a name of its own: safe in HTML and in a selector, whatever the name holds."""
    return f"{kind}-{hashlib.blake2b(key.encode('utf-8', 'replace'), digest_size=8).hexdigest()}"


def changes(before: View | None, after: View) -> str:
    """What turns the page from ``before`` into ``after``, as `hx-partial` elements; all of it without a ``before``."""
    known = {} if before is None else {part.id: part.html for part in before.parts}
    regrouped = {
        list_id
        for list_id in _lists(after) | (set() if before is None else _lists(before))
        if before is None or _members(before, list_id) != _members(after, list_id)
    }
    found = [
        _partial(part.id, "outerMorph", part.html)
        for part in after.parts
        if part.list_id not in regrouped and known.get(part.id) != part.html
    ]
    found += [_partial(list_id, "innerMorph", after.list_html(list_id)) for list_id in sorted(regrouped)]
    return "".join(found)


def _lists(view: View) -> set[str]:
    return {part.list_id for part in view.parts if part.list_id is not None}


def _members(view: View, list_id: str) -> list[str]:
    return [part.id for part in view.parts if part.list_id == list_id]


def _partial(target: str, swap: str, html: str) -> str:
    return f'<hx-partial hx-target="#{target}" hx-swap="{swap}">{html}</hx-partial>'


async def stream_view(request: web.Request, look: Callable[[], Awaitable[View]]) -> web.StreamResponse:
    """Send what changes in what ``look`` sees, for as long as the page is open."""
    seen = request.headers.get("Last-Event-ID") or request.query.get("seen")
    shown: View | None = None
    response = web.StreamResponse()
    async with (
        request.app[keys.STORE].journal.subscribe() as subscription,
        open_stream(request, response) as stream,
    ):
        if request.method == "HEAD":
            return response
        while stream.goes_on():
            view = await look()
            digest = view.digest
            if digest != seen:
                await stream.send(_frame(digest, changes(shown, view)))
            seen, shown = digest, view
            await stream.wait(subscription)
            await asyncio.sleep(PAUSE_SECONDS)
    return response


def _frame(digest: str, html: str) -> bytes:
    data = "".join(f"data: {line}\n" for line in html.splitlines())
    return f"id: {digest}\n{data}\n".encode("utf-8", "replace")


STREAM_ANSWER = Answer(
    "id = a digest of what is shown, data = hx-partial elements", {"type": "string"}, content="text/event-stream"
)
STREAM_PARAMS = (
    Param("Last-Event-ID", "Of the last event seen; wins over seen", {"type": "string"}, where="header"),
    Param("seen", "The digest that the page was made with", {"type": "string"}),
)
