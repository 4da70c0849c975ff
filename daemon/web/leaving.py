"""How a stopping daemon leaves its connections, so that no request is lost that a client has sent or is about to send.

No more connections are taken: those that wait in the backlog of a socket that systemd holds are the next process's.
What was accepted is answered as ever, each answer with ``Connection: close``; a connection that is idle is given time
to be used once more before it is closed, because a request may be on its way to it.
"""

from __future__ import annotations

import asyncio

import structlog
from aiohttp import web

from .deadlines import DeadlineHandler
from .runner import Server

LEAVE_SECONDS = 20.0  # for requests in progress; systemd sends SIGKILL after 30 s
_LOOK_SECONDS = 0.02

log = structlog.get_logger()


async def leave(runner: web.BaseRunner, hurry: asyncio.Event, *, within: float = LEAVE_SECONDS) -> None:
    """Stop accepting and wait until every connection has ended, for ``within`` seconds or until ``hurry`` is set."""
    for site in runner.sites:
        await site.stop()
    server = runner.server
    assert isinstance(server, Server)  # made by make_runner
    server.leaving = True
    began = asyncio.get_running_loop().time()
    await asyncio.sleep(_LOOK_SECONDS)  # what was accepted just now gets its handler
    while server.connections and not hurry.is_set():
        since = asyncio.get_running_loop().time() - began
        if since > within:
            log.warning("requests are cut off: they took too long", connections=len(server.connections))
            return
        for connection in server.connections:
            if isinstance(connection, DeadlineHandler) and connection.may_leave(since):
                connection.force_close()
        await asyncio.sleep(_LOOK_SECONDS)
