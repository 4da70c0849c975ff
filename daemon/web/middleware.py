"""What every request passes: the admin rule on its way in, problem+json and security headers on its way out."""

from __future__ import annotations

from collections.abc import Iterable
from functools import partial

import structlog
from aiohttp import hdrs, web
from aiohttp.typedefs import Handler
from aiohttp.web_protocol import RequestPayloadError

from .. import keys
from ..errors import InvalidRequest, TunerdError, Unauthorized
from . import address, allowlist, request_id, sessions
from .address import CLIENTS, Clients, peer_of
from .admin import require_admin
from .endpoint import Endpoint
from .pages.trouble import refusal
from .problem import SECURITY_HEADERS, from_http, internal_error
from .refusals import REFUSALS, RefusalLog
from .rejected import REJECTED, RejectedAddresses

# Paths that are answered to anybody: those whose endpoints all say so. The receiver and the login have checks of their
# own; static files are what everybody can install.
PUBLIC = web.AppKey("PUBLIC", frozenset[str])
# Where nothing is served, anybody may learn so: a sender whose URL has a typing error is to see 404 and not 401.
_PUBLIC_PREFIX = "/api/webhooks"

log = structlog.get_logger()


@web.middleware
async def boundary(request: web.Request, handler: Handler) -> web.StreamResponse:
    """The outermost layer: nothing but an answer leaves it."""
    admitted = handler if _is_public(request) else partial(_as_admin, handler)
    answer = await guarded(request, admitted, request.app[CLIENTS])
    resource = request.match_info.route.resource
    request.app[keys.METRICS].http_requests.labels(
        request.method if request.method in hdrs.METH_ALL else "other",
        "none" if resource is None else resource.canonical,
        answer.status,
    ).inc()
    return answer


async def guarded(request: web.Request, handler: Handler, clients: Clients) -> web.StreamResponse:
    """The handler's answer, or the problem that it raised, with the request's id on either."""
    request_id.begin(request, clients)
    answer = await _answer(request, handler)
    request_id.put_on(answer)
    return answer


async def _answer(request: web.Request, handler: Handler) -> web.StreamResponse:
    try:
        return await handler(request)
    except web.HTTPException as answer:
        if answer.status < web.HTTPBadRequest.status_code:
            raise  # a redirect or an empty answer, raised instead of returned
        error = from_http(answer, request.path)
    except TunerdError as refused:
        if refused.status == web.HTTPInternalServerError.status_code:
            log.exception("request failed", method=request.method, path=request.path)
        error = refused
    except RequestPayloadError:
        error = InvalidRequest("The body is not valid HTTP: its chunks or its length do not add up.")
    except Exception as fault:
        if request.transport is None and isinstance(fault, ConnectionError):
            raise  # the client has gone; there is nobody to answer, and nothing failed here
        log.exception("request failed", method=request.method, path=request.path)
        error = internal_error()
    if request.writer.output_size:
        # The answer's head is out already: a second answer behind it would be read as its body.
        raise ConnectionResetError("The answer failed half-way.")
    return await refusal(request, error)


async def _as_admin(handler: Handler, request: web.Request) -> web.StreamResponse:
    try:
        request.app[CLIENTS].of(request)  # a malformed forwarding header is refused everywhere
        try:
            require_admin(request)
        except Unauthorized:
            if not await sessions.admits(request):
                raise
    except TunerdError as refused:
        if isinstance(refused, Unauthorized) and sessions.wants_page(request):
            return sessions.login_redirect(request)
        request.app[REFUSALS].note(refused, path=request.path, peer=peer_of(request))
        raise
    return await handler(request)


MIDDLEWARES = (boundary,)


async def secure(_request: web.Request, response: web.StreamResponse) -> None:
    """Set the security headers that an answer does not have yet, and the request's id on a stream."""
    request_id.put_on(response)
    headers = response.headers
    for name, value in SECURITY_HEADERS.items():
        headers.setdefault(name, value)


def set_up(app: web.Application, endpoints: Iterable[Endpoint]) -> None:
    """Call it when the application has its settings. All of ``endpoints`` but the public ones need the admin."""
    app[PUBLIC] = public_paths(endpoints)
    address.set_up(app)
    sessions.set_up(app)
    app[REFUSALS] = RefusalLog()
    app[REJECTED] = RejectedAddresses()
    allowlist.set_up(app, app[REJECTED])
    app.on_response_prepare.append(secure)


def public_paths(endpoints: Iterable[Endpoint]) -> frozenset[str]:
    """The paths that need no admin: one endpoint that does closes its path."""
    is_public: dict[str, bool] = {}
    for endpoint in endpoints:
        is_public[endpoint.path] = endpoint.public and is_public.get(endpoint.path, True)
    return frozenset(path for path, public in is_public.items() if public)


def _is_public(request: web.Request) -> bool:
    public, resource = request.app[PUBLIC], request.match_info.route.resource
    if resource is not None:
        return resource.canonical in public
    # No such path, or no such method there.
    return request.path in public or request.path.startswith(_PUBLIC_PREFIX)
