"""Everything one simulated Replicate holds; the handlers share it."""

from __future__ import annotations

import random
import re
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import msgspec
from aiohttp import web

from . import ids
from .answers import answer
from .catalog import OWNER, Catalog
from .datasets import describe_dataset
from .faults import Faults
from .outputs import Outputs
from .records import Record, Show
from .runner import Runner
from .signing import Secrets
from .uploads import Uploads
from .webhooks import Sender

_KEPT_REQUESTS = 10_000


@dataclass(slots=True)
class ApiCall:
    """One request that reached the API. ``body`` is empty for an upload (see ``Sandbox.uploads``)."""

    method: str
    path: str
    query: dict[str, str]
    body: bytes
    at: float
    status: int | None = None  # None until answered, and where the connection was cut

    def json(self) -> Any:
        return msgspec.json.decode(self.body)


class Platform:
    def __init__(
        self, *, url: str, speed: float, clock: Callable[[], float], rng: random.Random, api_token: str | None,
        webhook_secret: str | None, faults: Faults,
    ) -> None:  # fmt: skip
        self.url, self.speed, self.clock, self.rng, self.faults = url, speed, clock, rng, faults
        self.api_token = api_token or ids.api_token(rng)
        self.secrets = Secrets(rng, webhook_secret)
        self.catalog = Catalog()
        self._newest = 0.0
        self.predictions: dict[str, Record] = {}  # trainings too: they are predictions inside
        self.requests: deque[ApiCall] = deque(maxlen=_KEPT_REQUESTS)
        self.show = Show(url, faults)
        self.uploads = Uploads(url=url, faults=faults, clock=clock, rng=rng)
        self.outputs = Outputs(url=url, faults=faults, clock=clock, rng=rng)
        self.sender = Sender(
            secrets=self.secrets, faults=faults, speed=speed, clock=clock, rng=rng,
            render=lambda record: self.show.render(record, "webhook", clock()),
        )  # fmt: skip
        self.runner = Runner(
            outputs=self.outputs, sender=self.sender, speed=speed, clock=clock,
            check_input=lambda record: describe_dataset(record.input, self.uploads),
            publish=self._publish,
        )  # fmt: skip

    def created_now(self) -> float:
        """The time, but never twice the same: lists are ordered by it."""
        self._newest = max(round(self.clock(), 6), self._newest + 1e-6)  # microseconds are what the store keeps
        return self._newest

    def answer(self, value: Any, *, created: bool = False, status: int = 200, **headers: str) -> web.Response:
        style = self.faults.create_style if created else self.faults.read_style
        return answer(
            value, style, status=status, headers={name.replace("_", "-"): text for name, text in headers.items()}
        )

    def hits(self, request: web.Request, counter: str) -> bool:
        """Whether the API fault counted by ``counter`` hits this request; counts it."""
        if not getattr(self.faults, counter):
            return False
        wanted = re.search(self.faults.api_match, f"{request.method} {request.path}")
        return wanted is not None and self.faults.take(counter)

    def _publish(self, record: Record) -> str:
        name = record.destination or f"{OWNER}/my-lora"
        model = self.catalog.models[name]
        version = model.add_version(self.show.render(record, "read", self.clock())["created_at"], {"properties": {}})
        return f"{name}:{version.id}"
