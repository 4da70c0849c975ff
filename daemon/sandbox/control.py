"""``/_sandbox``: steer a running sandbox and look into it. Not part of Replicate, and without a login."""

from __future__ import annotations

from typing import Any

import msgspec
from aiohttp import web

from .platform import Platform

_SHOWN_ATTEMPTS = 200


class Control:
    def __init__(self, platform: Platform) -> None:
        self._p = platform

    def routes(self) -> list[web.RouteDef]:
        return [
            web.get("/_sandbox/faults", self.faults),
            web.post("/_sandbox/faults", self.change),
            web.put("/_sandbox/faults", self.change),
            web.delete("/_sandbox/faults", self.reset),
            web.get("/_sandbox/state", self.state),
            web.post("/_sandbox/rotate-secret", self.rotate),
        ]

    async def faults(self, _request: web.Request) -> web.Response:
        return _json(msgspec.to_builtins(self._p.faults))

    async def change(self, request: web.Request) -> web.Response:
        try:
            self._p.faults.update(msgspec.json.decode(await request.read(), type=dict[str, Any]))
        except msgspec.MsgspecError as problem:
            return _json({"error": str(problem)}, status=400)
        return await self.faults(request)

    async def reset(self, request: web.Request) -> web.Response:
        self._p.faults.reset()
        return await self.faults(request)

    async def rotate(self, _request: web.Request) -> web.Response:
        return _json({"key": self._p.secrets.rotate()})

    async def state(self, _request: web.Request) -> web.Response:
        records = [
            {
                "id": record.id,
                "kind": record.kind,
                "model": record.model,
                "status": record.status,
                "log_chars": len(record.logs),
                "output": record.output,
                "webhook": record.webhook,
            }
            for record in self._p.predictions.values()
        ]
        attempts = list(self._p.sender.attempts)[-_SHOWN_ATTEMPTS:]
        return _json(
            {
                "url": self._p.url,
                "api_token": self._p.api_token,
                "webhook_secret": self._p.secrets.current,
                "requests": len(self._p.requests),
                "predictions": records,
                "webhooks": msgspec.to_builtins(attempts),
            }
        )


def _json(value: Any, *, status: int = 200) -> web.Response:
    return web.Response(status=status, body=msgspec.json.encode(value), content_type="application/json")
