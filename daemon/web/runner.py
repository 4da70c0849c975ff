"""The server under the application: raw bodies, deadlines, no access log."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Any

from aiohttp import web

from .address import CLIENTS
from .connection import Connection
from .deadlines import BODY_SECONDS, HEADERS_SECONDS
from .express import Express
from .incoming import is_plain_webhook
from .middleware import guarded
from .proxied import ProxiedHandler
from .receiver import RECEIVER

_Handle = Callable[[Any], Awaitable[web.StreamResponse]]

# An idle connection: longer than the proxies in front keep theirs (nginx 60 s, Traefik 90 s, Caddy 120 s), so that it
# is the proxy that closes, and no request meets a closing connection.
KEEPALIVE_SECONDS = 150.0
SHUTDOWN_SECONDS = 2.0  # for what is in progress still after ``leave``
LINGER_SECONDS = 5.0  # to read on after a refusal, so that the client gets to see it


class Server(web.Server):
    """aiohttp's server, with our handler for each connection."""

    leaving = False  # set by ``leave``: every answer is its connection's last

    def __call__(self) -> Connection:
        return Connection(self, loop=self._loop, **self._kwargs)


class ProxiedSite(web.SockSite):
    """A listener on which every connection begins with a PROXY header."""

    async def start(self) -> None:
        await web.BaseSite.start(self)
        runner = self._runner
        assert isinstance(runner, _Runner)
        server = runner.server
        assert isinstance(server, Server)

        def handler() -> ProxiedHandler:
            return ProxiedHandler(server, loop=server._loop, app=runner.app, **server._kwargs)  # noqa: SLF001 - as below

        self._server = await server._loop.create_server(handler, sock=self._sock, backlog=self._backlog)  # noqa: SLF001


class _Runner(web.AppRunner):
    async def _make_server(self) -> web.Server:
        made = await super()._make_server()
        express = Express(self.app) if RECEIVER in self.app else None
        return Server(
            _with_shortcut(self.app, made.request_handler),
            request_factory=made.request_factory,
            handler_cancellation=made.handler_cancellation,
            express=express,
            loop=made._loop,  # noqa: SLF001 - aiohttp offers no other place to say which handler a connection gets
            **made._kwargs,  # noqa: SLF001 - as above
        )


def _with_shortcut(app: web.Application, handle: _Handle) -> _Handle:
    """``handle``, with webhooks led past the router and the middlewares: it is a fifth of what one costs.

    What the router would have to interpret goes the long way, to the same receiver.
    """
    receiver = app.get(RECEIVER)
    if receiver is None:
        return handle
    clients = app[CLIENTS]

    def shortcut(request: Any) -> Awaitable[web.StreamResponse]:
        if is_plain_webhook(request.method, request.raw_path, request.headers):
            return guarded(request, receiver.receive, clients)
        return handle(request)

    return shortcut


def make_runner(
    app: web.Application,
    *,
    headers_seconds: float = HEADERS_SECONDS,
    body_seconds: float = BODY_SECONDS,
    keepalive_seconds: float = KEEPALIVE_SECONDS,
    shutdown_seconds: float = SHUTDOWN_SECONDS,
    **limits: Any,
) -> web.BaseRunner:
    """A runner for ``app``; ``await runner.setup()``, then sites, then ``await runner.cleanup()``.

    A handler is not cancelled when its client leaves: what was taken in is stored. ``limits`` go to aiohttp's handler.
    """
    return _Runner(
        app,
        access_log=None,
        auto_decompress=False,  # a body is the bytes on the wire: that is what was signed
        headers_seconds=headers_seconds,
        body_seconds=body_seconds,
        keepalive_timeout=keepalive_seconds,
        lingering_time=LINGER_SECONDS,
        shutdown_timeout=shutdown_seconds,
        **limits,
    )
