"""Is an input what its model takes? Asked of the model's own schema, before anything is uploaded or paid for.

The schema belongs to a version and a version never changes, so it is fetched once. Where it cannot be had in time the
submit goes on without: Replicate makes the same check itself.
"""

from __future__ import annotations

import asyncio
from collections import OrderedDict
from collections.abc import Callable
from typing import Any

import msgspec
import structlog

from ..errors import ConfigInvalid, ProviderError, TunerdError
from .client import ReplicateClient
from .input_schema import input_schema, misfits
from .outgoing import Outgoing
from .transport import Refused

log = structlog.get_logger()

_LOOK_UP_SECONDS = 5.0  # a submit waits no longer for it
_NEWEST_SECONDS = 60.0  # how long a model's newest version is taken to be that
_KEPT = 64  # versions, of about 20 kB each
_UPLOADED = "https://api.replicate.com/v1/files/dataset"  # stands for the URL of a dataset that is not uploaded yet
_MOST_TOLD = 10  # misfits in one answer


class InputCheck:
    """One for each process. ``clock`` gives seconds, of any beginning."""

    def __init__(self, client: ReplicateClient, *, clock: Callable[[], float]) -> None:
        self._client = client
        self._clock = clock
        self._documents: OrderedDict[tuple[str, str], Any] = OrderedDict()  # (model, version) → openapi_schema
        self._newest: dict[str, tuple[float, str]] = {}  # model → (when, version)

    async def checked(self, outgoing: Outgoing) -> Outgoing:
        """``outgoing`` with the version that its model's newest is now, where it named none.

        Raises ``ConfigInvalid`` naming the field, ``ProviderError`` where there is no such model: no job is begun then.
        Without a model (a bare version) there is nowhere to ask.
        """
        if outgoing.model is None:
            return outgoing
        try:
            async with asyncio.timeout(_LOOK_UP_SECONDS):
                version, document = await self._document(outgoing.model, outgoing.version)
        except (TunerdError, TimeoutError) as problem:
            if outgoing.version is None and _is_unknown(problem):
                raise _no_such_model(outgoing.model) from problem
            reason = problem.detail if isinstance(problem, TunerdError) else f"no answer in {_LOOK_UP_SECONDS:g} s"
            log.warning("submit.input_unchecked", model=outgoing.model, version=outgoing.version, reason=reason)
            return outgoing
        _refuse_misfits(outgoing, document)
        return outgoing if version is None else msgspec.structs.replace(outgoing, version=version)

    async def _document(self, model: str, version: str | None) -> tuple[str | None, Any]:
        """``(version, openapi_schema)``; without a version for an official model that shows none."""
        if version is None:
            known = self._newest.get(model)
            version = known[1] if known is not None and 0 <= self._clock() - known[0] < _NEWEST_SECONDS else None
        if version is not None and (model, version) in self._documents:
            self._documents.move_to_end((model, version))
            return version, self._documents[model, version]
        if version is not None:
            found: Any = await self._client.version(model, version)
        else:
            found = (await self._client.model(model, patient=False)).get("latest_version")
        if not isinstance(found, dict):
            return None, None
        if version is None:
            version = found.get("id")
            if not isinstance(version, str):
                return None, found.get("openapi_schema")
            self._newest[model] = (self._clock(), version)
        self._keep(model, version, found.get("openapi_schema"))
        return version, found.get("openapi_schema")

    def _keep(self, model: str, version: str, document: Any) -> None:
        self._documents[model, version] = document
        if len(self._documents) > _KEPT:
            self._documents.popitem(last=False)


def _is_unknown(problem: Exception) -> bool:
    """The API's own 404. A version may be one that is not shown; a model is shown, or nothing runs on it."""
    return isinstance(problem, Refused) and problem.extra.get("provider_status") == 404


def _no_such_model(model: str) -> ProviderError:
    return ProviderError(
        f"Replicate answered 404: it has no model {model}, or a private one of another account than the token's. "
        f"Correct the name: it is what follows replicate.com/ in the address of the model's page. Nothing was sent.",
        field="model",
        provider_status=404,
    )


def _refuse_misfits(outgoing: Outgoing, document: Any) -> None:
    schema = input_schema(document, outgoing.kind)
    if schema is None:
        log.info("submit.input_unchecked", model=outgoing.model, reason="the version describes no input")
        return
    given = {**outgoing.input, "images": _UPLOADED} if outgoing.datasets else outgoing.input
    found = misfits(given, schema, document)
    if not found:
        return
    first = found[0]
    more = f" (and {len(found) - 1} more)" if len(found) > 1 else ""
    raise ConfigInvalid(
        f"{outgoing.model} does not take this input: {first.field} {first.reason}{more}. Nothing was sent.",
        field=first.field,
        problems=[{"field": misfit.field, "reason": misfit.reason} for misfit in found[:_MOST_TOLD]],
    )
