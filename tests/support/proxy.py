"""An HTTP proxy on port 0 that writes down what passes: CONNECT, and plain requests in absolute form."""

from __future__ import annotations

import asyncio
import base64
import contextlib
from collections.abc import AsyncIterator, Mapping

from tests.support.streams import pipe


class Proxy:
    """``seen`` holds ``CONNECT host:port`` or ``GET http://…``, in order.

    ``hosts``: ``name:port`` → the address that really answers for it, so that names can be used which exist nowhere.
    ``login``: ``user:password`` that is asked for. ``refuse``: a status that every request is answered with.
    """

    def __init__(self, hosts: Mapping[str, tuple[str, int]], login: str | None, refuse: int | None) -> None:
        self.url = ""
        self.seen: list[str] = []
        self._hosts = hosts
        self._login = None if login is None else "Basic " + base64.b64encode(login.encode()).decode()
        self._refuse = refuse

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with contextlib.suppress(OSError, asyncio.IncompleteReadError):
            await self._serve(reader, writer)
        writer.close()

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        head = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1")
        method, target, _ = head.split(" ", 2)
        self.seen.append(f"{method} {target}")
        headers = dict(line.lower().split(": ", 1) for line in head.split("\r\n")[1:] if ": " in line)
        if self._login is not None and headers.get("proxy-authorization") != self._login.lower():
            writer.write(b"HTTP/1.1 407 Login\r\nProxy-Authenticate: Basic realm=x\r\nContent-Length: 0\r\n\r\n")
            return
        where = self._hosts.get(target if method == "CONNECT" else target.split("/")[2])
        if where is None or self._refuse is not None:
            writer.write(f"HTTP/1.1 {self._refuse or 502} Refused\r\nContent-Length: 0\r\n\r\n".encode())
            return
        far_reader, far_writer = await asyncio.open_connection(*where)
        if method == "CONNECT":
            writer.write(b"HTTP/1.1 200 Connection established\r\n\r\n")
        else:
            path = "/" + target.split("/", 3)[3]
            rest = "\r\n".join(
                line for line in head.split("\r\n")[1:] if not line.lower().startswith(("proxy-", "conn"))
            )
            far_writer.write(f"{method} {path} HTTP/1.1\r\nConnection: close\r\n{rest}".encode("latin-1"))
        await asyncio.gather(pipe(reader, far_writer), pipe(far_reader, writer))


@contextlib.asynccontextmanager
async def running_proxy(
    hosts: Mapping[str, tuple[str, int]], *, login: str | None = None, refuse: int | None = None
) -> AsyncIterator[Proxy]:
    """A proxy that knows ``hosts`` and nothing else."""
    proxy = Proxy(hosts, login, refuse)
    server = await asyncio.start_server(proxy.serve, "127.0.0.1", 0)
    proxy.url = f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}"
    try:
        yield proxy
    finally:
        server.close()
