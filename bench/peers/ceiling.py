"""The ceiling: aiohttp on uvloop that reads the body and answers 204. Prints its address when it answers."""

from __future__ import annotations

import asyncio

import uvloop
from aiohttp import web


async def answer(request: web.Request) -> web.Response:
    await request.read()
    return web.Response(status=204)


async def serve() -> None:
    app = web.Application(client_max_size=32 * 1024 * 1024)
    app.router.add_post("/api/webhooks/replicate", answer)
    runner = web.AppRunner(app, access_log=None)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0)
    await site.start()
    print(f"ready on {site.name.rpartition('://')[0]}://127.0.0.1:{runner.addresses[0][1]}", flush=True)
    await asyncio.Event().wait()


if __name__ == "__main__":
    uvloop.run(serve())
