"""Takes messages out of the outbox and sends them: at least once, each endpoint on its own.

A message is claimed before it is sent, so that of several daemons over one database one sends it. A daemon that dies
leaves its claims to run out; the message is then sent again, under the same ``webhook-id``.
"""

from __future__ import annotations

import asyncio
import contextlib
import random
import secrets
from collections.abc import Callable
from types import TracebackType
from typing import Self

import structlog

from ..errors import NotReady
from ..metrics import Metrics
from ..store.notifications import Endpoint, Message
from ..store.secrets import endpoint_secret, endpoint_url
from ..store.store import Store
from .calling import SEND_SECONDS, Caller
from .schedule import DISABLE_AFTER, Outcome, pause

log = structlog.get_logger()

AT_ONCE = 4  # messages to one endpoint; their order is not promised
CLAIM_SECONDS = SEND_SECONDS + 45.0  # outlives the attempt, and the clocks' difference
LOOK_SECONDS = 5.0  # at most between two looks: other daemons' messages give no wake-up
BREATH_SECONDS = 0.25  # between two looks: a flood of changes is one reason to look
PRUNE_SECONDS = 3600.0


class Sender:
    """``async with Sender(store, …) as sender``; ``run`` sends for ever. ``clock`` gives unix seconds."""

    def __init__(
        self,
        store: Store,
        *,
        clock: Callable[[], float],
        metrics: Metrics | None = None,
        caller: Caller | None = None,
        jitter: Callable[[], float] = random.random,
    ) -> None:
        self._store = store
        self._clock = clock
        self._metrics = metrics or Metrics()
        self._caller = caller or Caller(clock)
        self._jitter = jitter
        self._owner = secrets.token_hex(8)
        self._lanes: dict[str, asyncio.Task[None]] = {}  # by endpoint: one that hangs holds up no other
        self._pruned_at = 0.0

    async def __aenter__(self) -> Self:
        await self._caller.__aenter__()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        lanes = list(self._lanes.values())
        for lane in lanes:
            lane.cancel()
        await asyncio.gather(*lanes, return_exceptions=True)
        await self._caller.__aexit__(kind, error, trace)
        with contextlib.suppress(NotReady):  # the claims run out by themselves
            await self._store.notifications.release(self._owner)

    async def run(self) -> None:
        """Runs until cancelled. What the store refuses for now is tried again."""
        async with self._store.journal.subscribe() as changes:
            while True:
                try:
                    await self._look()
                except NotReady as problem:
                    log.warning("notifications_wait", reason=problem.detail)
                await asyncio.sleep(BREATH_SECONDS)
                await changes.wait(LOOK_SECONDS)

    async def _look(self) -> None:
        now = self._clock()
        for name in await self._store.notifications.due_endpoints(now=now):
            lane = self._lanes.get(name)
            if lane is None or lane.done():
                self._lanes[name] = asyncio.create_task(self._empty(name), name=f"notifications to {name}")
        if now - self._pruned_at > PRUNE_SECONDS:
            self._pruned_at = now
            await self._store.notifications.prune(now=now)

    async def _empty(self, name: str) -> None:
        """Send what is due at one endpoint."""
        try:
            while endpoint := await self._endpoint(name):
                now = self._clock()
                messages = await self._store.notifications.claim(
                    name, self._owner, now=now, until=now + CLAIM_SECONDS, most=AT_ONCE
                )
                if not messages:
                    return
                await asyncio.gather(*(self._send(endpoint, message) for message in messages))
        except NotReady as problem:
            log.warning("notifications_wait", endpoint=name, reason=problem.detail)
        except Exception:  # a fault of ours; the claims run out, and it is tried again
            log.exception("notifications_fault", endpoint=name)

    async def _endpoint(self, name: str) -> Endpoint | None:
        found = next((one for one in await self._store.notifications.endpoints() if one.name == name), None)
        return found if found is not None and found.enabled else None

    async def _send(self, endpoint: Endpoint, message: Message) -> None:
        url = await self._store.secrets.get(endpoint_url(endpoint.name))
        secret = await self._store.secrets.get(endpoint_secret(endpoint.name))
        if url is None or secret is None:
            outcome = Outcome("its URL or secret is not stored any more: enter them again", gone=True)
        else:
            outcome = await self._caller.call(url, secret, message, allow_private=endpoint.allow_private)
        if outcome.error is None:
            await self._store.notifications.taken(endpoint.name, message.message_id, now=self._clock())
            self._metrics.notifications.labels("taken").inc()
            log.debug("notification_sent", endpoint=endpoint.name, type=message.type, webhook_id=message.message_id)
        else:
            await self._refused(endpoint, message, outcome, outcome.error)

    async def _refused(self, endpoint: Endpoint, message: Message, outcome: Outcome, error: str) -> None:
        now, attempts = self._clock(), message.attempts + 1
        wait = pause(attempts, self._jitter(), outcome.after)
        next_at = None if wait is None else now + wait
        since = await self._store.notifications.refused(
            endpoint.name, message.message_id, self._owner, error, now=now, next_at=next_at
        )
        self._metrics.notifications.labels("refused" if next_at else "given_up").inc()
        log.warning(
            "notification_refused" if next_at else "notification_given_up",
            endpoint=endpoint.name,
            type=message.type,
            webhook_id=message.message_id,
            attempts=attempts,
            reason=error,
            again_in=wait,
        )
        dead = None
        if outcome.gone:
            dead = error
        elif now - since > DISABLE_AFTER:
            dead = f"it has taken nothing for {DISABLE_AFTER / 86_400:.0f} days; at last: {error}"
        if dead is not None:
            await self._store.notifications.disable(endpoint.name, dead)
            log.error("notification_endpoint_disabled", endpoint=endpoint.name, reason=dead)
