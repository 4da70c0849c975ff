"""How a stopping daemon leaves its connections, so that no request is lost that a client has sent or is about to send.

No more connections are taken: those that wait in the backlog of a socket that systemd holds are the next process's.
What was accepted is answered as ever, each answer with ``Connection: close``. A client that is busy so uses its idle
connections up; only when no request has come for a while are those that are left closed. Closing one that is in use
elsewhere would meet a request on its way, and a POST is not sent again.
"""

from __future__ import annotations

import asyncio

import structlog
from aiohttp import web

from .deadlines import DeadlineHandler
from .runner import Server

LEAVE_SECONDS = 20.0  # for all of it; systemd sends SIGKILL after 30 s
QUIET_SECONDS = 1.0  # without any request: then idle connections are closed
FIRST_SECONDS = 5.0  # until a connection that has not brought a request is closed too: it was made to bring one
_LOOK_SECONDS = 0.02

log = structlog.get_logger()


async def leave(runner: web.BaseRunner, hurry: asyncio.Event, *, within: float = LEAVE_SECONDS) -> None:
    """Stop accepting and wait until every connection has ended, for ``within`` seconds or until ``hurry`` is set."""
    for site in runner.sites:
        await site.stop()
    server = runner.server
    assert isinstance(server, Server)
    server.leaving = True
    time = asyncio.get_running_loop().time
    began = last = time()
    requests = server.requests_count
    await asyncio.sleep(_LOOK_SECONDS)  # what was accepted just now gets its handler
    while server.connections and not hurry.is_set():
        now = time()
        if now - began > within:
            log.warning("requests are cut off: they took too long", connections=len(server.connections))
            return
        if server.requests_count != requests:
            requests, last = server.requests_count, now
        _close_unused(server, quiet=now - last)
        await asyncio.sleep(_LOOK_SECONDS)


def _close_unused(server: Server, *, quiet: float) -> None:
    if quiet < QUIET_SECONDS:
        return
    for connection in server.connections:
        if isinstance(connection, DeadlineHandler) and (
            connection.is_idle() or (quiet >= FIRST_SECONDS and connection.is_new())
        ):
            connection.force_close()
