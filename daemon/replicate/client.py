"""Replicate's REST API, as far as a daemon needs it. Facts: the published OpenAPI description.

Reads are tried again on 429, 5xx and connection errors. A create is tried again only where it certainly had no effect
(429, no connection); after anything else it raises ``Ambiguous`` and the caller looks for the job before it asks again.
"""

from __future__ import annotations

import asyncio
import io
import random
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Literal, TypeAlias
from urllib.parse import quote

import aiohttp
import msgspec
import structlog

from ..core.prediction import parse_time
from ..errors import ProviderError, ProviderUnavailable
from ..metrics import Metrics
from .retry import NO_RETRY, RetryPolicy, backoff
from .transport import Ambiguous, Answer, NotSent, Throttled, Transport

log = structlog.get_logger()

ApiKind = Literal["prediction", "training"]
Again: TypeAlias = Callable[[], Awaitable[None]]  # called before a create call is tried again
_QUICK = RetryPolicy(attempts=2, obey=1.0)  # somebody waits for the answer
_PAGES = 1000  # of 100 each; a list that does not end by then is a loop


class ReplicateClient:
    """``session`` (made with ``trust_env=True``) stays the caller's; ``base_url`` is without ``/v1``."""

    def __init__(
        self,
        session: aiohttp.ClientSession,
        token_source: Callable[[], Awaitable[str | None]],
        base_url: str,
        *,
        policy: RetryPolicy | None = None,
        now: Callable[[], float] = time.time,
        sleep: Callable[[float], Awaitable[None]] = asyncio.sleep,
        jitter: Callable[[], float] = random.random,
        metrics: Metrics | None = None,
    ) -> None:
        self._transport = Transport(session, token_source, base_url, now=now, metrics=metrics)
        self.policy = policy or RetryPolicy()
        self._sleep = sleep
        self._jitter = jitter

    @property
    def ahead(self) -> float:
        """Seconds that our clock is ahead of Replicate's, as its last answer told; 0 where it is not."""
        return self._transport.ahead

    # -- account, models -------------------------------------------------------------------

    async def account(self, *, patient: bool = True) -> dict[str, Any]:
        """``{"type","username","name",…}`` of the token's owner. ``patient=False``: somebody waits for the answer."""
        return _object(await self._read("account", policy=None if patient else _QUICK))

    async def model(self, model: str, *, patient: bool = True) -> dict[str, Any]:
        """``{"latest_version": {"id","openapi_schema",…}|null,…}`` of ``owner/name``."""
        return _object(await self._read(f"models/{_quoted(model)}", policy=None if patient else NO_RETRY))

    async def version(self, model: str, version: str) -> dict[str, Any]:
        """``{"id","openapi_schema",…}`` of a version. A single attempt."""
        return _object(await self._read(f"models/{_quoted(model)}/versions/{quote(version, safe='')}", policy=NO_RETRY))

    async def versions(self, model: str) -> list[dict[str, Any]]:
        """``[{"id","created_at","full_version"}]`` of ``owner/name``, every page, newest first."""
        found = [
            {"id": item["id"], "created_at": item.get("created_at"), "full_version": f"{model}:{item['id']}"}
            async for item in self._pages(f"models/{_quoted(model)}/versions")
            if isinstance(item.get("id"), str)
        ]
        found.sort(key=lambda version: parse_time(version["created_at"]) or 0.0, reverse=True)
        return found

    async def hardware(self) -> list[dict[str, Any]]:
        """``[{"sku","name"}]``."""
        listed = (await self._read("hardware")).json()
        return [item for item in listed if isinstance(item, dict)] if isinstance(listed, list) else []

    async def webhook_secret(self) -> str:
        """The account's ``whsec_…``. One short attempt and one more: events wait for it."""
        answer = _object(await self._read("webhooks/default/secret", policy=_QUICK))
        key = answer.get("key")
        if not isinstance(key, str):
            raise ProviderUnavailable("Replicate's answer holds no webhook secret.")
        return key

    # -- jobs ------------------------------------------------------------------------------

    async def create_prediction(self, payload: Mapping[str, Any], again: Again | None = None) -> bytes:
        """The created prediction's body; ``payload`` names a ``version``. After ``Ambiguous``: look, then ask again."""
        return await self._create("predictions", payload, again)

    async def create_model_prediction(
        self, model: str, payload: Mapping[str, Any], again: Again | None = None
    ) -> bytes:
        """As ``create_prediction`` for an official model ``owner/name``, which needs no version."""
        return await self._create(f"models/{_quoted(model)}/predictions", payload, again)

    async def create_training(
        self, model: str, version: str, payload: Mapping[str, Any], again: Again | None = None
    ) -> bytes:
        """The created training's body; ``payload`` names a ``destination``."""
        path = f"models/{_quoted(model)}/versions/{quote(version, safe='')}/trainings"
        return await self._create(path, payload, again)

    async def get(self, provider_id: str, api_kind: ApiKind, *, patient: bool = True) -> bytes | None:
        """The job's body as it came; ``None`` = 404. ``patient=False``: a single attempt."""
        path = f"{api_kind}s/{quote(provider_id, safe='')}"
        try:
            return (await self._read(path, policy=None if patient else NO_RETRY)).body
        except ProviderError as refused:
            if refused.extra.get("provider_status") == 404:
                return None
            raise

    async def cancel(self, provider_id: str, api_kind: ApiKind) -> bytes:
        """Ask for the end of a job; harmless to repeat. The job's body."""
        url = self._transport.url(f"{api_kind}s/{quote(provider_id, safe='')}/cancel")
        return (await self._patiently("POST", url)).body

    async def recent(self, api_kind: ApiKind, *, created_after: float) -> AsyncIterator[dict[str, Any]]:
        """The account's jobs created after that unix time, newest first, every page. ``created_at`` is not stable."""
        moment = datetime.fromtimestamp(created_after, UTC).isoformat().replace("+00:00", "Z")
        # The training list documents no such filter; the loop below stops by itself.
        params = {"created_after": moment} if api_kind == "prediction" else None
        async for item in self._pages(f"{api_kind}s", params=params):
            created = parse_time(item.get("created_at"))
            if created is not None and created < created_after:
                return
            yield item

    # -- files -----------------------------------------------------------------------------

    async def upload(
        self, path: Path, *, content_type: str = "application/zip", progress: Callable[[int], None] | None = None
    ) -> dict[str, Any]:
        """Send one file, streamed: ``{"id","size","urls":{"get"},"expires_at",…}``.

        ``progress`` is told the bytes read so far, from another thread; from the beginning again with each attempt.
        """
        for attempt in range(1, self.policy.attempts + 1):
            file = await asyncio.to_thread(_Counted, path, progress)
            try:
                form = aiohttp.FormData()
                form.add_field("content", file, filename=path.name, content_type=content_type)
                return _object(await self._transport.send("POST", self._transport.url("files"), data=form))
            except ProviderUnavailable as problem:
                await self._wait(problem, attempt, self.policy)
            finally:
                await asyncio.to_thread(file.close)
        raise AssertionError("the last attempt raises")

    async def file(self, file_id: str) -> dict[str, Any] | None:
        """An uploaded file: ``{"id","urls",…}``; ``None``: it is gone."""
        try:
            return _object(await self._read(f"files/{quote(file_id, safe='')}"))
        except ProviderError as refused:
            if refused.extra.get("provider_status") in {404, 410}:
                return None
            raise

    async def delete_file(self, file_id: str) -> None:
        """Remove an uploaded file; harmless to repeat."""
        try:
            await self._patiently("DELETE", self._transport.url(f"files/{quote(file_id, safe='')}"))
        except ProviderError as refused:
            if refused.extra.get("provider_status") not in {404, 410}:
                raise

    # -- how calls are tried ---------------------------------------------------------------

    async def _create(self, path: str, payload: Mapping[str, Any], again: Again | None) -> bytes:
        body, url = msgspec.json.encode(payload), self._transport.url(path)
        for attempt in range(1, self.policy.attempts + 1):
            try:
                return (await self._transport.send("POST", url, data=body)).body
            except (NotSent, Throttled) as problem:
                await self._wait(problem, attempt, self.policy)
                if again is not None:
                    await again()
        raise AssertionError("the last attempt raises")

    async def _read(self, path: str, *, policy: RetryPolicy | None = None) -> Answer:
        return await self._patiently("GET", self._transport.url(path), policy=policy)

    async def _patiently(
        self, method: str, url: str, *, params: Mapping[str, str] | None = None, policy: RetryPolicy | None = None
    ) -> Answer:
        policy = policy or self.policy
        for attempt in range(1, policy.attempts + 1):
            try:
                return await self._transport.send(method, url, params=params, urgent=policy is _QUICK)
            except ProviderUnavailable as problem:
                await self._wait(problem, attempt, policy)
        raise AssertionError("the last attempt raises")

    async def _wait(self, problem: ProviderUnavailable, attempt: int, policy: RetryPolicy) -> None:
        """Wait before the next attempt, or raise ``problem`` where there is none or it would be too far off."""
        told = problem.wait if isinstance(problem, Throttled) else None
        if attempt >= policy.attempts or (told is not None and told > policy.obey):
            raise problem
        ours = backoff(policy, attempt, self._jitter())
        # A little more than told: many clients are told the same moment.
        seconds = ours if told is None else told + min(1.0, 0.1 * told) * self._jitter()
        log.info("replicate.retry", attempt=attempt, seconds=round(seconds, 2), reason=problem.detail)
        await self._sleep(seconds)

    async def _pages(self, path: str, *, params: Mapping[str, str] | None = None) -> AsyncIterator[dict[str, Any]]:
        url, seen = self._transport.url(path), set[str]()
        for _ in range(_PAGES):
            seen.add(url)
            page = _object(await self._patiently("GET", url, params=params))
            results = page.get("results")
            for item in results if isinstance(results, list) else []:
                if isinstance(item, dict):
                    yield item
            following, params = page.get("next"), None  # the cursor carries the query on; it is followed verbatim
            if not isinstance(following, str) or not following or following in seen:
                return
            url = following


class _Counted(io.BufferedReader):
    """A file that tells how far it has been read."""

    def __init__(self, path: Path, progress: Callable[[int], None] | None) -> None:
        super().__init__(io.FileIO(path))
        self._progress = progress
        self._done = 0

    def read(self, size: int | None = -1, /) -> bytes:
        data = super().read(size)
        self._done += len(data)
        if self._progress is not None:
            self._progress(self._done)
        return data


def _object(answer: Answer) -> dict[str, Any]:
    decoded = answer.json()
    if not isinstance(decoded, dict):
        raise Ambiguous("Replicate's answer is not an object. Try again; check REPLICATE_BASE_URL.")
    return decoded


def _quoted(model: str) -> str:
    return quote(model, safe="/")
