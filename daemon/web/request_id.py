"""An id for each request: the trusted proxy's where it sends one, else one of ours. Logs and the answer carry it."""

from __future__ import annotations

import itertools
import re
import secrets

from aiohttp import web
from multidict import istr

from ..logs import REQUEST_ID
from .address import Clients, Headers, peer_of

HEADER = istr("X-Request-ID")
_GOOD = re.compile(r"[A-Za-z0-9._:/+=-]{1,128}", re.ASCII)  # UUIDs, ULIDs, base64: no blanks, no line breaks

_process = secrets.token_hex(6)  # with a running number it is unique, and costs a hundredth of random bytes each
_numbers = itertools.count(1)


def begin(request: web.BaseRequest, clients: Clients) -> str:
    """The request's id, from now on in every line that is logged for it."""
    request_id = choose(peer_of(request), request.headers, clients)
    REQUEST_ID.set(request_id)
    return request_id


def choose(peer: str | None, headers: Headers, clients: Clients) -> str:
    """The id that a trusted proxy sent, else a new one."""
    given = headers.get(HEADER)
    if given is not None and _GOOD.fullmatch(given) and clients.trusts_peer(peer):
        return given
    return f"{_process}-{next(_numbers):x}"


def put_on(response: web.StreamResponse) -> None:
    """Name the request that is being answered in the answer's header. Before the head is sent, or for nothing."""
    request_id = REQUEST_ID.get()
    if request_id is not None:
        response.headers[HEADER] = request_id
