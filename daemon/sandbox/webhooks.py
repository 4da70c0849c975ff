"""Sends the webhooks of predictions as Replicate does: throttled on the way, repeated only at the end.

``start`` and ``completed`` always go out; ``logs`` and ``output`` at most once in 500 ms, dropped and not queued;
only ``completed`` is tried again, on a network error, 4xx or 5xx, for about a minute. Redirects are not followed.
"""

from __future__ import annotations

import asyncio
import gzip
import io
import random
from collections import deque
from collections.abc import Callable, Coroutine
from typing import Any

import aiohttp
import msgspec

from ..connecting import explain_connection
from . import ids
from .encoders import encode
from .faults import Faults
from .records import Record
from .signing import Secrets
from .tasks import spawn

RETRY_SECONDS = (1, 2, 4, 8, 16, 32)  # the last one about a minute after the end; the true schedule is not published
_KEPT_ATTEMPTS = 10_000  # for tests and /_sandbox/state
FIRST_ERROR = 400


class Attempt(msgspec.Struct, frozen=True):
    """One request that was sent to a receiver. ``status`` is ``None`` where no answer came."""

    prediction_id: str
    event: str
    webhook_id: str
    attempt: int
    status: int | None
    error: str | None
    body_bytes: int
    at: float


class _Message(msgspec.Struct, frozen=True):
    record: Record
    event: str
    webhook_id: str
    body: bytes


class _Channel:
    """What is to be sent for one prediction, in order."""

    def __init__(self) -> None:
        self.waiting: asyncio.Queue[_Message | None] = asyncio.Queue()  # None: nothing comes any more
        self.last_progress = float("-inf")  # event loop time
        self.held: list[_Message] = []  # by webhook_reorder


class Sender:
    def __init__(
        self,
        *,
        secrets: Secrets,
        faults: Faults,
        speed: float,
        clock: Callable[[], float],
        rng: random.Random,
        render: Callable[[Record], dict[str, Any]],
    ) -> None:
        self.attempts: deque[Attempt] = deque(maxlen=_KEPT_ATTEMPTS)
        self._secrets, self._faults, self._speed, self._clock = secrets, faults, speed, clock
        self._rng, self._render = rng, render
        self._channels: dict[str, _Channel] = {}
        self._tasks: set[asyncio.Task[None]] = set()
        self._session: aiohttp.ClientSession | None = None

    async def start(self) -> None:
        self._session = aiohttp.ClientSession(auto_decompress=False, connector=aiohttp.TCPConnector(limit=0))

    async def close(self) -> None:
        for task in tuple(self._tasks):
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        if self._session is not None:
            await self._session.close()

    def offer(self, record: Record, event: str) -> None:
        """Tell the record's webhook, where it wants to hear of ``event``. Never waits."""
        if record.webhook is None:
            return
        channel = self._channel(record)
        wanted = event in record.events and event not in self._faults.webhook_drop
        if wanted and (event not in {"logs", "output"} or self._admits(channel)):
            channel.waiting.put_nowait(_Message(record, event, ids.webhook_id(self._rng), self._encode(record)))
        if event == "completed":
            channel.waiting.put_nowait(None)

    def _admits(self, channel: _Channel) -> bool:
        """Whether an update may go out now. One bucket for logs and output, as in Cog."""
        now = asyncio.get_running_loop().time()
        busy = now - channel.last_progress < self._faults.webhook_throttle / self._speed
        if busy or not channel.waiting.empty():
            return False
        channel.last_progress = now
        return True

    def _channel(self, record: Record) -> _Channel:
        channel = self._channels.get(record.id)
        if channel is None:
            channel = self._channels[record.id] = _Channel()
            self._spawn(self._work(channel))
        return channel

    def _spawn(self, work: Coroutine[Any, Any, None]) -> None:
        task = spawn(work, "webhook sender")
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    def _encode(self, record: Record) -> bytes:
        body, order = self._render(record), self._faults.webhook_key_order
        if order != "style":
            keys = sorted(body, reverse=True)
            if order == "shuffled":
                self._rng.shuffle(keys)
            body = {key: body[key] for key in keys}
        encoded = encode(body, self._faults.webhook_style, sort_keys=None if order == "style" else False)
        return encoded + b"\n" if self._faults.webhook_trailing_newline else encoded

    async def _work(self, channel: _Channel) -> None:
        while (message := await channel.waiting.get()) is not None:
            for each in self._reordered(channel, message):
                await self._send(each)
        for each in reversed(channel.held):
            await self._send(each)

    def _reordered(self, channel: _Channel, message: _Message) -> list[_Message]:
        """What is sent now. Reordered, each pair is swapped and the end overtakes at least the last one."""
        if not self._faults.webhook_reorder or message.event == "completed":
            return [message]
        channel.held.append(message)
        if len(channel.held) < 3:  # keep one: the end is to overtake it
            return []
        first, second, *channel.held = channel.held
        return [second, first]

    async def _send(self, message: _Message) -> None:
        for _ in range(1 + self._faults.webhook_duplicates):
            if self._faults.webhook_delay or self._faults.webhook_jitter:
                self._spawn(self._deliver(message, delayed=True))
            else:
                await self._deliver(message)

    async def _deliver(self, message: _Message, *, delayed: bool = False) -> None:
        if delayed:
            wait = self._faults.webhook_delay + self._rng.random() * self._faults.webhook_jitter
            await asyncio.sleep(wait / self._speed)
        retries = RETRY_SECONDS if message.event == "completed" else ()
        for number, pause in enumerate((*retries, None), start=1):
            status = await self._post(message, number)
            if pause is None or (status is not None and status < FIRST_ERROR):
                return
            await asyncio.sleep(pause / self._speed)

    async def _post(self, message: _Message, number: int) -> int | None:
        assert self._session is not None  # started
        assert message.record.webhook is not None  # offered
        body, mode = message.body, self._faults.webhook_gzip
        wire = body if mode == "off" else gzip.compress(body)
        signed = wire if mode == "sign_wire" else body
        headers = self._secrets.headers(message.webhook_id, self._clock(), signed, self._faults)
        if mode != "off":
            headers["content-encoding"] = "gzip"
        status, error = None, None
        try:
            async with self._session.post(
                message.record.webhook,
                data=io.BytesIO(wire),
                headers=headers,
                allow_redirects=False,
                timeout=aiohttp.ClientTimeout(total=self._faults.webhook_timeout),
            ) as answer:
                status = answer.status
                await answer.read()
        except (aiohttp.ClientError, TimeoutError, OSError, ValueError) as problem:
            error = explain_connection(problem)
        self.attempts.append(
            Attempt(
                message.record.id, message.event, message.webhook_id, number, status, error, len(wire), self._clock()
            )
        )
        return status
