"""The create call of a job: what has to be asked before it, and the endpoint that takes it."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from functools import partial
from typing import TypeAlias

from ..errors import ProviderError
from .client import Again, ReplicateClient
from .outgoing import Outgoing

# Makes the call; it is told what to do before it is tried again, where a try certainly had no effect.
Create: TypeAlias = Callable[[Again], Awaitable[bytes]]


async def prepared(client: ReplicateClient, outgoing: Outgoing) -> Create:
    """The call. What is asked before it can fail without a doubt about the call itself."""
    version = outgoing.version
    if version is None:
        latest = (await client.model(outgoing.model or "")).get("latest_version")
        version = latest.get("id") if isinstance(latest, dict) else None
    if outgoing.kind == "training":
        if version is None:
            raise ProviderError(f"{outgoing.model} has no version to train with. Name one in `version`.")
        return partial(client.create_training, outgoing.model or "", version, outgoing.payload(version))
    if version is None:  # an official model
        return partial(client.create_model_prediction, outgoing.model or "", outgoing.payload(None))
    return partial(client.create_prediction, outgoing.payload(version))
