"""The sandbox itself: a simulated Replicate on a port of this machine."""

from __future__ import annotations

import asyncio
import random
import signal
import socket
import sys
import time
from collections import deque
from collections.abc import Callable
from types import TracebackType
from typing import Self

from aiohttp import web

from .api_files import FilesApi
from .api_models import ModelsApi
from .api_predictions import PredictionsApi
from .control import Control
from .faults import Faults
from .gate import Gate
from .platform import ApiCall, Platform
from .records import Record
from .uploads import Upload
from .webhooks import Attempt

_MAX_BODY_BYTES = 64 << 20  # of a JSON request; uploads have the Files API's own limit
_CLOSE_SECONDS = 0.5  # for answers under way when the sandbox stops


class Sandbox:
    """``async with Sandbox(port=0, speed=10) as sandbox: …``

    ``speed`` divides all of the platform's own durations: at 1 a training takes about 9 s, at 10 about 1 s. ``seed``
    makes ids, secrets and contents repeatable. ``clock`` gives unix seconds.
    """

    def __init__(
        self,
        host: str = "127.0.0.1",
        port: int = 0,
        *,
        speed: float = 1.0,
        seed: int | None = None,
        api_token: str | None = None,
        webhook_secret: str | None = None,
        faults: Faults | None = None,
        clock: Callable[[], float] = time.time,
    ) -> None:
        self._host, self._port, self._speed, self._clock = host, port, speed, clock
        self._rng = random.Random(seed)
        self._token, self._secret = api_token, webhook_secret
        self.faults = faults or Faults()

    async def __aenter__(self) -> Self:
        family = socket.AF_INET6 if ":" in self._host else socket.AF_INET
        listener = socket.create_server((self._host, self._port), family=family)  # OSError where the port is taken
        port = listener.getsockname()[1]
        # Everywhere is no address that a client could call, and plain http is for loopback.
        host = {"0.0.0.0": "127.0.0.1", "": "127.0.0.1", "::": "::1"}.get(self._host, self._host)  # noqa: S104 - replaced, not bound
        shown = f"[{host}]" if family is socket.AF_INET6 else host
        self.platform = Platform(
            url=f"http://{shown}:{port}",
            speed=self._speed,
            clock=self._clock,
            rng=self._rng,
            api_token=self._token,
            webhook_secret=self._secret,
            faults=self.faults,
        )
        self._site_runner = web.AppRunner(
            self._application(), access_log=None, handle_signals=False, shutdown_timeout=_CLOSE_SECONDS
        )
        await self._site_runner.setup()
        await web.SockSite(self._site_runner, listener).start()
        await self.platform.sender.start()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, problem: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.platform.runner.close()
        await self.platform.sender.close()
        await self._site_runner.cleanup()

    def _application(self) -> web.Application:
        application = web.Application(middlewares=[Gate(self.platform).middleware()], client_max_size=_MAX_BODY_BYTES)
        for part in (PredictionsApi, ModelsApi, FilesApi, Control):
            application.add_routes(part(self.platform).routes())
        application.router.add_get("/delivery/xezq/{file_id}/{name:.*}", self.platform.outputs.serve)
        return application

    @property
    def url(self) -> str:
        """The base URL, without ``/v1``."""
        return self.platform.url

    @property
    def api_token(self) -> str:
        return self.platform.api_token

    @property
    def webhook_secret(self) -> str:
        """The account's signing secret in force."""
        return self.platform.secrets.current

    def rotate_secret(self, secret: str | None = None) -> str:
        """A new signing secret; what is sent from now on is signed with it. Returns it."""
        return self.platform.secrets.rotate(secret)

    @property
    def predictions(self) -> dict[str, Record]:
        """Predictions and trainings by id, oldest first."""
        return self.platform.predictions

    @property
    def requests(self) -> deque[ApiCall]:
        """API requests, oldest first."""
        return self.platform.requests

    @property
    def deliveries(self) -> deque[Attempt]:
        """Attempts to send a webhook, oldest first."""
        return self.platform.sender.attempts

    @property
    def uploads(self) -> dict[str, Upload]:
        """Files API uploads by id; ``data`` holds the bytes."""
        return self.platform.uploads.files


async def serve_sandbox(
    host: str,
    port: int,
    *,
    speed: float = 1.0,
    seed: int | None = None,
    api_token: str | None = None,
    webhook_secret: str | None = None,
    faults: Faults | None = None,
) -> None:
    """Run until SIGINT or SIGTERM; prints the shell lines that point a daemon here. ``OSError``: the port is taken."""
    stop = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGINT, signal.SIGTERM):
        loop.add_signal_handler(number, stop.set)
    async with Sandbox(
        host, port, speed=speed, seed=seed, api_token=api_token, webhook_secret=webhook_secret, faults=faults
    ) as sandbox:
        sys.stdout.write(f"export REPLICATE_BASE_URL={sandbox.url}\nexport REPLICATE_API_TOKEN={sandbox.api_token}\n")
        sys.stdout.flush()
        await stop.wait()
