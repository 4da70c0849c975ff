"""A receiver as one writes it in an afternoon: FastAPI, uvicorn, standardwebhooks, one aiosqlite connection, one commit
per event. As durable as ours: WAL and synchronous=FULL; uvicorn finds uvloop installed and uses it.

Usage: python -m bench.peers.fastapi_receiver DATABASE SECRET
"""

from __future__ import annotations

import socket
import sys
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import aiosqlite
import uvicorn
from fastapi import FastAPI, HTTPException, Request
from standardwebhooks import Webhook, WebhookVerificationError

SCHEMA = """
CREATE TABLE IF NOT EXISTS events (
    seq INTEGER PRIMARY KEY AUTOINCREMENT,
    webhook_id TEXT NOT NULL UNIQUE,
    job_id TEXT,
    status TEXT,
    received_at REAL NOT NULL,
    body BLOB NOT NULL
)
"""


def make_app(database: str, secret: str) -> FastAPI:
    webhook = Webhook(secret)

    @asynccontextmanager
    async def lifespan(app: FastAPI) -> AsyncIterator[None]:
        async with aiosqlite.connect(database) as connection:
            await connection.execute("PRAGMA journal_mode=WAL")
            await connection.execute("PRAGMA synchronous=FULL")
            await connection.execute(SCHEMA)
            await connection.commit()
            app.state.connection = connection
            yield

    app = FastAPI(lifespan=lifespan)

    @app.post("/api/webhooks/replicate")
    async def receive(request: Request) -> dict[str, str]:
        body = await request.body()
        try:
            prediction = webhook.verify(body, dict(request.headers))
        except WebhookVerificationError as problem:
            raise HTTPException(401, str(problem)) from None
        connection: aiosqlite.Connection = request.app.state.connection
        await connection.execute(
            "INSERT OR IGNORE INTO events (webhook_id, job_id, status, received_at, body) VALUES (?, ?, ?, ?, ?)",
            (request.headers["webhook-id"], prediction["id"], prediction["status"], time.time(), body),
        )
        await connection.commit()
        return {"status": "accepted"}

    return app


if __name__ == "__main__":
    listener = socket.create_server(("127.0.0.1", 0), backlog=1024)
    print(f"ready on http://127.0.0.1:{listener.getsockname()[1]}", flush=True)  # the socket queues until it accepts
    server = uvicorn.Server(uvicorn.Config(make_app(*sys.argv[1:]), access_log=False, log_level="warning"))
    server.run(sockets=[listener])
